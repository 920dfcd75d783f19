"""FHIR R4 resources as events: an Encounter or a ServiceRequest by its mapping, a Bundle entry by entry.

A resource is checked against R4 first, then mapped like a record of any file. The person is who its `subject`
names; where that refers to a Patient of the same Bundle, by the Patient's first identifier.
R4 and R4B define both resources alike where it matters here, so R4B's models check them.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from fhir.resources.R4B.encounter import Encounter
from fhir.resources.R4B.servicerequest import ServiceRequest
from pydantic import BaseModel, ValidationError

from connectors import mapping
from connectors.mapping import Mapper
from connectors.rules import tree_of
from schemas.errors import Invalid, Problem

BUNDLE: Final = "Bundle"
PATIENT: Final = "Patient"
CONSENT: Final = "Consent"
entries_max: Final = 200
KINDS: Final[dict[str, tuple[str, type[BaseModel]]]] = {
    "Encounter": ("fhir-encounter", Encounter),
    "ServiceRequest": ("fhir-service-request", ServiceRequest),
}
BUNDLES: Final = frozenset({"batch", "transaction", "collection", "message"})


class Entry(NamedTuple):
    """One resource of a Bundle, with its place in it as a FHIRPath; `kind` is what it says that it is."""

    path: str
    kind: str
    resource: Any


def event(resource: Any, source: str) -> dict[str, Any] | None:
    """A resource as a CloudEvent in JSON event format, or None where it is no event (cancelled, say).

    Raises `Invalid`, each path a FHIRPath.
    """
    kind = kind_of(resource)
    if kind not in KINDS:
        expected = ", ".join((*KINDS, BUNDLE, CONSENT))
        raise Invalid.one("Resource.resourceType", "not-supported", f"expected one of: {expected}")
    _conforms(resource, kind)
    mapper, tree = _mapper(kind), tree_of(resource)
    if mapper.skips(tree):
        return None
    try:
        return mapper.event_of(tree, source)
    except Invalid as error:
        raise Invalid(one._replace(path=_fhirpath(kind, one.path)) for one in error.problems) from None


def where(kind: str, pointer: str) -> str:
    """Where in a resource an event's value came from, for the JSON Pointer of an error."""
    return _fhirpath(kind, _mapper(kind).origin(pointer) or "")


def kind_of(resource: Any) -> str:
    """What a resource says that it is; an empty text where it says nothing."""
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    return kind if isinstance(kind, str) else ""


def entries(bundle: Any) -> Iterator[Entry]:
    """The resources of a Bundle, in order, each with its person. Raises `Invalid` where it is no Bundle."""
    listed, kind = bundle.get("entry", []), bundle.get("type")
    if not isinstance(kind, str) or kind not in BUNDLES:
        expected = ", ".join(sorted(BUNDLES))
        raise Invalid.one("Bundle.type", "not-supported", f"expected one of: {expected}")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Invalid.one("Bundle.entry", "not-fhir", "expected a list of entries")
    if len(listed) > entries_max:
        raise Invalid.one("Bundle.entry", "too-many", f"at most {entries_max} entries are taken at once")
    patients = {
        url: identifiers[0]
        for one in listed
        if isinstance(url := one.get("fullUrl"), str)
        and kind_of(one.get("resource")) == PATIENT
        and isinstance(identifiers := one["resource"].get("identifier"), list)
        and identifiers
    }
    for index, one in enumerate(listed):
        resource = one.get("resource")
        yield Entry(f"Bundle.entry[{index}]", kind_of(resource), _with_person(resource, patients))


def _with_person(resource: Any, patients: Mapping[Any, Any]) -> Any:
    subject = resource.get("subject") if isinstance(resource, dict) else None
    reference = subject.get("reference") if isinstance(subject, dict) else None
    if not isinstance(reference, str) or reference not in patients:
        return resource
    return {**resource, "subject": {"reference": reference, "identifier": patients[reference]}}


@cache
def _mapper(kind: str) -> Mapper:
    made = mapping.load(KINDS[kind][0])
    assert isinstance(made, Mapper), "a resource's mapping is no archive"
    return made


def _conforms(resource: Any, kind: str) -> None:
    try:
        KINDS[kind][1].model_validate(resource)
    except ValidationError as error:
        raise Invalid(
            Problem(_located(kind, one["loc"]), "not-fhir", "not what R4 defines for this element")
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ) from None


def _located(kind: str, location: tuple[int | str, ...]) -> str:
    """A place as pydantic names it, as FHIRPath; names that no resource has are left out: they are data."""
    path = kind
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step in KINDS[kind][1].model_fields:
            path += f".{step}"
        else:
            break
    return path


def _fhirpath(kind: str, path: str) -> str:
    steps = [step for step in path.split("/") if step and not step.startswith("*")]
    return ".".join((kind, *steps))
