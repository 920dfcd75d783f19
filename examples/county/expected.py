"""What should have reached whom: the county's own count, from its plan and its own reading of the rule.

It knows nothing of the hub but its promises: an event goes to a stakeholder at most once; it goes when it is
first permitted, be it decided late because a consent came late; it carries the permitted compartments of all
the stakeholder's subscriptions together; and what is no longer permitted when it would leave does not leave.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from examples.county.calendar import rfc3339
from examples.county.events import Event
from examples.county.fields import carried
from examples.county.plan import NARROWS, RACING, Plan
from examples.county.reading import Answer, answer
from examples.county.wishes import SCENES

RULES = (
    "indeterminate", "no-agreement", "role", "proceedings", "counselling-notes", "no-emergency",
    "restriction", "no-consent", "not-started", "expired", "revoked", "nothing-shareable",
)  # fmt: skip


@dataclass(frozen=True)
class Share:
    """What one stakeholder may see of one event: the compartments, for which purposes, with which duties.

    `scope` has a line for each grant that lets it see them: the purpose, and the compartments for it.
    """

    purposes: tuple[str, ...]
    compartments: tuple[str, ...]
    obligations: tuple[str, ...]
    scope: tuple[tuple[str, tuple[str, ...]], ...]
    scene: str


@dataclass(frozen=True)
class Due:
    """One event, one stakeholder that wanted it, and the way by which it is told. `variants` are the shares
    that may rightly have come (None: nothing): one where the outcome is certain, two where a revocation raced
    it. `stands` says that nothing narrowed what came afterwards: a page goes on showing it.
    """

    event: Event
    stakeholder: str
    way: str
    variants: tuple[Share | None, ...]
    reason: str
    stands: bool = False

    @property
    def raced(self) -> bool:
        """Whether either way is right."""
        return len(self.variants) > 1

    @property
    def certain(self) -> Share | None:
        """The share that must have come, if there is one."""
        return self.variants[0] if len(self.variants) == 1 else None


@dataclass
class Reckoner:
    """Asks the reading about everything in a plan. `moments` says when each scene began, in milliseconds."""

    plan: Plan
    policy: dict[str, Any]
    moments: dict[str, int]
    spoken: dict[int, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stakeholders = [one.as_json() for one in self.plan.agencies.values()]
        for scene, one in self.plan.directives():
            self.spoken.setdefault(one.person, []).append((SCENES.index(scene), one.body))

    def dues(self) -> list[Due]:
        """Every event paired with every other stakeholder whose subscriptions want it, by each way."""
        found = []
        for scene, event in self.plan.events():
            for stakeholder in self.plan.agencies.values():
                if stakeholder.id != event.source:
                    ways = stakeholder.ways_for(event.category)
                    found += [self.due(event, stakeholder.id, way, SCENES.index(scene)) for way in ways]
        return found

    def due(self, event: Event, stakeholder: str, way: str, known: int) -> Due:
        """What should become of one event for one stakeholder, known to the hub from scene `known` on."""
        racing = self.plan.people[event.person].profile in RACING and SCENES[known] == "race"
        if racing:
            before, _ = self.share(event, stakeholder, way, known, narrowed=False)
            after, reason = self.share(event, stakeholder, way, known, narrowed=True)
            same = (before is None and after is None) or before == after
            return Due(event, stakeholder, way, (before,) if same else (before, after), reason)
        reasons = "no-consent"
        spoke = {said for said, _ in self.spoken.get(event.person, [])}
        for scene in range(known, len(SCENES)):
            if scene not in spoke and scene not in (known, len(SCENES) - 1):
                continue  # nobody said anything: as before, but for time, which the last scene sees to
            share, reasons = self.share(event, stakeholder, way, scene, narrowed=True)
            if share is not None:
                stands = way == "alerts" and self.stands(event, stakeholder, share, scene)
                return Due(event, stakeholder, way, (share,), "permit", stands)
        return Due(event, stakeholder, way, (None,), reasons)

    def stands(self, event: Event, stakeholder: str, shown: Share, scene: int) -> bool:
        """Whether an alert that was shown in a scene was permitted, as it was, in all that followed."""
        later = (
            self.share(event, stakeholder, "alerts", after, narrowed=True)[0]
            for after in range(scene + 1, len(SCENES))
        )
        return all(one is not None and set(one.compartments) >= set(shown.compartments) for one in later)

    def share(
        self, event: Event, stakeholder: str, way: str, scene: int, *, narrowed: bool
    ) -> tuple[Share | None, str]:
        """What a stakeholder sees by a way in a scene, or why nothing; `narrowed`: after its revocations."""
        answers = [
            (one.purpose, self.ask(event, stakeholder, one.purpose, scene, narrowed=narrowed))
            for one in self.plan.agencies[stakeholder].subscriptions
            if one.adapter == way and one.wants(event.category)
        ]
        permitted = [(purpose, one) for purpose, one in answers if one.permitted]
        if not permitted:
            return None, max((one.reason for _, one in answers), key=RULES.index, default="role")
        share = Share(
            tuple(sorted({purpose for purpose, _ in permitted})),
            tuple(sorted({part for _, one in permitted for part in one.compartments})),
            tuple(sorted({duty for _, one in permitted for duty in one.obligations})),
            tuple(
                sorted(
                    (purpose, one.compartments)
                    for purpose, one in permitted
                    if "attach-consent-scope" in one.obligations
                    for _ in one.grants
                )
            ),
            SCENES[scene],
        )
        return share, "permit"

    def ask(self, event: Event, stakeholder: str, purpose: str, scene: int, *, narrowed: bool) -> Answer:
        """The reading's answer to one subscription in one scene."""
        directives = [
            body
            for said, body in self.spoken.get(event.person, [])
            if said < scene or (said == scene and (narrowed or body["type"] not in NARROWS))
        ]
        request = {"recipient": stakeholder, "purpose": purpose, "at": rfc3339(self.moments[SCENES[scene]])}
        return answer(self.looked_at(event), request, directives, self.policy, self.stakeholders)

    def looked_at(self, event: Event) -> dict[str, Any]:
        """What a decision looks at of an event, in the shape of `hub decide`."""
        return {
            "id": event.id,
            "participant": f"p-{event.person}",
            "type": event.type,
            "category": event.category,
            "labels": list(event.effective_labels(self.plan.agencies)),
            "discloser": event.source,
            "occurred_at": rfc3339(event.occurred_at),
            "compartments": sorted(carried(event.fields)),
        }


def by_reason(dues: list[Due]) -> Counter[str]:
    """How many of these came to nothing, by the reason."""
    return Counter(due.reason for due in dues if due.variants == (None,))
