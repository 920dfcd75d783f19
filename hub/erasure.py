"""`hub erase`: destroys what makes a participant's records readable, and says what can't be called back.

What was written about the participant stays in the log, sealed under a key that nobody has any more.
Decisions, receipts and proofs hold pseudonyms, categories and reasons, so they stay verifiable. Whatever is
cut short can be begun again: each step finds what is left to do.
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, NamedTuple

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hub import accounting, acts, bootstrap, forgetting, passes, settings
from hub.accounting import Disclosure
from hub.appender import Appender
from hub.errors import OperatorError
from hub.merging import everyone
from hub.participants import Participants
from hub.pulls import Pulls
from hub.shown import ShownAlerts
from hub.store import Store
from hub.tables import alerts, pulls, requests
from hub.vault import CACHE_MS_MAX, Vault
from schemas import instant

BY: Final = "operator"
ASKED: Final = "erasure-begun"
ERASED: Final = "erased"
MARGIN_MS: Final = 1_000  # clocks of processes differ
STEP_MS: Final = 250


class NobodyToErase(OperatorError):
    """The log never spoke of a participant of this id."""


class NotConfirmed(OperatorError):
    """The participant's id was not typed again."""

    exit_status = 2


class Holder(NamedTuple):
    """A recipient that was given something, or may have been: how many events, the last in epoch ms."""

    stakeholder: str
    events: int
    in_doubt: int
    last_at: int


class Erasure(NamedTuple):
    """What was done: whether a key was there, links ended, things taken off screens; and who holds what.

    `also` is the other ids of somebody who was merged: they are erased, too.
    """

    key: bool
    links: int
    withdrawn: int
    holders: tuple[Holder, ...]
    also: tuple[str, ...] = ()


def erase(
    store: Store, vault: Vault, participants: Participants, appender: Appender, who: str, by: str
) -> Erasure:
    """Destroys the key and the links of a participant, and takes what stands at the hub off every screen.

    Of somebody who was merged, those of every id that is theirs.
    Other processes may go on with the key until they have forgotten it (`hub/forgetting.py`), and what was
    being sent for as long as one attempt lasts: only after that may anybody be told that it is done (`told`).
    May be repeated.
    Raises `NobodyToErase`, and `Unavailable` where the log does not take it.
    """
    if not accounting.known(store, who):
        raise NobodyToErase("nobody is known under this id", "It must be the hub's own, `p-` first.")
    ids = everyone(store, who)
    there, links, withdrawn = False, 0, 0
    for one in ids:
        acts.access(appender, ASKED, by, {}, one)
        passes.forget(store, one)
        links += participants.forget(one, by)
        there = vault.destroy(one) or there
        withdrawn += _withdrawn(store, one)
    now = time.time_ns() // 1_000_000
    held = holders(accounting.account(store, who, 0, now).disclosures)
    return Erasure(there, links, withdrawn, held, tuple(one for one in ids if one != who))


def holders(disclosures: Iterable[Disclosure]) -> tuple[Holder, ...]:
    """Who holds something that cannot be called back, in the order of their names."""
    found: dict[str, Holder] = {}
    for one in disclosures:
        if one.visited:
            continue  # a helper looked at a page; they hold nothing, and nobody knows their name any more
        held = found.get(one.stakeholder, Holder(one.stakeholder, 0, 0, 0))
        found[one.stakeholder] = Holder(
            one.stakeholder,
            held.events + one.certain,
            held.in_doubt + (not one.certain),
            max(held.last_at, one.last_at),
        )
    return tuple(found[name] for name in sorted(found))


def told(appender: Appender, who: str, by: str, done: Erasure, unheard: tuple[str, ...] = ()) -> None:
    """Writes that it is done, with its numbers, and who did not say that they have forgotten the key.

    Raises `Unavailable`.
    """
    body = {
        "links": done.links,
        "withdrawn": done.withdrawn,
        "holders": [one.stakeholder for one in done.holders],
        "unheard": list(unheard),
    }
    for one in (who, *done.also):
        acts.access(appender, ERASED, by, body, one)


def _withdrawn(store: Store, who: str) -> int:
    """Takes alerts and what waits to be fetched away, and what is kept of requests. Out: how many."""
    standing = sa.select(alerts.c.id).where(alerts.c.participant == who, alerts.c.withdrawn_at.is_(None))
    waiting = sa.select(pulls.c.key).where(pulls.c.participant == who)
    with store.read() as connection:
        shown = list(connection.execute(standing).scalars())
        fetchable = list(connection.execute(waiting).scalars())
    ShownAlerts(store).withdraw(shown)
    Pulls(store).withdraw(fetchable)
    mine = requests.c.participant == who
    with store.write() as connection:
        connection.execute(
            requests.update().where(mine, requests.c.state == "waiting").values(state="rejected")
        )
        connection.execute(requests.update().where(mine).values(sealed=None))
    return len(shown) + len(fetchable)


def command(
    participant: Annotated[str, typer.Argument(help="The participant's id in the hub.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Destroy the key of everything written about a participant. It cannot be undone."""
    if not yes:
        again = typer.prompt(
            "What was written about this participant becomes unreadable, for good. Type the id again",
            err=True,
        )
        if again.strip() != participant:
            raise NotConfirmed("that is another id; nothing was changed", "")
    settled = settings.load()
    with bootstrap.bootstrap(settled) as hub:
        done = erase(hub.store, hub.vault, hub.participants, hub.appender, participant, BY)
        unheard = forgetting.heard(hub.store, CACHE_MS_MAX + MARGIN_MS)
        _wait(settled.send_ms_max + MARGIN_MS, quiet=as_json)
        told(hub.appender, participant, BY, done, unheard)
        names = hub.register().names()
    held = [
        {
            "stakeholder": one.stakeholder,
            "name": names.get(one.stakeholder, one.stakeholder),
            "events": one.events,
            "in_doubt": one.in_doubt,
            "last": instant.format(one.last_at),
        }
        for one in done.holders
    ]
    if as_json:
        more = {"holders": held, "unheard": unheard}
        typer.echo(json.dumps({"participant": participant, **done._asdict(), **more}))
    else:
        _say(done, held, unheard)
    if unheard:
        raise typer.Exit(1)


def _say(done: Erasure, held: list[dict[str, Any]], unheard: tuple[str, ...]) -> None:
    """Tells whoever gave the command."""
    console = Console()
    console.print("Erased." if done.key else "There was no key left. Whatever else was left is gone now.")
    console.print(
        f"Links to agencies' own ids ended: {done.links}. Taken off pages and outboxes: {done.withdrawn}."
    )
    if done.also:
        console.print(f"Under these ids, too, which are the same person's: {', '.join(done.also)}")
    if unheard:
        names = ", ".join(unheard)
        console.print(
            f"These did not say that they have forgotten the key; end them, and erase again: {names}"
        )
    if not held:
        console.print("Nothing about this participant ever left the hub.")
        return
    console.print("What these already have cannot be called back from here; ask them:")
    table = Table("who", "events", "in doubt", "the last", box=None)
    for one in held:
        table.add_row(*(str(one[name]) for name in ("name", "events", "in_doubt", "last")))
    console.print(table)


def _wait(ms: int, quiet: bool, sleep: Callable[[float], None] = time.sleep) -> None:
    """Until no attempt that had begun can be under way any more."""
    with Progress(console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("until what was being sent has ended", total=ms)
        for step in range(0, ms, STEP_MS):
            sleep(min(STEP_MS, ms - step) / 1000)
            bar.advance(task, min(STEP_MS, ms - step))
