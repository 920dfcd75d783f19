"""The auditor's process, put together: the projections, and what else has one worker and no hurry."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from hub.bootstrap import Hub, now_ms
from hub.health import Pulse
from hub.settings import Settings
from hub.vault import Vault
from streams.slots import Slot

if TYPE_CHECKING:
    from hub.ledger.worker import Worker
    from hub.mail import Mail
    from hub.notifying import Notifier
    from hub.publishing import Publisher
    from hub.reporting import Reporter

TELLING_S_MAX: Final = 5.0  # for what is being sent when the auditor stops


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
