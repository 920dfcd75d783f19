"""The processes of which the hub consists, each put together with plain calls, from the parts of `Hub`.

A `run_` function puts one stage together and runs it until it is asked to stop, or fails.
"""

import threading
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka.admin import AdminClient

from connectors.adapter import Adapter
from consent import Governance
from hub.bootstrap import Hub, now_ms
from hub.clients import as_faust
from hub.crosswalk import Links, local_hash
from hub.errors import SettingsInvalid
from hub.health import Pulse
from hub.settings import Settings
from hub.worker import say, work
from schemas.errors import Invalid
from streams.slots import Slot
from streams.step import Step

if TYPE_CHECKING:
    import ssl

    from connectors.sources import Source
    from connectors.taking import Taker
    from hub.filing import Place
    from hub.oidc import Provider
    from streams.timed import Timed

CONNECTORS: Final = "connectors"
DELIVERY_BATCH_MAX: Final = 1_000  # records: while a batch is taken in, no revocation is acknowledged
PAGE_READ_MS_MAX: Final = 10_000  # of one look into the store
DELIVERY_WAIT_MS_MAX: Final = 10  # for more to deliver: what ends meanwhile makes room, and wakes nobody


def run_admit(hub: Hub, stop: threading.Event) -> None:
    """Stage `admit`."""
    from streams import admit  # noqa: PLC0415
    from streams.trim import Trimmer  # noqa: PLC0415

    step = admit.Admit(
        hub.vault,
        Links(),
        partial(local_hash, hub.vault),
        Trimmer(AdminClient(hub.client)),
        now_ms,
        hub.settings.partitions,
    )
    _run(hub, admit.STAGE, step, stop)


def run_enforce(hub: Hub, stop: threading.Event) -> None:
    """Stage `enforce`."""
    from streams import enforce  # noqa: PLC0415

    step = enforce.Enforce(now_ms, hub.settings.partitions)
    _run(hub, enforce.STAGE, step, stop)


def run_reconsider(hub: Hub, stop: threading.Event) -> None:
    """Stage `reconsider`."""
    from streams import reconsider  # noqa: PLC0415
    from streams.lookup import Lookup  # noqa: PLC0415

    reader = Lookup(hub.client, reconsider.STAGE)
    try:
        _run(hub, reconsider.STAGE, reconsider.Reconsider(reader, now_ms), stop)
    finally:
        reader.close()


def run_faust(hub: Hub, stop: threading.Event) -> None:
    """Stage `faust`: the clock."""
    from streams.clock import APP, Clock  # noqa: PLC0415

    def made(folder: Path, instance_id: str) -> Clock:
        soon = hub.alert_rules.named("consent-expires")
        days = soon.days if soon else ()
        servers, partitions = hub.client["bootstrap.servers"], hub.settings.partitions
        return Clock(servers, folder, instance_id, partitions, days, hub.zone, **as_faust(hub.client))

    _run_timed(hub, APP, made, stop)


def run_aggregate(hub: Hub, stop: threading.Event) -> None:
    """Stage `aggregate`: counts for everybody to see."""
    from streams.aggregate import APP, Aggregates  # noqa: PLC0415

    def made(folder: Path, instance_id: str) -> Aggregates:
        return Aggregates(
            hub.vault,
            hub.measures,
            hub.zone,
            hub.client["bootstrap.servers"],
            folder,
            instance_id,
            hub.settings.partitions,
            **as_faust(hub.client),
        )

    _run_timed(hub, APP, made, stop)


def _run_timed(hub: Hub, app: str, made: Callable[[Path, str], "Timed"], stop: threading.Event) -> None:
    """A stage in Faust, in a folder of its own."""
    settings = hub.settings
    pulse = Pulse(settings.run_dir, app)
    pulse.beat("starting")
    try:
        with Slot(settings.run_dir / "slots", app) as slot:
            folder = settings.data / app / slot.instance_id
            folder.mkdir(parents=True, exist_ok=True)
            made(folder, slot.instance_id).run(stop, lambda health: say(pulse, health))
    finally:
        pulse.close()
        hub.close()


def adapters(hub: Hub) -> dict[str, Adapter]:
    """Every adapter by its name. To be used in one event loop, and closed there."""
    from connectors import alerts, feed, pull, repository, sftp, webhook  # noqa: PLC0415
    from connectors.http import HttpSettings  # noqa: PLC0415
    from hub.pulls import Pulls  # noqa: PLC0415
    from hub.sent import SentFiles  # noqa: PLC0415
    from hub.shown import ShownAlerts  # noqa: PLC0415

    settings, vault = hub.settings, hub.vault
    open_doors = settings.demo or settings.private_webhooks
    towards = HttpSettings(private=open_doors, plain=open_doors)
    tls = _shown(settings)
    return {
        webhook.ADAPTER: webhook.Webhooks(hub.signing, towards, tls),
        repository.ADAPTER: repository.Repositories(hub.signing, towards, tls),
        alerts.ADAPTER: alerts.Alerts(
            ShownAlerts(hub.store), vault, now_ms, hub.alert_rules, hub.alarms, hub.zone
        ),
        pull.ADAPTER: pull.Pull(Pulls(hub.store), vault, now_ms),
        feed.ADAPTER: feed.Feeds(hub.client, settings.partitions, settings.send_ms_max),
        sftp.ADAPTER: sftp.Files(hub.signing, SentFiles(hub.store), now_ms, private=open_doors),
    }


def _shown(settings: Settings) -> "ssl.SSLContext | None":
    """The hub's certificate, where receivers are to see one. Raises `SettingsInvalid` where it is none."""
    from connectors.http import shown  # noqa: PLC0415

    if settings.webhook_certificate is None:
        return None
    try:
        return shown(settings.webhook_certificate)
    except OSError as error:  # that of TLS is one
        raise SettingsInvalid(
            f"`webhook_certificate` cannot be used: {type(error).__name__}",
            "It is a PEM file with a certificate and its private key.",
        ) from None


def run_connectors(hub: Hub, stop: threading.Event) -> None:
    """Stage `connectors`: the delivery engine and every adapter."""
    from connectors import projection  # noqa: PLC0415
    from connectors.engine import Engine, EngineSettings  # noqa: PLC0415
    from connectors.log import KafkaHistory, KafkaLog  # noqa: PLC0415
    from connectors.schedule import Schedule  # noqa: PLC0415
    from connectors.sender import Sender  # noqa: PLC0415
    from connectors.standing import Together, Watch  # noqa: PLC0415
    from connectors.views import Views  # noqa: PLC0415
    from hub.pulls import Pulls  # noqa: PLC0415
    from hub.shown import ShownAlerts  # noqa: PLC0415

    settings, vault = hub.settings, hub.vault
    standing = Together(ShownAlerts(hub.store), Pulls(hub.store))
    log, history = KafkaLog(hub.client), KafkaHistory(hub.client)
    bounds = EngineSettings(
        owner=str(uuid.uuid4()), partitions=settings.partitions, send_ms_max=settings.send_ms_max
    )
    sender = Sender(adapters(hub), vault, hub.crosswalk, log, Schedule(), now_ms, bounds.in_flight_max)
    engine = Engine(
        bounds,
        sender,
        history,
        log,
        partial(projection.idempotency_key, vault),
        Governance(),
        Watch(standing, vault),
        now_ms,
        Views(standing, vault),
        hub.alert_rules.urgent,
    )
    sender.start()
    try:
        batches = {"batch_records_max": DELIVERY_BATCH_MAX, "batch_wait_ms_max": DELIVERY_WAIT_MS_MAX}
        _run(hub, CONNECTORS, engine, stop, flush_first=True, **batches)
    finally:
        sender.stop(settings.send_ms_max)
        log.close()
        history.close()


def run_web(hub: Hub, stop: threading.Event) -> None:
    """Stage `web`: gateway, pages, API."""
    from connectors.intake import Intake  # noqa: PLC0415
    from connectors.log import KafkaHistory  # noqa: PLC0415
    from consent.record import Record  # noqa: PLC0415
    from hub import serving  # noqa: PLC0415
    from hub.accounts import Accounts  # noqa: PLC0415
    from hub.devices import Devices  # noqa: PLC0415
    from hub.handling import Handling  # noqa: PLC0415
    from hub.lookup import Lookup  # noqa: PLC0415
    from hub.parts import Fences, Parts  # noqa: PLC0415
    from hub.passes import Passes  # noqa: PLC0415
    from hub.preferences import Preferences  # noqa: PLC0415
    from hub.pulls import Pulls  # noqa: PLC0415
    from hub.said import placed  # noqa: PLC0415
    from hub.sessions import Sessions  # noqa: PLC0415
    from hub.submissions import Submissions  # noqa: PLC0415
    from hub.ways import Backlog  # noqa: PLC0415

    lookup = Lookup(hub.client)

    def record(participant: str) -> Record:
        return Record(placed(hub.store, lookup, participant))

    def put_together(fences: Fences) -> Parts:
        intake = Intake(hub.appender, hub.vault, hub.follower, hub.settings.partitions)
        taking = Submissions(
            hub.store, hub.vault, hub.appender, hub.participants, hub.directives, intake.take
        )
        return Parts(
            settings=hub.settings,
            client=hub.client,
            store=hub.store,
            vault=hub.vault,
            appender=hub.appender,
            register=hub.register,
            sessions=Sessions(hub.store),
            accounts=Accounts(hub.store, hub.settings.oidc_groups),
            provider=_provider(hub),
            passes=Passes(hub.store, hub.vault, hub.appender, now_ms, record),
            participants=hub.participants,
            directives=hub.directives,
            submissions=taking,
            intake=intake,
            fences=fences,
            viewer=hub.viewer(fences),
            pulls=Pulls(hub.store),
            backlog=backlog,
            lookup=lookup,
            crosswalk=hub.crosswalk,
            alert_rules=hub.alert_rules,
            caseloads=hub.caseloads,
            requests=hub.requests,
            handling=Handling(hub.store, hub.appender, hub.caseloads, hub.alarms, now_ms),
            measures=hub.measures,
            census=hub.census,
            letters=hub.letters,
            preferences=Preferences(hub.store, hub.vault),
            devices=Devices(hub.store, hub.vault),
            clock_ms=now_ms,
        )

    hub.store.read_ms_max = PAGE_READ_MS_MAX
    backlog = Backlog(lambda: KafkaHistory(hub.client), hub.settings.partitions, now_ms)
    try:
        serving.run(hub.settings, hub.client, hub.appender, put_together, stop)
    finally:
        backlog.close()
        hub.close()


def _provider(hub: Hub) -> "Provider | None":
    """Where people sign in. Raises `SettingsInvalid` where what it needs cannot be read."""
    from hub.oidc import Provider  # noqa: PLC0415

    if hub.settings.oidc_issuer is None:
        return None
    try:
        return Provider(hub.settings, hub.vault.mac)
    except (OSError, ValueError):
        raise SettingsInvalid(
            "signing in needs a file that cannot be read",
            "See `oidc_client_secret_file` and `oidc_ca`.",
        ) from None


def run_files(hub: Hub, stop: threading.Event) -> None:
    """Stage `files`: what agencies put into folders and SFTP accounts."""
    from connectors.intake import Intake  # noqa: PLC0415
    from connectors.taking import Taker  # noqa: PLC0415
    from hub import filing  # noqa: PLC0415

    settings = hub.settings
    door = Intake(hub.appender, hub.vault, hub.follower, settings.partitions)
    places = []
    try:
        for source in settings.files:
            try:
                taker = Taker(source, door, hub.vault.mac)
            except Invalid as error:
                raise SettingsInvalid(f"the mappings of `{source.name}`: {error.detail}") from None
            places.append((source, _place(hub, source, taker)))
        filing.run(settings, places, hub.follower.registered, stop)
    finally:
        hub.close()


def _place(hub: Hub, source: "Source", taker: "Taker") -> "Place":
    """Where the files of one source are."""
    from connectors.account import Polled  # noqa: PLC0415
    from connectors.folder import Folder  # noqa: PLC0415
    from connectors.taking import Watched  # noqa: PLC0415

    if source.folder is not None:
        return Watched(Folder(source.folder, source.settle_ms), taker)
    assert source.sftp is not None, "a source has one place"
    own = Folder(hub.settings.data / "files" / source.key, settle_ms=0)
    return Polled(source.sftp, own, taker, source.settle_ms)


def _run(hub: Hub, stage: str, step: Step, stop: threading.Event, **bounds: Any) -> None:
    try:
        work(hub.settings, hub.client, stage, step, stop, **bounds)
    finally:
        hub.close()
