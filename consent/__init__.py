"""The decision point: fold directives, decide, explain. Pure: no input or output, no clock, no chance."""

from consent.decide import decide, decide_all
from consent.decision import Decision
from consent.event import Event
from consent.governance import Governance, Subscription
from consent.policy import Policy, default_policy
from consent.record import DIRECTIVES, Record, direction
from consent.stakeholder import Stakeholder, Stakeholders
from consent.state import EMPTY, State, fold
from consent.states import States

__all__ = [
    "DIRECTIVES",
    "EMPTY",
    "Decision",
    "Event",
    "Governance",
    "Policy",
    "Record",
    "Stakeholder",
    "Stakeholders",
    "State",
    "States",
    "Subscription",
    "decide",
    "decide_all",
    "default_policy",
    "direction",
    "fold",
]
