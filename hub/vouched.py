"""What a sign-in service says about somebody, read from its claims."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hub.doors import Doors
from schemas.errors import Refused

SUBJECT_CHARS_MAX: Final = 255  # OpenID Connect Core 1.0, 2
NAME_CHARS_MAX: Final = 100


class SignInFailed(Refused):
    """Somebody who comes from the provider is not let in. `code` is a constant, for the record."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """What the provider says about somebody: who it is, for ever; name and groups, as of now."""

    issuer: str
    subject: str
    name: str
    groups: frozenset[str]
    sid: str | None


def vouched(claims: Mapping[str, Any], settings: Doors) -> Vouched:
    """Who it is, by the claims that the settings name. Raises `SignInFailed` where they do not say."""
    subject, sid = claims.get(settings.oidc_subject_claim), claims.get("sid")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_CHARS_MAX or not subject.isprintable():
        raise SignInFailed("the sign-in service does not say who they are", code="no-subject")
    name = claims.get("name")
    name = "".join(c for c in name if c.isprintable()) if isinstance(name, str) else ""
    groups = _within(claims, settings.oidc_groups_claim)
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return Vouched(
        str(claims["iss"]),
        subject,
        name[:NAME_CHARS_MAX].strip(),
        frozenset(one for one in listed if isinstance(one, str)),
        sid if isinstance(sid, str) and len(sid) <= SUBJECT_CHARS_MAX else None,
    )


def _within(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name; where there is none of that name, each dot goes into a claim."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
