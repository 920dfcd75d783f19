"""Signed forms, found again by the consent that points to one. Whoever shows one records it."""

import hashlib
import json
from typing import Final, NamedTuple

import sqlalchemy as sa

from hub import acts, signed
from hub.lookup import Lookup
from hub.said import CONSENT
from hub.signed import PREFIX, Form
from hub.standing import directive_aad
from hub.store import Store
from hub.tables import acts as acted
from hub.tables import directives, requests
from hub.vault import Vault
from schemas import codec
from schemas.errors import Unsealable

GRANTED: Final = "consent-granted"
WORK: Final = "work"


class Pointer(NamedTuple):
    """Which form a consent was signed on: its SHA-256, and the organisation that took the signature."""

    sha256: str
    organisation: str


def pointer(store: Store, vault: Vault, lookup: Lookup, participant: str, consent: str) -> Pointer | None:
    """Which form a consent was signed on; None where it was signed on none of the hub's.

    Raises `Erased`, `Unavailable`.
    """
    asked = sa.select(requests.c.partition, requests.c.offset).where(
        requests.c.participant == participant,
        requests.c.made == consent,
        requests.c.type == GRANTED,
        requests.c.offset.is_not(None),
    )
    logged = sa.select(directives.c.partition, directives.c.offset).where(
        directives.c.participant == participant,
        directives.c.concerns == consent,
        directives.c.type == GRANTED,
    )
    with store.read() as connection:
        place = connection.execute(asked).first() or connection.execute(logged).first()
    value = None if place is None else lookup.value(CONSENT, place.partition, place.offset)
    if value is None:
        return None
    directive = codec.decode_as("Directive", value)
    if directive["sealed"] is None:
        return None
    opened = vault.sealer(participant).open(directive_aad(directive["id"]), directive["sealed"])
    personal = json.loads(opened)
    reference = (personal.get("signature") or {}).get("reference") or ""
    organisation = (personal.get("witness") or {}).get("organisation") or ""
    return Pointer(reference[len(PREFIX) :], organisation) if reference.startswith(PREFIX) else None


def form(store: Store, vault: Vault, lookup: Lookup, participant: str, sha256: str) -> Form | None:
    """A participant's form; None where the hub has none of that hash.

    Raises `Erased`, `Unavailable`, and `Unsealable` for one that is not what was signed.
    """
    kept = sa.select(acted.c.partition, acted.c.offset).where(
        acted.c.topic == WORK,
        acted.c.what == acts.FORM_KEPT,
        acted.c.participant == participant,
        acted.c.about == sha256,
    )
    with store.read() as connection:
        place = connection.execute(kept).first()
    value = None if place is None else lookup.value(WORK, place.partition, place.offset)
    if value is None:
        return None
    found = signed.opened(vault, codec.decode_as("Work", value))
    drawn = None if found.picture is None else hashlib.sha256(found.picture).hexdigest()
    if found.sha256 != sha256 or found.body["picture"] != drawn:
        raise Unsealable("the form is not what was signed")
    return found
