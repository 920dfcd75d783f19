"""`hub doctor`: broker, schemas, clock, keys, store, disk; a line each, with the mend for what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import json
import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import asyncssh
import sqlalchemy as sa
import typer
from alembic.runtime.migration import MigrationContext
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from sqlalchemy.engine import make_url

from connectors import alert_rules, mapping
from hub import authority, broker, health, kek, settings, users
from hub.errors import OperatorError
from hub.finding import Finding
from hub.openness import public
from hub.settings import Settings
from hub.store import Store
from hub.tables import keks, keys
from schemas import compatibility, registry, topics
from schemas.errors import HubError, Invalid, Unavailable
from streams import topology

ANSWER_MS_MAX: Final = 5_000
CLOCK_MS_MAX: Final = 1_000
FREE_MB_MIN: Final = 1_024
FREE_MB_LOW: Final = 5_120
CERTIFICATE_DAYS_LOW: Final = 60
KEK_DAYS_MAX: Final = 90
TIME_ERROR: Final = 5  # adjtimex(2): the kernel's clock is not kept by anything


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False) -> None:
    """Look at broker, schemas, clock, keys, store and disk. Exit status 1 where something is wrong."""
    findings = examine(settings.load())
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(f"{finding.name:8} {finding.state:6} {finding.says}")
            if finding.mend:
                typer.echo(f"{'':15} {finding.mend}")
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def examine(configured: Settings) -> list[Finding]:
    """Every finding, in the order in which they are printed. Changes nothing; raises nothing."""
    checks = [_broker, _schemas, _clock, _keys, _store, _disk]
    if configured.files:
        checks.append(_files)
    if configured.alert_rules or configured.push_contact or configured.mail_host:
        checks.append(_alerts)
    if configured.census or configured.measures or configured.linking_desk or configured.privacy_budget:
        checks.append(public)
    if configured.kafka_agencies is not None:
        checks.append(_agencies)
    if configured.oidc_issuer is not None:
        checks.append(_sign_in)
    if configured.web_certificate is not None:
        checks.append(_web)
    return [_guarded(check, configured) for check in checks]


def _guarded(check: Callable[[Settings], Finding], configured: Settings) -> Finding:
    name = check.__name__.removeprefix("_")
    try:
        return check(configured)
    except OperatorError as error:
        return Finding(name, "wrong", error.what, error.mend)
    except HubError as error:
        return Finding(name, "wrong", error.detail)
    except Exception as error:
        return Finding(name, "wrong", f"could not be examined ({type(error).__name__})", "Is it reachable?")


def _broker(configured: Settings) -> Finding:
    address = broker.address(configured)
    client = configured.kafka(address)
    if not broker.answers(client, ANSWER_MS_MAX):
        return Finding(
            "broker", "wrong", f"`{address}` does not answer", "Start it, or check HUB_KAFKA_BOOTSTRAP."
        )
    known = AdminClient(client).list_topics(timeout=ANSWER_MS_MAX / 1000)
    missing = [name for name in topics.TOPICS if name not in known.topics]
    if missing:
        return Finding(
            "broker", "wrong", f"topics are missing: {', '.join(missing)}", "Run `hub up`; it makes them."
        )
    partitions = len(known.topics["consent"].partitions)
    if partitions != configured.partitions:
        says = f"topics have {partitions} partitions, and the settings say {configured.partitions}"
        return Finding("broker", "wrong", says, f"Set HUB_PARTITIONS={partitions}.")
    if configured.replication_factor > len(known.brokers):
        says = f"{configured.replication_factor} copies are wanted, of {len(known.brokers)} brokers"
        return Finding("broker", "wrong", says, "Start more brokers, or set HUB_REPLICATION.")
    if lines := topology.differences(AdminClient(client)):
        return Finding("broker", "wrong", lines[0], "Set it right with Kafka's own tools.")
    return Finding("broker", "ok", f"{address}, {len(known.brokers)} broker(s), {len(known.topics)} topics")


def _schemas(_configured: Settings) -> Finding:
    names = registry.names()
    for name in names:
        versions = [registry.schema(schema_id) for schema_id in registry.released(name)]
        if differences := compatibility.full_transitive(versions):
            return Finding(
                "schemas", "wrong", f"`{name}`: {differences[0]}", "Install a release of the hub anew."
            )
    return Finding("schemas", "ok", f"{len(names)} records, every released version can read every other")


def _clock(configured: Settings) -> Finding:
    newest_ms = _newest_record_ms(configured)
    ahead_ms = newest_ms - time.time_ns() // 1_000_000
    if ahead_ms > CLOCK_MS_MAX:
        says = f"this clock is {ahead_ms} ms behind the newest record"
        return Finding("clock", "wrong", says, "Set it by NTP: consents begin and end by it.")
    if ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) == TIME_ERROR:
        return Finding(
            "clock", "note", "nothing keeps this clock in step", "Run an NTP client, such as chrony."
        )
    return Finding("clock", "ok", "kept in step, and not behind the newest record")


def _newest_record_ms(configured: Settings) -> int:
    """Unix time of the newest directive or governance record; -1 where there is none."""
    admin = AdminClient(configured.kafka(broker.address(configured)))
    asked = [TopicPartition("governance", 0)]
    asked += [TopicPartition("consent", number) for number in range(configured.partitions)]
    newest = admin.list_offsets(
        dict.fromkeys(asked, OffsetSpec.max_timestamp()),
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=ANSWER_MS_MAX / 1000,
    )
    return max(int(future.result().timestamp) for future in newest.values())  # type: ignore[attr-defined]  # stub


def _keys(configured: Settings) -> Finding:
    with _opened(configured) as store, store.read() as connection:
        stored = connection.execute(sa.select(sa.func.count()).select_from(keys)).scalar_one()
        foreign = connection.execute(sa.select(keys.c.kek).distinct()).scalars().all()
        since = connection.execute(
            sa.select(sa.func.max(keks.c.since)).where(keks.c.until.is_(None))
        ).scalar()
        current = connection.execute(sa.select(keks.c.id).where(keks.c.until.is_(None)).limit(1)).scalar()
        left = connection.execute(
            sa.select(keks.c.id).where(keks.c.until.is_not(None), keks.c.destroyed_at.is_(None))
        ).scalar()
    there = kek.load(configured.data, os.environ, create=False).keks()
    if {one for one in foreign if one} - there.keys():
        says = f"key-encryption key {next(iter(there))} is not the one that the stored keys are wrapped by"
        return Finding("keys", "wrong", says, "Bring the right one back from its backup.")
    if left is not None:
        says = f"key-encryption key {left} was to be replaced, and is still there"
        return Finding("keys", "note", says, "Run `hub keys rotate`; it finishes what was begun.")
    days = 0 if since is None else (time.time_ns() // 1_000_000 - since) // topics.DAY_MS
    says = f"key-encryption key {current or next(iter(there))} is there; {stored} keys are wrapped by it"
    if days > KEK_DAYS_MAX:
        return Finding("keys", "note", f"{says}, for {days} days", "Run `hub keys rotate`.")
    return Finding("keys", "ok", says)


def _store(configured: Settings) -> Finding:
    several = [stage for stage, count in _processes(configured).items() if count > 1]
    with _opened(configured) as store, store.read() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        kind = connection.dialect.name
    if revision is None:
        return Finding("store", "wrong", f"{kind} has no tables yet", "Run `hub up`; it makes them.")
    if kind == "sqlite" and several:
        says = f"SQLite, and several processes of {', '.join(several)}"
        return Finding("store", "wrong", says, "Move to PostgreSQL: set HUB_STORE_URL.")
    return Finding("store", "ok", f"{kind}, tables at revision {revision}")


def _disk(configured: Settings) -> Finding:
    if not configured.data.is_dir():
        raise OperatorError(f"there is no data folder `{configured.data}` yet", "Run `hub up`; it makes one.")
    free_mb = shutil.disk_usage(configured.data).free // 2**20
    says = f"{free_mb} MB free at `{configured.data}`"
    if free_mb < FREE_MB_MIN:
        return Finding("disk", "wrong", says, f"Make room: below {FREE_MB_MIN} MB the broker may stop.")
    if stat.S_IMODE(configured.data.stat().st_mode) & 0o077:
        return Finding(
            "disk", "wrong", f"others may read `{configured.data}`", f"Run `chmod 700 {configured.data}`."
        )
    if free_mb < FREE_MB_LOW:
        return Finding("disk", "note", says, "Make room soon.")
    return Finding("disk", "ok", says)


def _files(configured: Settings) -> Finding:
    for source in configured.files:
        for name in source.mappings.values():
            try:
                mapping.load(name)
            except Invalid as error:
                says = f"`{source.name}`: mapping `{name}`, {error.detail}"
                return Finding("files", "wrong", says, "Correct it, or name a ready one.")
        if source.folder is not None and not os.access(source.folder, os.R_OK | os.W_OK | os.X_OK):
            says = f"`{source.folder}` is not there, or not the hub's to write to"
            return Finding("files", "wrong", says, "Make it, and give it to the user that the hub runs as.")
        if source.sftp is not None:
            try:
                asyncssh.import_public_key(source.sftp.host_key)
                asyncssh.read_private_key(source.sftp.key)
            except (OSError, asyncssh.KeyImportError) as error:
                says = f"`{source.name}`: a key cannot be read ({type(error).__name__})"
                return Finding("files", "wrong", says, "Check `key` and `host_key`.")
    return Finding("files", "ok", f"{len(configured.files)} place(s), mappings and keys can be read")


def _alerts(configured: Settings) -> Finding:
    """The program's own rules, and by which ways case managers are told."""
    try:
        rules = alert_rules.load(configured.alert_rules)
    except Invalid as error:
        says = "; ".join(one.detail for one in error.problems[:3])
        return Finding("alerts", "wrong", says, "Correct `alert_rules`; see `connectors/alert_rules.toml`.")
    except OSError:
        return Finding(
            "alerts", "wrong", "`alert_rules` cannot be read", "Name a file that the hub may read."
        )
    by = {"push": configured.push_contact, "mail": configured.mail_host}
    ways = " and ".join(name for name, set_to in by.items() if set_to)
    if not ways:
        says = f"{len(rules.rows)} rules; who does not look is not told"
        return Finding("alerts", "note", says, "Set `push_contact`, or `mail_host` and `mail_from`.")
    return Finding("alerts", "ok", f"{len(rules.rows)} rules; people are told by {ways}")


def _agencies(configured: Settings) -> Finding:
    users.Users(configured.kafka(broker.address(configured))).check()
    if configured.guarded:
        left = authority.days_left(configured.broker_tls, datetime.now(UTC))
        if left < CERTIFICATE_DAYS_LOW:
            says = f"the broker's certificate ends in {left} days"
            return Finding("agencies", "note" if left > 0 else "wrong", says, "Start the broker anew.")
    return Finding("agencies", "ok", f"the brokers ask who comes; agencies reach {configured.kafka_agencies}")


def _sign_in(configured: Settings) -> Finding:
    """The county's sign-in service, asked as the web asks it."""
    from hub.oidc import Provider  # noqa: PLC0415  slow to import, and seldom needed

    try:
        provider = Provider(configured, lambda purpose, _: purpose)
    except (OSError, ValueError):
        mend = "See `oidc_client_secret_file` and `oidc_ca`: may the hub read them?"
        return Finding("sign-in", "wrong", "a file that signing in needs cannot be read", mend)
    try:
        keys = asyncio.run(provider.check())
    except Unavailable as error:
        return Finding("sign-in", "wrong", error.detail, "Compare `oidc_issuer`; see docs/signing-in.md.")
    says = f"{configured.oidc_issuer} answers, and signs with {keys} key(s)"
    if not configured.oidc_groups:
        return Finding("sign-in", "note", says + "; no group is let in", "Set `oidc_groups`, or add by name.")
    return Finding("sign-in", "ok", says)


def _web(configured: Settings) -> Finding:
    """The web's own certificate."""
    assert configured.web_certificate is not None
    left = authority.certificate_days(configured.web_certificate, datetime.now(UTC))
    says = f"the web's certificate ends in {left} days"
    if left < CERTIFICATE_DAYS_LOW // 2:
        return Finding("web", "note" if left > 0 else "wrong", says, "Renew it, and start the web anew.")
    return Finding("web", "ok", says)


def _processes(configured: Settings) -> Counter[str]:
    return Counter(beat.stage for beat in health.read_all(configured.run_dir))


@contextlib.contextmanager
def _opened(configured: Settings) -> Iterator[Store]:
    """The store, if it has been made; a look at it makes none."""
    url = make_url(configured.store)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        raise OperatorError("there is no store yet", "Run `hub up`; it makes one.")
    with contextlib.closing(Store(configured.store)) as store:
        yield store
