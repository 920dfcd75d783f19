"""Who asks the hub for something while faults befall it: people who agree, an agency, those who take back."""

import http.client
import itertools
import json
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

AGENCY = "reach"
RECIPIENTS = {
    "prompt": "pause_ms=5",
    "slow": "pause_ms=300",
    "failing": "pause_ms=20&fails=0.2",
    "hanging": "pause_ms=20&hangs=0.01",
}
ANSWER_S_MAX = 600.0
REQUEST_S_MAX = 30.0
BATCH = 200
ASK_AGAIN_S = 0.5
BUSY = frozenset({429, 503})


class Answer(NamedTuple):
    """`at`: when it had come, in nanoseconds of the monotonic clock."""

    status: int
    body: Any
    at: int


class Api:
    """The hub's public API, as one agency calls it. Everything is repeated while the hub is away."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        self._local = threading.local()
        self._opened: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        """Closes the connections of all threads."""
        for connection in self._opened:
            connection.close()

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Answer:
        headers = {"authorization": f"Bearer {self._token}", "content-type": kind, "prefer": "wait=5"}
        deadline = time.monotonic() + ANSWER_S_MAX
        while True:
            try:
                answer = self._once(method, path, None if body is None else json.dumps(body), headers)
            except (OSError, http.client.HTTPException):
                self._local.connection.close()
                self._local.connection = None
                answer = None
            if answer is not None and answer.status not in BUSY:
                assert answer.status < 400, f"{method} {path}: {answer}"
                return answer
            assert time.monotonic() < deadline, f"{method} {path}: no answer ({answer})"
            time.sleep(0.2)

    def _once(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=REQUEST_S_MAX)
            self._local.connection = connection
            self._opened.append(connection)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        at = time.monotonic_ns()
        text = response.read()
        return Answer(response.status, json.loads(text) if text else None, at)


@dataclass(eq=False)
class Person:
    """Somebody who agreed that every recipient may know of contacts."""

    number: int
    participant: str

    @property
    def name(self) -> str:
        return f"Person {self.number}"


@dataclass(eq=False)
class Taking:
    """Something that was taken back, and how the hub answered. Instants in nanoseconds of one clock."""

    person: Person
    recipients: tuple[str, ...]
    whole: bool
    began: int = 0
    closed: int = 0
    doubted: int = 0
    listed: list[dict[str, Any]] = field(default_factory=list)
    fence: str = ""

    @property
    def seconds(self) -> float:
        """From asking to the answer 200."""
        return (self.closed - self.began) / 1e9


def wishes(people: Sequence[Person], count: int) -> list[Taking]:
    """What is taken back, in no order: of some people the whole consent, of others recipient by recipient."""
    names = tuple(RECIPIENTS)
    found: list[Taking] = []
    for person in people:
        if random.random() < 0.25:
            found.append(Taking(person, names, whole=True))
        else:
            found += [Taking(person, (name,), whole=False) for name in names]
    random.shuffle(found)
    assert len(found) >= count, "more people are needed for so many revocations"
    return found[:count]


class County:
    """The people, and the one agency that publishes about them and speaks for them."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._numbers = itertools.count(1)
        self.people: list[Person] = []
        self.events: dict[str, str] = {}  # what an event is called in its content, and by the hub

    def settle(self, count: int) -> list[Person]:
        """So many more people, each of whom has agreed."""
        first = len(self.people)
        with ThreadPoolExecutor(8) as pool:
            self.people += pool.map(self._agree, range(first, first + count))
        return self.people[first:]

    def _agree(self, number: int) -> Person:
        made = self._api.call("POST", "/v1/participants", {"local_id": f"R-{number}"})
        person = Person(number, made.body["participant"])
        grant = {
            "id": "contacts",
            "disclosers": ["*"],
            "recipients": list(RECIPIENTS),
            "purposes": ["care-coordination"],
            "categories": ["contact"],
            "labels": [],
            "compartments": ["subject", "occurrence"],
        }
        consent = {
            "id": f"form-{number}",
            "signed_at": "2026-01-01T00:00:00Z",
            "signature": {"method": "paper", "reference": "form"},
            "starts_at": "2026-01-01T00:00:00Z",
            "expires_on": "program-exit",
            "statements": ["right-to-revoke", "redisclosure", "refusal"],
            "grants": [grant],
        }
        said = {
            "id": f"signed-{number}",
            "participant": person.participant,
            "type": "consent-granted",
            "witness": {"name": "A. Ruiz", "organisation": AGENCY},
            "consent": consent,
        }
        self._api.call("POST", "/v1/directives", said)
        return person

    def publish(self, about: Iterable[Person]) -> None:
        """One event about each, in this order, in batches."""
        waiting = list(about)
        for at in range(0, len(waiting), BATCH):
            self._publish(waiting[at : at + BATCH])

    def _publish(self, about: Sequence[Person]) -> None:
        now = datetime.now(UTC).isoformat()
        named = [f"Event {next(self._numbers)}" for _ in about]
        sent = [
            {
                "specversion": "1.0",
                "id": name,
                "source": f"urn:agency:{AGENCY}",
                "type": "contact",
                "category": "contact.outreach",
                "subject": f"R-{person.number}",
                "time": now,
                "data": {"local_id": f"R-{person.number}", "name": person.name, "facility": name},
            }
            for name, person in zip(named, about, strict=True)
        ]
        answer = self._api.call("POST", "/v1/events", sent, "application/cloudevents-batch+json").body
        results = answer if isinstance(answer, list) else answer["results"]
        self.events |= {name: result["event"] for name, result in zip(named, results, strict=True)}

    def keep_publishing(self, per_second: float, until: Callable[[], bool]) -> None:
        """The load: events about anybody, also about those who have taken everything back."""
        due = time.monotonic()
        while not until():
            self._publish(random.choices(self.people, k=5))
            due = max(due + 5 / per_second, time.monotonic() - 5)
            time.sleep(max(0.0, due - time.monotonic()))

    def take_back(self, wanted: Sequence[Taking], clients: int) -> None:
        """Takes back, with so many clients at once, and waits for every 200; or until only doubt is left."""
        left: queue.SimpleQueue[Taking] = queue.SimpleQueue()
        for one in wanted:
            left.put(one)
        doubtful: queue.SimpleQueue[Taking] = queue.SimpleQueue()

        def work() -> None:
            while not left.empty():
                try:
                    one = left.get_nowait()
                except queue.Empty:
                    return
                self._revoke(one)
                if not one.closed:
                    doubtful.put(one)

        with ThreadPoolExecutor(clients + 1) as pool:
            working = [pool.submit(work) for _ in range(clients)]
            while not all(one.done() for one in working):
                time.sleep(ASK_AGAIN_S)
                for _ in range(doubtful.qsize()):
                    one = doubtful.get()
                    if not self.ask(one):
                        doubtful.put(one)
            for done in working:
                done.result()

    def _revoke(self, one: Taking) -> None:
        body: dict[str, Any] = {"participant": one.person.participant}
        if not one.whole:
            body["recipients"] = list(one.recipients)
        one.began = time.monotonic_ns()
        path = f"/v1/consents/form-{one.person.number}/revocations"
        self._note(one, self._api.call("POST", path, body))
        deadline = time.monotonic() + ANSWER_S_MAX
        while not one.closed and not one.doubted:
            assert time.monotonic() < deadline, "a fence neither closed nor was in doubt"
            self.ask(one)

    def ask(self, one: Taking) -> bool:
        """Asks once more how far its fence is. Out: whether it is closed."""
        self._note(one, self._api.call("GET", one.fence))
        if not one.closed and not one.doubted:
            time.sleep(0.05)
        return bool(one.closed)

    @staticmethod
    def _note(one: Taking, answer: Answer) -> None:
        one.fence = answer.body["fence"]
        if answer.status == 200:
            one.closed, one.listed = answer.at, []
        elif answer.body["state"] == "closed-in-doubt":
            one.doubted = one.doubted or answer.at
            one.listed = one.listed or answer.body["in_doubt"]
