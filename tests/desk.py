"""Everything behind the API's domain functions but the broker: a log in memory, a store, real keys."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from consent import default_policy
from hub.appender import Place
from hub.directives import Directives
from hub.entrance import Sender
from hub.governance import POLICY_ID, Register, write
from hub.kek import LocalKek
from hub.participants import Participants
from hub.projections import project as projected
from hub.projections import read
from hub.registration import Registration, described
from hub.signing import Signing
from hub.store import Store
from hub.users import Credentials
from hub.vault import Vault
from schemas import codec, topics
from schemas.errors import Unavailable

PARTITIONS = 4
REACH = Sender("stakeholder:reach", organisation="reach")
POLICE = Sender("stakeholder:harbor-pd", organisation="harbor-pd")
CLINIC = Sender("stakeholder:clinic", organisation="clinic")
FIRST = Sender("person:first", officer=True)
SECOND = Sender("person:second", officer=True)
STAKEHOLDERS = (
    ("reach", "case-management", {}),
    ("harbor-pd", "police", {}),
    ("clinic", "service-provider", {"medical": True, "treating": True}),
    ("court", "court", {}),
)


class Log:
    """An `Appender` whose topics are lists. `broken` says that it takes nothing now."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], list[tuple[str | None, bytes]]] = {}
        self.broken = False
        self.lose_answers = False

    def append(self, topic: str, key: str | None, value: bytes) -> Place:
        if self.broken:
            raise Unavailable("the log takes nothing now")
        partition = 0 if key is None else topics.partition_of(key, topics.find(topic).count(PARTITIONS))
        records = self.records.setdefault((topic, partition), [])
        records.append((key, value))
        if self.lose_answers:
            raise Unavailable("written, and the answer was lost")
        return Place(topic, partition, len(records) - 1)

    def append_all(self, topic: str, records: Sequence[tuple[str | None, bytes]]) -> list[Place]:
        return [self.append(topic, *one) for one in records]

    def values(self, topic: str) -> list[dict[str, Any]]:
        """Everything in a topic, decoded."""
        return [
            codec.decode(value)[1]
            for (name, _), records in sorted(self.records.items())
            if name == topic
            for _, value in records
        ]

    def text(self) -> bytes:
        """All bytes that ever got into the log."""
        return b"\n".join(value for records in self.records.values() for _, value in records)


class Passwords:
    """Users of brokers that are not there."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def admit(self, agency: str) -> Credentials | None:
        fresh = agency not in self.known
        self.known.add(agency)
        return Credentials(agency, "password") if fresh else None

    def end(self, agency: str) -> None:
        self.known.discard(agency)


class Desk:
    """The domain functions that the web calls, put together. As in `hub/stages.py`."""

    def __init__(self, store: Store) -> None:
        self.log, self.store = Log(), store
        self.vault = Vault(store, LocalKek(bytes(range(32))))
        self.signing = Signing(store, self.vault)
        self.participants = Participants(store, self.vault, self.log, self.register)  # type: ignore[arg-type]
        self.directives = Directives(
            store,
            self.vault,
            self.log,  # type: ignore[arg-type]
            self.participants,
            self.register,
        )
        self.created: list[str] = []
        self.users = Passwords()
        self.registration = Registration(
            self.log,  # type: ignore[arg-type]
            self.register,
            self.signing,
            self.created.extend,
            self.users,
            kafka=True,
        )

    def register(self) -> Register:
        """The register as the log has it."""
        found = Register()
        for offset, record in enumerate(self.log.values("governance")):
            found.apply(offset, record)
        return found

    def project(self) -> None:
        """Does what the auditor does, with everything in the log."""
        with self.store.write() as connection:
            for (topic, partition), records in self.log.records.items():
                if topic != "governance" and not topic.startswith("inbox."):
                    projected(
                        connection, [read(topic, partition, n, value) for n, (_, value) in enumerate(records)]
                    )

    def open(self, participant: str, aad: bytes, sealed: bytes) -> Any:
        """What was sealed under a participant's key, as JSON."""
        return json.loads(self.vault.sealer(participant).open(aad, sealed))


def desk(folder: Path) -> Desk:
    """A desk on SQLite with a few stakeholders registered."""
    store = Store(f"sqlite:///{folder / 'hub.db'}")
    store.migrate()
    made = Desk(store)
    write(made.log, "policy", POLICY_ID, default_policy(), "test")  # type: ignore[arg-type]
    made.registration.register(
        [
            described(
                {
                    "id": name,
                    "name": name.title(),
                    "role": role,
                    "agreement": {"from": "2025-01-01T00:00:00Z"},
                }
                | more
            )
            for name, role, more in STAKEHOLDERS
        ],
        "test",
    )
    return made


def consent(**more: Any) -> dict[str, Any]:
    """A valid consent as a sender would write it."""
    return {
        "signed_at": "2026-03-01T09:00:00Z",
        "signature": {"method": "paper", "reference": "cabinet 4, Dolores Quintana", "name": "Dolores Q."},
        "starts_at": "2026-03-01T09:00:00Z",
        "expires_at": "2027-03-01T09:00:00Z",
        "statements": ["right-to-revoke", "redisclosure", "refusal"],
        "grants": [
            {
                "id": "g1",
                "disclosers": ["*"],
                "recipients": ["clinic"],
                "purposes": ["care-coordination"],
                "categories": ["service"],
                "compartments": ["*"],
            }
        ],
    } | more


def granted(participant: str, name: str = "d-1", **more: Any) -> dict[str, Any]:
    """A `consent-granted` with its witness."""
    return {
        "id": name,
        "participant": participant,
        "type": "consent-granted",
        "witness": {"name": "Imelda Ferreira", "organisation": "reach"},
        "names": {"participant": "Dolores Quintana"},
        "consent": consent(**more),
    }


def rules(log: Log) -> list[Mapping[str, Any]]:
    """The rules of the directives in the log."""
    return [json.loads(record["body"]) for record in log.values("consent")]
