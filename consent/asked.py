"""The question behind a decision, read plainly for explaining: complete, or what it lacks."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from consent.event import Event
from consent.policy import Policy
from consent.stakeholder import Stakeholder, Stakeholders
from consent.untyped import moment


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that can be decided: one event, for one recipient and purpose, at one instant (ms)."""

    event: Event
    recipient: Stakeholder
    discloser: Stakeholder
    purpose: str
    at: int
    policy: Policy

    @classmethod
    def of(
        cls,
        event: Event | Mapping[str, object] | None,
        recipient: object,
        purpose: object,
        at: int | str | None,
        policy: Policy,
        stakeholders: Stakeholders,
    ) -> "Asked | str":
        """The question; or, where nothing can be decided about it, the name of what it lacks first."""
        read = event if isinstance(event, Event) else Event.of(event)
        if read is None:
            return "time" if isinstance(event, Mapping) else "event"
        instant = moment(at) if isinstance(at, str) else at
        asker, discloser = stakeholders.get(recipient), stakeholders.get(read.discloser)
        lacking = next(_lacking(read, asker, discloser, purpose, instant, policy), None)
        if lacking is not None:
            return lacking
        assert asker is not None
        assert discloser is not None
        assert isinstance(purpose, str)
        assert isinstance(instant, int)
        return cls(read, asker, discloser, purpose, instant, policy)


def _lacking(
    event: Event,
    recipient: Stakeholder | None,
    discloser: Stakeholder | None,
    purpose: object,
    at: object,
    policy: Policy,
) -> Iterator[str]:
    if not policy.sound:
        yield "policy"
    if recipient is None or not recipient.sound:
        yield "recipient"
    if discloser is None or not discloser.sound:
        yield "discloser"
    if not isinstance(event.participant, str) or not event.participant:
        yield "participant"
    if not _known([event.category], policy.lineages):
        yield "category"
    if not _known(event.labels, policy.labels):
        yield "label"
    if not _known(event.compartments, policy.bits):
        yield "compartment"
    if not _known([purpose], policy.purposes):
        yield "purpose"
    if type(at) is not int:
        yield "at"
    if not event.readable:
        yield "event"


def _known(names: object, known: Collection[str]) -> bool:
    return isinstance(names, list | tuple) and all(isinstance(one, str) and one in known for one in names)
