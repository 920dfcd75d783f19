"""CloudEvents 1.0 as they arrive: structured, binary and batch over HTTP, binary and structured over Kafka.

Only the envelope is read here; what an event of ours must say is `events.validate`'s to check.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from schemas import codec, compartments, strict
from schemas.errors import HubError, Invalid
from schemas.strict import refuse

event_bytes_max: Final = 1024 * 1024
batch_events_max: Final = 1000
attribute_chars_max: Final = 255
attributes_max: Final = 64

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
_JSON_TYPES: Final = re.compile(r"application/([a-z0-9.-]+\+)?json|text/json")
_AVRO_TYPES: Final = frozenset({"application/avro", "avro/binary", "application/vnd.confluent.avro"})
_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,64}")
_CORE: Final = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"}
)


class CloudEvent(NamedTuple):
    """One CloudEvent with a payload of fields. `numeric` says that the payload's instants are milliseconds
    (it came as Avro), not RFC 3339.
    """

    id: str
    source: str
    type: str
    subject: str | None
    time: str | None
    extensions: Mapping[str, str]
    data: Mapping[str, Any]
    numeric: bool = False


def source_of(agency: str) -> str:
    """The `source` under which an agency publishes: `urn:agency:<id>`, perhaps with more after a colon or
    slash.
    """
    return f"urn:agency:{agency}"


def belongs(source: str, agency: str) -> bool:
    """Whether a `source` is the agency's own, so that nobody publishes in another's name."""
    own = source_of(agency)
    return source == own or source.startswith((own + ":", own + "/"))


def parse_structured(item: Any) -> CloudEvent:
    """One event in JSON event format, already read as JSON. Raises `Invalid`."""
    if not isinstance(item, dict):
        refuse("", "not-an-event", "an event is a JSON object")
    encoded = item.get("data_base64")
    strict.check(type(item)(item, data_base64=None) if isinstance(encoded, str) else item)
    attributes = {k: v for k, v in item.items() if k not in ("data", "data_base64")}
    if "data" in item and "data_base64" in item:
        refuse("/data", "data-twice", "data and data_base64 exclude each other")
    if "data_base64" not in item:
        return _event(attributes, item.get("data"), None)
    try:
        body = base64.b64decode(encoded or "", validate=True)
    except (TypeError, ValueError, binascii.Error):
        refuse("/data_base64", "not-base64", "not base64")
    return _event(attributes, *_payload(body, attributes.get("datacontenttype")))


def parse_batch(body: bytes) -> list[tuple[bytes, CloudEvent | Invalid]]:
    """A batch: for each item, in order, its own bytes as they were sent, and the event or why it is none.

    Raises `Invalid` when the batch as a whole is not one.
    """
    return [(original, _item(original, item)) for original, item in strict.items(body, batch_events_max)]


def _item(original: bytes, item: Any) -> CloudEvent | Invalid:
    try:
        _bounded(len(original))
        return parse_structured(item)
    except Invalid as error:
        return error
    except HubError as error:
        return Invalid([error.problem()])


def parse_binary(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """One event in HTTP binary mode. In: headers by lower-case name, and the body. Raises `Invalid`."""
    attributes: dict[str, Any] = {}
    for name, value in headers.items():
        if name.startswith("ce-"):
            try:
                attributes[name[3:]] = unquote(value.strip().strip('"'), errors="strict")
            except UnicodeDecodeError:
                refuse(f"/{strict.safe(name[3:])}", "not-utf-8", "percent-encoded bytes are not UTF-8")
    content_type = headers.get("content-type")
    return _binary(attributes, content_type, body)


def parse_kafka(headers: Iterable[tuple[str, bytes | None]] | None, value: bytes | None) -> CloudEvent:
    """One event in the Kafka binding: binary (`ce_` headers; JSON, or Avro in registry wire format) or
    structured.

    Raises `Invalid`, and what `codec.decode` raises for Avro.
    """
    if not value:
        refuse("", "empty-value", "the record has no value")
    attributes: dict[str, Any] = {}
    content_type = None
    for name, raw in headers or ():
        try:
            text = (raw or b"").decode("utf-8")
        except UnicodeDecodeError:
            refuse(f"/{strict.safe(name.removeprefix('ce_'))}", "not-utf-8", "a header is not UTF-8")
        if name.lower() == "content-type":
            content_type = text
        elif name.startswith("ce_"):
            attributes[name[3:]] = text
    if content_type is not None and content_type.split(";")[0].strip().lower() == STRUCTURED:
        return structured(value)
    if not attributes:
        refuse("", "not-an-event", f"neither ce_ headers nor the content type {STRUCTURED}")
    return _binary(attributes, content_type, value)


def structured(body: bytes) -> CloudEvent:
    """One event as the bytes of its JSON event format. Raises `Invalid`."""
    _bounded(len(body))
    return parse_structured(strict.load(body))


def dump(event: CloudEvent) -> bytes:
    """An event in JSON event format, as it is sealed and as any reader of CloudEvents takes it."""
    item: dict[str, Any] = {"specversion": "1.0", "id": event.id, "source": event.source, "type": event.type}
    if event.subject is not None:
        item["subject"] = event.subject
    if event.time is not None:
        item["time"] = event.time
    item.update(event.extensions)
    item["datacontenttype"] = "application/json"
    item["data"] = compartments.render(event.type, event.data) if event.numeric else event.data
    return strict.written(item).encode("ascii")


def _bounded(size: int) -> None:
    if size > event_bytes_max:
        refuse("", "too-large", f"{size} bytes, an event has at most {event_bytes_max}")


def _binary(attributes: dict[str, Any], content_type: str | None, body: bytes) -> CloudEvent:
    _bounded(len(body))
    strict.check(attributes)
    if "datacontenttype" in attributes:
        refuse("/datacontenttype", "bad-attribute", "in binary mode the content type says this")
    return _event(attributes, *_payload(body, content_type))


def _payload(body: bytes, content_type: Any) -> tuple[Any, str | None]:
    """The payload, and the type that its record states where it is Avro."""
    media = _media(content_type)
    if media in _AVRO_TYPES or (media == "application/octet-stream" and body[:1] == b"\0"):
        name, value = codec.decode(body)
        if name not in compartments.TYPES:
            refuse("/data", "not-an-event", "the record is none of the four types")
        strict.check(value, "/data")
        return value, compartments.TYPES[name]
    if _JSON_TYPES.fullmatch(media) is None:
        refuse("/datacontenttype", "unknown-content-type", "payloads are JSON, or Avro in registry format")
    return strict.parse(body, "/data"), None


def _media(content_type: Any) -> str:
    """A media type without its parameters, lower case; JSON where none is stated, as CloudEvents has it."""
    return str(content_type or "application/json").split(";")[0].strip().lower()


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    if len(attributes) > attributes_max:
        refuse("", "too-many-attributes", f"at most {attributes_max} attributes are taken")
    texts: dict[str, str] = {}
    for name, value in attributes.items():
        if name not in _CORE and _ATTRIBUTE.fullmatch(name) is None:
            refuse(_pointer(name), "bad-attribute", "attribute names are lower-case letters and digits")
        if value is None:
            continue
        text = json.dumps(value) if isinstance(value, bool | int) and name not in _CORE else value
        if not isinstance(text, str):
            refuse(_pointer(name), "wrong-type", "an attribute is text")
        if len(text) > attribute_chars_max:
            detail = f"{len(text)} characters, at most {attribute_chars_max} are taken"
            refuse(_pointer(name), "too-long", detail)
        texts[name] = text
    return texts


def _pointer(name: str) -> str:
    return f"/{strict.safe(name)}"


def _event(attributes: Mapping[str, Any], data: Any, record: str | None) -> CloudEvent:
    texts = _texts(attributes)
    for name in ("specversion", "id", "source", "type"):
        if not texts.get(name):
            refuse(f"/{name}", "missing", f"a CloudEvent has `{name}`")
    if texts["specversion"] != "1.0":
        refuse("/specversion", "unknown-version", "CloudEvents 1.0 is what the hub reads")
    stated = texts.get("datacontenttype")
    if record is None and stated is not None and _JSON_TYPES.fullmatch(_media(stated)) is None:
        refuse("/datacontenttype", "unknown-content-type", "payloads are JSON, or Avro in registry format")
    if not isinstance(data, dict):
        refuse("/data", "wrong-type", "the payload is an object of fields")
    if record not in (None, texts["type"]):
        refuse("/type", "type-differs", "the payload's record is of another type")
    return CloudEvent(
        id=texts["id"],
        source=texts["source"],
        type=texts["type"],
        subject=texts.get("subject"),
        time=texts.get("time"),
        extensions={k: v for k, v in texts.items() if k not in _CORE},
        data=data,
        numeric=record is not None,
    )
