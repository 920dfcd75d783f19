"""The one place that names concrete parts. Each process of the hub is put together here, with plain calls.

`bootstrap` gives what every process has; a `run_` function puts one stage together and runs it until it is
asked to stop, or fails.
"""

import asyncio
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from confluent_kafka.admin import AdminClient

from connectors import alert_rules
from connectors.adapter import Adapter
from connectors.alert_rules import Rules
from consent import Governance, default_policy
from hub import broker, governance, kek
from hub.alarms import Alarms
from hub.appender import Appender
from hub.caseloads import Caseloads
from hub.clients import as_faust
from hub.crosswalk import Crosswalk, Links, local_hash
from hub.directives import Directives
from hub.errors import SettingsInvalid
from hub.forgetting import Forgetter
from hub.governance import Register
from hub.health import Pulse
from hub.letters import Letters
from hub.participants import Participants
from hub.registration import Registration
from hub.requests import Requests
from hub.settings import Settings
from hub.signing import Signing
from hub.store import Store
from hub.tables import keys
from hub.users import Users
from hub.vault import Vault
from hub.worker import say, work
from schemas import codec, topics
from schemas.errors import Invalid
from streams import measures, topology
from streams.measures import Measures
from streams.slots import Slot
from streams.step import Step

if TYPE_CHECKING:
    import ssl

    from connectors.sources import Source
    from connectors.taking import Taker
    from consent.record import Record
    from hub.equity import Census
    from hub.filing import Place
    from hub.ledger.note import Signer
    from hub.ledger.worker import Worker
    from hub.mail import Mail
    from hub.merging import Merging
    from hub.notifying import Notifier
    from hub.oidc import Provider
    from hub.parts import Viewing
    from hub.publishing import Publisher
    from hub.reporting import Reporter
    from hub.suggestions import Suggestions
    from streams.timed import Timed

CONNECTORS: Final = "connectors"
TELLING_S_MAX: Final = 5.0  # for what is being sent when the auditor stops
DELIVERY_BATCH_MAX: Final = 1_000  # records: while a batch is taken in, no revocation is acknowledged
PAGE_READ_MS_MAX: Final = 10_000  # of one look into the store
DELIVERY_WAIT_MS_MAX: Final = 10  # for more to deliver: what ends meanwhile makes room, and wakes nobody


class Hub:
    """What every process of the hub is made of; each part is made when it is first asked for.

    A context manager: it closes itself.
    """

    def __init__(self, settings: Settings, client: dict[str, Any], stage: str | None = None) -> None:
        """In: the settings, and librdkafka settings of a client that reaches the broker; for a process that
        stays, what it is called."""
        self.settings = settings
        self.client = client
        self._stage = stage
        self._forgetter: Forgetter | None = None

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def store(self) -> Store:
        """The store, its tables up to date."""
        store = Store(self.settings.store)
        store.migrate()
        return store

    @cached_property
    def vault(self) -> Vault:
        """The vault. Raises `KekInvalid` where the key that opens it is missing."""
        with self.store.read() as connection:
            empty = connection.execute(sa.select(keys.c.kind).limit(1)).scalar() is None
        vault = Vault(self.store, kek.load(self.settings.data, os.environ, create=empty))
        if self._stage is not None:
            self._forgetter = Forgetter(self.store, vault, self._stage)
        return vault

    @cached_property
    def appender(self) -> Appender:
        """The way to the log outside of the stages."""
        return Appender(self.client, self.settings.partitions)

    @cached_property
    def crosswalk(self) -> Crosswalk:
        """Agencies' own ids of participants."""
        return Crosswalk(self.store, self.vault)

    @cached_property
    def signing(self) -> Signing:
        """Recipients' signing secrets."""
        return Signing(self.store, self.vault)

    @cached_property
    def log_signer(self) -> "Signer":
        """What signs the transparency log's checkpoints, under the name that the settings give it."""
        from hub.ledger.note import Signer  # noqa: PLC0415

        seed = self.vault.signing_seed("log")
        unnamed = Signer("log", seed)
        return Signer(self.settings.log_origin or f"diversion-hub/{unnamed.verifier.key.hex()[:16]}", seed)

    @cached_property
    def follower(self) -> governance.Follower:
        """The register, kept up to date."""
        return governance.Follower(self.client)

    @cached_property
    def alarms(self) -> Alarms:
        """The way to the clock."""
        return Alarms(self.appender)

    @cached_property
    def caseloads(self) -> Caseloads:
        """Who works with whom."""
        return Caseloads(self.store, self.appender, now_ms)

    @cached_property
    def requests(self) -> Requests:
        """What participants ask for, and by when it is due."""
        return Requests(self.store, self.vault, self.appender, self.zone, now_ms)

    @cached_property
    def letters(self) -> Letters:
        """What the community writes."""
        desk, day_max = self.settings.linking_desk, self.settings.letters_per_day_max
        return Letters(self.store, self.vault, self.appender, self.zone, now_ms, desk, day_max)

    @cached_property
    def alert_rules(self) -> Rules:
        """What makes an alert. Raises `SettingsInvalid` where the program's own rules cannot be read."""
        try:
            return alert_rules.load(self.settings.alert_rules)
        except (Invalid, OSError) as error:
            why = error.detail if isinstance(error, Invalid) else "the file cannot be read"
            raise SettingsInvalid(f"`alert_rules`: {why}") from None

    @cached_property
    def measures(self) -> Measures:
        """What is counted. Raises `SettingsInvalid` where the program's own file cannot be read."""
        try:
            return measures.load(self.settings.measures)
        except (Invalid, OSError) as error:
            why = error.detail if isinstance(error, Invalid) else "the file cannot be read"
            raise SettingsInvalid(f"`measures`: {why}") from None

    @cached_property
    def census(self) -> "Census | None":
        """Who lives here. Raises `SettingsInvalid` where the program's table cannot be read."""
        from hub import equity  # noqa: PLC0415

        if self.settings.census is None:
            return None
        try:
            return equity.census(self.settings.census.read_text("utf-8"))
        except (Invalid, OSError, UnicodeDecodeError) as error:
            why = (
                f"line {error.path[1:]}: {error.detail}"
                if isinstance(error, Invalid)
                else "it cannot be read"
            )
            raise SettingsInvalid(f"`census`: {why}", "See docs/public.md.") from None

    @property
    def zone(self) -> ZoneInfo:
        """Where the people are."""
        return ZoneInfo(self.settings.time_zone)

    def viewer(self, follower: Any) -> "Viewing":
        """What asks the owners before a page shows an alert."""
        from connectors.viewer import Viewer  # noqa: PLC0415

        settings = self.settings
        return Viewer(self.appender, follower, settings.partitions, settings.send_ms_max, now_ms)

    def register(self) -> Register:
        """The register as of now."""
        return self.follower.register()

    @cached_property
    def participants(self) -> Participants:
        """Adding and linking people."""
        return Participants(self.store, self.vault, self.appender, self.register)

    @cached_property
    def merging(self) -> "Merging":
        """Making two participants one."""
        from hub.merging import Merging  # noqa: PLC0415

        return Merging(self.store, self.vault, self.appender, self.participants, self.record)

    @cached_property
    def suggestions(self) -> "Suggestions":
        """Finding who was entered twice."""
        from hub.lookup import Lookup  # noqa: PLC0415
        from hub.suggestions import Suggestions  # noqa: PLC0415

        lookup = Lookup(self.client)
        return Suggestions(self.store, self.vault, self.appender, lookup, self.participants)

    def record(self, participant: str) -> "Record":
        """A participant's record from the log as it is now. Raises `Unavailable`."""
        from connectors.log import KafkaHistory  # noqa: PLC0415
        from consent.record import Placed, Record  # noqa: PLC0415

        partition = topics.partition_of(participant, self.settings.partitions)
        with closing(KafkaHistory(self.client)) as history:
            read = history.read("consent", partition)
        values = ((one.offset, codec.decode(one.value)[1]) for one in read if one.value is not None)
        return Record(
            Placed(offset, value["id"], json.loads(value["body"]))
            for offset, value in values
            if value.get("participant") == participant and "body" in value
        )

    @cached_property
    def directives(self) -> Directives:
        """Taking directives."""
        return Directives(
            self.store,
            self.vault,
            self.appender,
            self.participants,
            self.register,
            self.settings.participant_directives_max,
        )

    @cached_property
    def registration(self) -> Registration:
        """Registering stakeholders."""
        ways = self.settings.kafka_agencies is not None, self.settings.mail_host is not None
        return Registration(self.appender, self.register, self.signing, self.create_topics, self.users, *ways)

    @cached_property
    def users(self) -> Users:
        """Agencies' users of the brokers."""
        return Users(self.client)

    def create_topics(self, stakeholders: Iterable[str] = ()) -> None:
        """Creates the topics that are missing: the hub's, and these stakeholders'.

        Raises `Unavailable`, and `SettingsInvalid` where topics have another number of partitions.
        """
        settings = self.settings
        admin = AdminClient(self.client)
        try:
            topology.ensure(admin, settings.partitions, settings.replication_factor, stakeholders)
        except ValueError as error:
            raise SettingsInvalid(str(error), "Set `partitions` back: topics keep their number.") from None

    def close(self) -> None:
        """Lets go of every connection that was opened."""
        if self._forgetter is not None:
            self._forgetter.close()
            self._forgetter = None
        for name in ("follower", "appender", "store"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()


def bootstrap(settings: Settings, bootstrap_servers: str | None = None, stage: str | None = None) -> Hub:
    """A process's parts.

    In: the broker's address, where it is known; else it is found by the settings. `stage` for a process that
    stays: it forgets keys that others destroy, and says so.
    """
    return Hub(settings, settings.kafka(bootstrap_servers or broker.address(settings)), stage)


def prepare(settings: Settings, bootstrap_servers: str) -> None:
    """Before the first stage starts: topics, tables, keys, and on the very first start the policy."""
    hub = bootstrap(settings, bootstrap_servers)
    try:
        hub.create_topics()
        hub.create_topics(hub.register().stakeholders)
        hub.vault.mac("start", b"")  # opens the root key, or fails now and in words
        if hub.register().policy is None:
            governance.write(hub.appender, "policy", governance.POLICY_ID, default_policy(), "hub")
    finally:
        hub.close()


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
    )
    sender.start()
    try:
        batches = {"batch_records_max": DELIVERY_BATCH_MAX, "batch_wait_ms_max": DELIVERY_WAIT_MS_MAX}
        _run(hub, CONNECTORS, engine, stop, flush_first=True, **batches)
    finally:
        sender.stop(settings.send_ms_max)
        log.close()
        history.close()


def run_auditor(hub: Hub, stop: threading.Event) -> None:
    """Stage `auditor`: the projections; in threads of their own the transparency log, the notices,
    reports, and the pausing of ways out that stand still."""
    from hub.auditor import Auditor  # noqa: PLC0415
    from hub.desk import Desk  # noqa: PLC0415
    from hub.standstill import Standstill  # noqa: PLC0415

    pulse = Pulse(hub.settings.run_dir, "auditor")
    end_log = _keep_log(hub)
    notifier = _notifier(hub)
    telling = threading.Thread(target=lambda: asyncio.run(notifier.run(stop)), name="notifier", daemon=True)
    telling.start()
    standing = Standstill(hub.store, hub.register, hub.appender, now_ms)
    looking = threading.Thread(target=standing.run, args=(stop,), name="standstill", daemon=True)
    looking.start()
    publisher = _publisher(hub)
    publishing = threading.Thread(target=publisher.run, args=(stop,), name="publisher", daemon=True)
    publishing.start()
    reporter = _reporter(hub)
    reporting = threading.Thread(target=reporter.run, args=(stop,), name="reporter", daemon=True)
    reporting.start()
    pulse.beat("starting")
    try:
        desk = Desk(hub.alert_rules, hub.settings.linking_desk, now_ms)
        Auditor(hub.client, hub.store, hub.vault, pulse, hub.settings.session_ms_max, desk).run(stop)
    finally:
        end_log()
        telling.join(TELLING_S_MAX)
        looking.join(TELLING_S_MAX)
        publishing.join(TELLING_S_MAX)
        reporting.join(TELLING_S_MAX)
        pulse.close()
        hub.close()


def _publisher(hub: Hub) -> "Publisher":
    """Who publishes what was counted."""
    from hub.publishing import Publisher  # noqa: PLC0415

    of = hub.settings
    return Publisher(
        hub.client,
        hub.store,
        hub.vault,
        hub.appender,
        hub.register,
        hub.measures,
        hub.zone,
        of.partitions,
        now_ms,
        of.publish_quiet_ms,
        of.privacy_budget,
    )


def _reporter(hub: Hub) -> "Reporter":
    """Who sends what was published to those who want it each month or quarter."""
    from hub.reporting import Reporter  # noqa: PLC0415

    of = hub.settings
    open_doors = of.demo or of.private_webhooks
    return Reporter(
        hub.store,
        hub.register,
        hub.appender,
        hub.signing,
        _mail(of),
        hub.measures,
        hub.census,
        of.time_zone,
        now_ms,
        open_doors,
    )


def _mail(of: Settings) -> "Mail | None":
    """The way to send mail, where there is one."""
    from hub import mail  # noqa: PLC0415

    if of.mail_host is None or of.mail_from is None:
        return None
    password = of.mail_password.get_secret_value() if of.mail_password else None
    made = mail.MailSettings(
        of.mail_host, of.mail_port, of.mail_from, of.mail_tls, of.mail_username, password
    )
    return mail.Mail(made)


def _keep_log(hub: Hub) -> Callable[[], None]:
    """Starts the transparency log's thread. Out: what ends it and waits until it has ended."""
    from hub.ledger.keeping import keep  # noqa: PLC0415

    ended = threading.Event()
    slot = Slot(hub.settings.run_dir / "slots", "ledger")
    work = partial(_log_worker, hub, hub.vault, slot.instance_id)
    keeper = threading.Thread(target=keep, args=(work, ended, hub.settings.run_dir), name="log", daemon=True)
    keeper.start()

    def end() -> None:
        ended.set()
        keeper.join()
        slot.close()

    return end


def _log_worker(hub: Hub, vault: Vault, instance_id: str) -> "Worker":
    """One who gives places in the transparency log."""
    from hub.ledger.commitment import Salts  # noqa: PLC0415
    from hub.ledger.note import Verifier  # noqa: PLC0415
    from hub.ledger.witness import Witness  # noqa: PLC0415
    from hub.ledger.worker import Worker  # noqa: PLC0415

    settings, witness = hub.settings, None
    if settings.log_witness is not None and settings.log_witness_key is not None:
        witness = Witness(settings.log_witness, Verifier.of(settings.log_witness_key))
    return Worker(
        hub.client,
        settings.log_dir,
        Salts(vault),
        hub.log_signer,
        interval_ms=settings.checkpoint_ms,
        witness=witness,
        instance_id=instance_id,
        session_timeout_ms=settings.session_ms_max,
        transaction_timeout_ms=settings.transaction_ms_max,
    )


def _notifier(hub: Hub) -> "Notifier":
    """Who pushes and mails, and does what is to be done now and then for alerts."""
    from connectors.http import HttpSettings  # noqa: PLC0415
    from hub.devices import Devices  # noqa: PLC0415
    from hub.notices import Notices  # noqa: PLC0415
    from hub.notifying import Notifier  # noqa: PLC0415
    from hub.preferences import Preferences  # noqa: PLC0415
    from hub.shown import ShownAlerts  # noqa: PLC0415
    from hub.silence import Silence  # noqa: PLC0415

    of, store = hub.settings, hub.store
    wishes, devices = Preferences(store, hub.vault), Devices(store, hub.vault)
    open_doors = of.demo or of.private_webhooks
    push, mail = None, _mail(of)
    if of.push_contact is not None:
        from hub.webpush import Push  # noqa: PLC0415

        push = Push(devices, of.push_contact, HttpSettings(private=open_doors, plain=open_doors))
    notices = Notices(store, wishes, hub.zone, now_ms, push=push is not None, mail=mail is not None)
    shown, silence = ShownAlerts(store), Silence(store, hub.alert_rules, now_ms)
    rounds = (silence.look, lambda: shown.expire(now_ms()))
    return Notifier(store, notices, wishes, devices, push, mail, now_ms, rounds)


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


def now_ms() -> int:
    """The time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
