"""The store's tables. Participants stand here under their pseudonyms; whatever is personal is sealed.

What `PROJECTED` lists is a projection of the log and can be dropped and built again (`hub/auditor.py`). Times
are milliseconds since 1970 in UTC.
"""

from typing import Any, Final

import sqlalchemy as sa

from hub.casetables import caseloads, covers, petitions, sightings, teams
from hub.columns import json as _json
from hub.columns import metadata
from hub.columns import number as _number
from hub.columns import sealed as _sealed
from hub.columns import text as _text
from hub.owntables import passes, visits
from hub.publictables import PUBLIC
from hub.watchtables import WATCHED


def _some(name: str, which: str, *columns: str) -> sa.Index:
    """An index of some rows of a table alone. In: its name, which rows, by what."""
    where = sa.text(which)
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


keys = sa.Table(
    "keys",
    metadata,
    _text("kind", primary_key=True),  # participant, hub, mac or sign
    _text("subject", primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    _sealed("wrapped", nullable=True),  # gone once destroyed
    _text("kek"),
    _number("created_at"),
    _number("expires_at", nullable=True),
    _number("destroyed_at", nullable=True),
)

keks = sa.Table(  # key-encryption keys, by what tells them apart: one is current, those before it are to go
    "keks",
    metadata,
    _text("id", primary_key=True),
    _number("since"),
    _number("until", nullable=True),
    _number("destroyed_at", nullable=True),
)

erasures = sa.Table(  # whose keys were destroyed lately, for processes that have them in memory
    "erasures",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("subject"),
    _number("at"),
)

holders = sa.Table(  # processes that may have keys in memory, and up to which erasure they have forgotten
    "holders",
    metadata,
    _text("id", primary_key=True),
    _text("stage"),
    _text("host"),
    _number("pid"),
    _number("forgotten"),
    _number("seen_at"),
)

tokens = sa.Table(
    "tokens",
    metadata,
    _text("id", primary_key=True),
    _text("stakeholder", index=True),
    _json("scopes"),
    _text("digest", unique=True),  # of a token; or a certificate's, which says so
    _number("created_at"),
    _number("expires_at", nullable=True),
    _number("revoked_at", nullable=True),
    _number("used_at", nullable=True),  # to the hour
)

accounts = sa.Table(
    "accounts",
    metadata,
    _text("id", primary_key=True),
    _text("stakeholder", nullable=True),
    _text("role"),  # case-manager, privacy-officer, operator
    _text("name"),
    _text("password", nullable=True),  # argon2id
    sa.Column("demo", sa.Boolean, nullable=False),
    _number("created_at"),
    _number("disabled_at", nullable=True),
    _text("issuer", nullable=True),  # who vouches for them, and what it calls them, for ever
    _text("subject", nullable=True),
    sa.Column("named", sa.Boolean, server_default=sa.false(), nullable=False),  # by `hub person add`
    sa.Index("ix_accounts_subject", "issuer", "subject", unique=True),
)

sessions = sa.Table(
    "sessions",
    metadata,
    _text("digest", primary_key=True),
    _text("account", sa.ForeignKey("accounts.id", ondelete="CASCADE")),
    _text("csrf"),
    _number("created_at"),
    _number("seen_at"),
    _number("expires_at"),
    _text("agent", server_default=""),  # hash of what the browser calls itself
    _text("sid", nullable=True),  # the provider's name of its own session
)

secrets = sa.Table(
    "stakeholder_secrets",
    metadata,
    _text("stakeholder", primary_key=True),
    _text("name", primary_key=True),
    _sealed("sealed"),
    _number("created_at"),
)

crosswalk = sa.Table(
    "crosswalk",
    metadata,
    _text("agency", primary_key=True),
    _text("local", primary_key=True),  # keyed hash of the agency's local id
    _text("participant", index=True),
    _sealed("sealed"),
    _number("at"),
    _number("offset", nullable=True),  # null while only reserved, not yet written to the log
)

merges = sa.Table(  # who was taken into whom
    "merges",
    metadata,
    _text("absorbed", primary_key=True),
    _text("survivor", index=True),
    _json("links"),  # agency and keyed hash of each that was moved
    _number("at"),
    _number("place"),  # offset in `work`
)

requests = sa.Table(
    "requests",
    metadata,
    _text("sender", primary_key=True),
    _text("id", primary_key=True),  # as the sender chose it
    _text("directive", unique=True),  # as the hub calls it
    _text("participant", index=True),
    _text("digest"),  # keyed hash of what was asked, to tell a repeat from another request
    _text("type"),
    _text("made", nullable=True),  # the id that the hub made for the consent, restriction, order, emergency
    _text("state"),  # writing, waiting, written, rejected
    _sealed("sealed", nullable=True),  # the order that waits for a second officer
    _text("asked_by", nullable=True),
    _text("decided_by", nullable=True),
    _number("at"),
    sa.Column("partition", sa.Integer, nullable=True),
    _number("offset", nullable=True),
)

submissions = sa.Table(
    "submissions",
    metadata,
    _text("sender", primary_key=True),
    _text("id", primary_key=True),
    _text("digest"),
    _number("at"),
    sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),  # null while it is being written
)

directives = sa.Table(
    "directives",
    metadata,
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("id", index=True),
    _text("participant", index=True),
    _text("sender"),
    _number("recorded_at"),
    _text("type"),
    _text("concerns", nullable=True, index=True),  # the consent, restriction, order or emergency
    _sealed("body"),  # canonical JSON of the rule; names are sealed in the log and not copied here
    sa.Index("ix_directives_newest", "recorded_at", "partition", "offset"),
    sa.Index("ix_directives_type", "type", "recorded_at"),
)

decisions = sa.Table(
    "decisions",
    metadata,
    _text("id", primary_key=True),
    _text("cause"),
    _text("event", index=True),
    _text("participant", index=True),
    _text("discloser"),
    _text("type"),
    _text("category"),
    _number("occurred_at"),
    _number("at", index=True),
    _json("envelope"),
    _json("position"),  # of the event
    _number("consent_offset"),
    _number("governance_offset"),
    sa.Column("partition", sa.Integer, nullable=False),
    _number("offset"),
    sa.UniqueConstraint("partition", "offset"),
)

outcomes = sa.Table(
    "outcomes",
    metadata,
    _text("decision", sa.ForeignKey("decisions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    _text("event"),
    _text("participant"),
    _text("stakeholder"),
    _text("subscription"),
    _text("purpose"),
    _text("effect"),
    _text("reason"),
    _text("basis", nullable=True),
    _json("grants"),
    _json("compartments"),
    _json("obligations"),
    _number("at"),
    sa.Index("ix_outcomes_newest", "at", "decision", "number"),
    sa.Index("ix_outcomes_counted", "at", "effect", "reason"),
    sa.Index("ix_outcomes_stakeholder", "stakeholder", "at"),
    sa.Index("ix_outcomes_reason", "reason", "at"),
    sa.Index("ix_outcomes_event", "event", "stakeholder"),
    sa.Index("ix_outcomes_person", "participant", "at"),
)


def _delivery(name: str, *columns: Any) -> sa.Table:
    """A table of one kind of record of `deliveries`, keyed by the record's place in the log."""
    return sa.Table(
        name,
        metadata,
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
        _text("key", index=True),
        _text("stakeholder"),
        _text("adapter"),
        _text("event"),
        _text("participant"),
        _number("at"),
        *columns,
        sa.Index(f"ix_{name}_person", "participant", "at"),
        sa.Index(f"ix_{name}_event_stakeholder", "event", "stakeholder", "at"),
        sa.Index(f"ix_{name}_stakeholder_at", "stakeholder", "at"),
    )


intents = _delivery(
    "intents",
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("outbox_partition", sa.Integer, nullable=False),
    _number("outbox_offset"),
    _number("consent_offset"),
    _number("governance_offset"),
    _json("shares"),
)
receipts = _delivery(
    "receipts",
    sa.Column("attempt", sa.Integer, nullable=False),
    _text("outcome"),
    _text("code"),
    _number("next_at", nullable=True),
    sa.Index("ix_receipts_counted", "at", "outcome", "code"),
)
withheld = _delivery(
    "withheld",
    _number("consent_offset"),
    _number("governance_offset"),
    _json("reasons"),
    sa.Index("ix_withheld_at", "at"),
)

OPEN_ALERTS: Final = "acknowledged_at IS NULL AND withdrawn_at IS NULL AND rule <> ''"
alerts = sa.Table(  # rows that wait for a person, and the rest of what a person's page tells
    "alerts",
    metadata,
    _text("id", primary_key=True),
    _number("changed", unique=True),  # from `next_number`: what a live page resumes by
    _text("stakeholder"),
    _text("participant", index=True),
    _text("event"),  # empty where no event stands behind it
    _text("rule"),  # empty where it is for the timeline alone
    _text("urgency"),
    _text("audience", server_default="caseload"),
    _sealed("sealed"),
    _json("facts", nullable=True),  # ids and codes of one that no event stands behind
    _number("at"),
    _number("occurred_at", nullable=True),
    _text("thread", nullable=True),  # opaque: what reminders of one hearing share
    _number("due_at", nullable=True),  # null where it is shown at once
    _number("rung_at", nullable=True),  # when the clock told that it was due
    _number("escalates_at", nullable=True),
    _number("escalated_at", nullable=True),
    _number("version", server_default="0"),  # of what people did to it
    _number("reserved_at", nullable=True),  # somebody is about to make the next one
    _number("act", nullable=True),  # offset in `work` of what made this one
    _number("acted_at", nullable=True),
    _text("acted_by", nullable=True),
    _json("before", nullable=True),  # what undoing goes back to
    _number("acknowledged_at", nullable=True),
    _text("acknowledged_by", nullable=True),
    _number("snoozed_until", nullable=True),
    _text("handed_to", nullable=True),
    _number("withdrawn_at", nullable=True),
    _number("notified_at", nullable=True),
    _number("notified_again_at", nullable=True),  # once it had escalated
    sa.Index("ix_alerts_stakeholder", "stakeholder", "changed"),
    sa.Index("ix_alerts_thread", "thread"),
    sa.Index("ix_alerts_unnotified", "notified_at", "urgency"),
    sa.Index("ix_alerts_escalated", "escalated_at"),
    # a page asks for the few that stand, wait, were put off or taken a moment ago, among all that ever were
    _some("ix_alerts_standing", "withdrawn_at IS NULL", "stakeholder", "participant"),
    _some("ix_alerts_open", OPEN_ALERTS, "stakeholder", "participant"),
    _some("ix_alerts_taken", "acknowledged_at IS NOT NULL", "stakeholder", "acknowledged_at"),
    _some("ix_alerts_snoozed", "snoozed_until IS NOT NULL", "stakeholder", "snoozed_until"),
)

pulls = sa.Table(  # what waits to be fetched, and what was fetched but not confirmed yet
    "pulls",
    metadata,
    _text("stakeholder", primary_key=True),
    _number("number", primary_key=True, autoincrement=False),  # from `next_number`, one count for each
    _text("key", unique=True),
    _text("participant", index=True),
    _text("event"),
    _sealed("sealed", nullable=True),  # gone once it was confirmed or withdrawn
    _number("at"),
    _number("fetched_at", nullable=True),
)

sent_files = sa.Table(  # files that were written under another name, and are about to get their own
    "sent_files",
    metadata,
    _text("stakeholder", primary_key=True),
    _text("name", primary_key=True),
    _text("part"),
    _json("keys"),  # of the deliveries in it
    _number("at"),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    _text("id", primary_key=True),
    _text("stage"),
    _text("agency", nullable=True, index=True),
    _text("reason"),
    _text("detail"),
    _text("path", nullable=True),
    _number("at", index=True),
    sa.Column("position", sa.JSON(none_as_null=True), nullable=True),  # of what was refused, where it had one
    sa.Column("partition", sa.Integer, nullable=False),  # of the record that holds the sealed original
    _number("offset"),
)  # whether somebody retried or discarded it stands in `acts`

event_status = sa.Table(
    "event_status",
    metadata,
    _text("event", primary_key=True),
    _text("agency"),
    _text("status"),
    _text("reason", nullable=True),
    _number("at"),
    _number("duplicates"),
    _number("conflicts"),
)

acts = sa.Table(  # what people and machines did in the hub: topics `work` and `access`
    "acts",
    metadata,
    _text("topic", primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
    _number("at", index=True),
    _text("id"),
    _text("who"),
    _text("what"),
    _text("participant", nullable=True, index=True),
    _text("about", nullable=True, index=True),  # which alert, order, event or refused record
    _json("detail"),
)

offsets = sa.Table(
    "offsets",
    metadata,
    _text("projection", primary_key=True),
    _text("topic", primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    _number("position"),
)

counters = sa.Table("counters", metadata, _text("name", primary_key=True), _number("value"))
OWN: Final = (passes, visits)  # of participants' own pages; no projections

PROJECTED: Final = (  # what `hub/auditor.py` builds, and may build again
    *WATCHED,
    outcomes,
    decisions,
    directives,
    intents,
    receipts,
    withheld,
    quarantine,
    event_status,
    acts,
    caseloads,
    teams,
    covers,
    sightings,
    petitions,
    crosswalk,
    merges,
    *PUBLIC,
)
