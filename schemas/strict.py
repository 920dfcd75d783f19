"""Strict JSON: UTF-8, no key twice, no NaN, no lone surrogates, no NUL, nothing deeper or longer than its
bound.

What the parser alone can't tell (where a key stands twice, say) it marks, and `check` refuses it with its
path, so that one bad item of a batch doesn't spoil the others.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from schemas.errors import Invalid

field_chars_max: Final = 32_768
depth_max: Final = 32
# Writes JSON in few characters, all of them ASCII; `json.dumps` would make an encoder each time.
written: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NUMBERS: Final = frozenset({bool, int, float})
_SPACE: Final = " \t\r\n"


class _Twice(dict[str, Any]):
    """An object that names a key more than once."""


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Twice(found)


_NOT_JSON: Final = object()
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=lambda _: _NOT_JSON)


def refuse(path: str, code: str, detail: str) -> NoReturn:
    """Raises `Invalid` with one problem."""
    raise Invalid.one(path, code, detail)


def parse(body: bytes, path: str = "") -> Any:
    """One JSON value, checked; `path` is where it stands in something greater. Raises `Invalid`."""
    value = load(body)
    check(value, path)
    return value


def load(body: bytes) -> Any:
    """One JSON value that `check` has still to see. Raises `Invalid`."""
    text = _text(body)
    value, end = _value(text, _skip(text, 0))
    if _skip(text, end) != len(text):
        refuse("", "not-json", f"more follows after the end, at character {end}")
    return value


def items(body: bytes, count_max: int) -> list[tuple[bytes, Any]]:
    """The items of a JSON array, each with its own bytes as they were sent; not yet checked.

    Raises `Invalid` when the array as a whole is none, or has more than `count_max` items.
    """
    text = _text(body)
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        refuse("", "not-a-batch", "a batch is a JSON array")
    at = _skip(text, at + 1)
    found: list[tuple[bytes, Any]] = []
    while text[at : at + 1] != "]" or found:
        if len(found) == count_max:
            refuse("", "batch-too-long", f"at most {count_max} items are taken at once")
        value, end = _value(text, at)
        found.append((text[at:end].encode(), value))
        at = _skip(text, end)
        if text[at : at + 1] == "]":
            break
        if text[at : at + 1] != ",":
            refuse("", "not-json", f"expected a comma or the end of the array at character {at}")
        at = _skip(text, at + 1)
    if _skip(text, at + 1) != len(text):
        refuse("", "not-json", f"more follows after the end, at character {at + 1}")
    return found


def check(value: Any, path: str = "", depth: int = 0) -> None:
    """Refuses what cannot be kept or shown: lone surrogates, NUL, a key twice, more than `field_chars_max`
    characters in one text, more than `depth_max` levels. Raises `Invalid` with the path of what it met first.
    """
    if not _sound(value, depth):
        _find(value, path, depth)


def _find(value: Any, path: str, depth: int) -> None:
    """Raises `Invalid` with the path of the first thing that is wrong with a value, if anything is."""
    if isinstance(value, str):
        if len(value) > field_chars_max:
            refuse(path, "too-long", f"{len(value)} characters, at most {field_chars_max} are taken")
        if "\0" in value:
            refuse(path, "nul-character", "contains a NUL character")
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            refuse(path, "lone-surrogate", "contains half of a surrogate pair, which is not text")
    elif value is _NOT_JSON:
        refuse(path, "not-json", "NaN and Infinity are not JSON")
    elif isinstance(value, dict | list) and depth >= depth_max:
        refuse("", "too-deep", f"more than {depth_max} levels of objects and lists")
    elif isinstance(value, dict):
        if isinstance(value, _Twice):
            refuse(path, "duplicate-key", "an object names the same key twice")
        for key, item in value.items():
            _find(key, path, depth)
            _find(item, f"{path}/{safe(key)}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _find(item, f"{path}/{index}", depth + 1)


def _sound(value: Any, depth: int) -> bool:
    """Whether nothing can be wrong with a value, told as fast as may be, without saying where it would be."""
    texts: list[str] = []
    if not _gather(value, depth, texts):
        return False
    said = "".join(texts)
    try:
        said.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return len(said) <= field_chars_max and "\0" not in said


def _gather(value: Any, depth: int, texts: list[str]) -> bool:
    """Whether a value is shaped as it may be. Appends all that it says."""
    kind = type(value)
    if kind is str:
        texts.append(value)
    elif kind is dict and depth < depth_max:
        texts.extend(value)
        for item in value.values():
            if type(item) is str:
                texts.append(item)
            elif not _gather(item, depth + 1, texts):
                return False
    elif kind is list and depth < depth_max:
        return all(_gather(item, depth + 1, texts) for item in value)
    else:
        return value is None or kind in _NUMBERS
    return True


def safe(key: object) -> str:
    """A key as an error's path may show it: a name as our fields have, else `*`, for it may be about a
    person.
    """
    return key if isinstance(key, str) and _NAME.fullmatch(key) else "*"


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        refuse("", "not-utf-8", f"not UTF-8 from byte {error.start} on")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _value(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except RecursionError:
        refuse("", "too-deep", f"more than {depth_max} levels of objects and lists")
    except json.JSONDecodeError as error:
        refuse("", "not-json", f"not JSON at line {error.lineno}, column {error.colno}")
    except ValueError:
        refuse("", "not-json", "a number has too many digits")
