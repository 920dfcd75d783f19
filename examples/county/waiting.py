"""The waits between scenes: until all that is due has come, a consent begins, or nothing more comes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from examples.county.expected import Reckoner
from examples.county.forms import arrived
from examples.county.hubside import now
from examples.county.plan import Plan
from examples.county.shelf import Shelf
from examples.county.sight import seen
from examples.county.wishes import SCENES, STARTS_DURING_PLAY_MS

arrival_stall_ms_max = 180_000  # longer than the pause before a third try
quiet_ms = 3_000
poll_ms = 100


class Show(Protocol):
    """Where the play says how far it is."""

    def scene(self, name: str) -> None:
        """A scene begins."""

    def progress(self, what: str, done: int, total: int) -> None:
        """So much of one thing is done."""


class Waiting:
    """Knows what is due in each scene, and watches the shelf for it."""

    def __init__(
        self, plan: Plan, policy: dict[str, Any], shelf: Shelf, show: Show, alive: Callable[[], None]
    ) -> None:
        """Reckons at once, while nothing moves yet; the account at the end is reckoned anew.

        In: `alive`, which raises where there is nothing more to wait for.
        """
        self.plan = plan
        self.shelf = shelf
        self.show = show
        self.alive = alive
        self.dues = [due for due in Reckoner(plan, policy, foreseen(plan.anchor)).dues() if due.certain]

    def arrive(self, scene: str) -> None:
        """Waits until all that is due by the end of a scene has come.

        Gives up when nothing moves for three minutes: then the account says what is missing.
        """
        wanted: Counter[tuple[str, str, str]] = Counter()
        for due in self.dues:
            share = due.certain
            if share is not None and SCENES.index(share.scene) <= SCENES.index(scene):
                person = self.plan.people[due.event.person]
                form = self.plan.agencies[due.stakeholder].way_form(due.way)
                sight = seen(due.event, share, person, due.stakeholder, form)
                wanted[due.stakeholder, due.way, sight] += 1
        total, counted, moved = wanted.total(), 0, time.monotonic()
        while wanted and time.monotonic() - moved < arrival_stall_ms_max / 1000:
            self.alive()
            arrivals = self.shelf.all()
            for arrival in arrivals[counted:]:
                form = self.plan.agencies[arrival.stakeholder].way_form(arrival.way)
                what = (arrival.stakeholder, arrival.way, arrived(arrival.body, form))
                if wanted[what] <= 1:
                    del wanted[what]
                else:
                    wanted[what] -= 1
                moved = time.monotonic()
            counted = len(arrivals)
            self.show.progress("delivered", total - wanted.total(), total)
            time.sleep(poll_ms / 1000)

    def rest(self) -> None:
        """Lets the clock pass the instant at which a consent begins in the middle of the play."""
        moment = self.plan.anchor + STARTS_DURING_PLAY_MS
        total = max(0, moment - now()) // 1000
        while (left := moment - now()) >= 0:
            self.show.progress("seconds until a consent begins", total - left // 1000, total)
            time.sleep(poll_ms / 1000)

    def quiet(self) -> None:
        """Waits until nothing more has come for a while: what comes too much is to be seen as well."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < quiet_ms / 1000:
            if len(self.shelf.all()) != last:
                last, since = len(self.shelf.all()), time.monotonic()
            time.sleep(poll_ms / 1000)


def moments(done: dict[str, Any]) -> dict[str, int]:
    """When each scene began (ms), from a journal that is whole; the last waited for what began meanwhile."""
    begun = {scene: int(done[f"{scene}/begun"]) for scene in SCENES}
    return {**begun, SCENES[-1]: int(done["rested"])}


def foreseen(anchor: int) -> dict[str, int]:
    """The scenes' moments as they are planned: what begins during the play has begun in the last one only."""
    return {scene: anchor + STARTS_DURING_PLAY_MS * (scene == SCENES[-1]) for scene in SCENES}
