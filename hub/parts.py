"""What the web is made of. `hub/bootstrap.py` fills it in; routes reach it through `parts(request)`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from fastapi import Request

from connectors.alert_rules import Rules
from connectors.fence import Answer, Narrowing, Open
from connectors.intake import Intake
from connectors.viewer import Permission
from hub.accounts import Accounts
from hub.appender import Appender
from hub.caseloads import Caseloads
from hub.crosswalk import Crosswalk
from hub.devices import Devices
from hub.directives import Directives
from hub.equity import Census
from hub.governance import Register
from hub.handling import Handling
from hub.letters import Letters
from hub.lookup import Lookup
from hub.oidc import Provider
from hub.participants import Participants
from hub.passes import Passes
from hub.preferences import Preferences
from hub.pulls import Pulls
from hub.requests import Requests
from hub.sessions import Sessions
from hub.settings import Settings
from hub.store import Store
from hub.submissions import Submissions
from hub.vault import Vault
from hub.ways import Backlog
from streams.measures import Measures


class Fences(Protocol):
    """How far fences are: `connectors.follower.Follower`."""

    @property
    def caught_up(self) -> bool:
        """Whether all that was there at the start has been read."""

    def answer(self, narrowing: Narrowing, stakeholders: Iterable[str]) -> Answer:
        """How far the fence is, by what has been read so far."""

    def doubts(self, most: int) -> Sequence[Open] | None:
        """What may have been delivered and nobody knows, oldest first; None while that is not known yet."""

    async def wait(self, narrowing: Narrowing, stakeholders: Iterable[str], wait_ms_max: int) -> Answer:
        """The same as soon as it is another than `closing`, at the latest after `wait_ms_max`."""


class Viewing(Protocol):
    """Asks owners what may be shown: `connectors.viewer.Viewer`."""

    async def ask(self, stakeholder: str, alerts: Iterable[tuple[str, str]]) -> Permission:
        """What of these alerts, each with its participant, may be shown. Raises `Unavailable`."""


@dataclass(slots=True)
class Parts:
    """Everything a route may need. `client` are librdkafka settings; `clock_ms` gives the time."""

    settings: Settings
    client: Mapping[str, Any]
    store: Store
    vault: Vault
    appender: Appender
    register: Callable[[], Register]
    sessions: Sessions
    accounts: Accounts
    provider: Provider | None
    passes: Passes
    participants: Participants
    directives: Directives
    submissions: Submissions
    intake: Intake
    fences: Fences
    viewer: Viewing
    pulls: Pulls
    backlog: Backlog
    lookup: Lookup
    crosswalk: Crosswalk
    alert_rules: Rules
    caseloads: Caseloads
    requests: Requests
    handling: Handling
    measures: Measures
    census: Census | None
    letters: Letters
    preferences: Preferences
    devices: Devices
    clock_ms: Callable[[], int]


def parts(request: Request) -> Parts:
    """The parts of the application that answers this request."""
    return cast(Parts, request.app.state.parts)
