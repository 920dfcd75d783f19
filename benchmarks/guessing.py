"""Whether the time of an answer tells if somebody takes part: asked about a denied person and about nobody.

A jail that may learn nothing asks a hub that runs whole (`hub up`), one question after the other in random
order on one connection: about somebody it is denied, about nobody, and for the noise about another whom it is
denied. The number is how many of 100 guesses by one answer's time are right at best, where 50 is a coin: from
the distance between the two distributions (Kolmogorov and Smirnov). It stands beside what the same guesser
makes of two people of the same standing, which is noise alone.
"""

import http.client
import json
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import sqlalchemy as sa
from scipy import stats

from benchmarks import scene
from benchmarks.scene import JAIL, Scene
from hub.tables import requests

ASKED: Final = int(os.environ.get("BENCH_ASKED", "1500"))  # of each kind and route
WARM: Final = 50
PEOPLE: Final = 4
TEAM: Final = "north"
WHOM: Final = ("denied", "nobody", "another")
Row = dict[str, Any]


class Whom(NamedTuple):
    """A participant's id, a directive's and a consent's about them, and the jail's number for them."""

    participant: str
    directive: str
    consent: str
    number: str


class Question(NamedTuple):
    """How something is asked about somebody, and the status that answers it, whoever it is."""

    method: str
    path: Callable[[Whom], str]
    body: Callable[[Whom, str], dict[str, Any] | None]
    status: int


def _nothing(_whom: Whom, _once: str) -> None:
    return None


def _event(whom: Whom, once: str) -> dict[str, Any]:
    when = "2026-11-20T10:00:00Z"
    return {
        "specversion": "1.0",
        "id": once,
        "source": f"urn:agency:{JAIL}",
        "type": "court-status",
        "subject": whom.number,
        "time": when,
        "category": "court.hearing",
        "data": {"local_id": whom.number, "occurred_at": when},
    }


def _leaving(whom: Whom, once: str) -> dict[str, Any]:
    return {
        "id": once,
        "participant": whom.participant,
        "type": "program-exited",
        "at": "2026-11-20T10:00:00Z",
    }


QUESTIONS: Final = {
    "GET /v1/directives/{id}": Question("GET", lambda one: f"/v1/directives/{one.directive}", _nothing, 404),
    "GET /v1/consents/{id}": Question("GET", lambda one: f"/v1/consents/{one.consent}", _nothing, 404),
    "POST /v1/participants/{id}/links": Question(
        "POST",
        lambda one: f"/v1/participants/{one.participant}/links",
        lambda _, once: {"agency": JAIL, "local_id": once},
        403,
    ),
    "POST /v1/directives": Question("POST", lambda _: "/v1/directives", _leaving, 403),
    "POST /v1/consents/{id}/revocations": Question(
        "POST",
        lambda _: "/v1/consents/c-of-somebody-else/revocations",
        lambda one, once: {"participant": one.participant, "id": once},
        404,
    ),
    "POST /v1/events": Question("POST", lambda _: "/v1/events", _event, 202),
}


def rows() -> list[Row]:
    """Rows for the results, one for each route that answers by participant."""
    unbounded = {"HUB_REQUESTS_PER_S_MAX": "100000"}
    with (
        tempfile.TemporaryDirectory(prefix="bench-guessing-") as name,
        scene.running(Path(name), {TEAM: ["ana"]}, PEOPLE, unbounded) as running,
    ):
        people = _people(running)
        return [_row(route, _times(running, one, people)) for route, one in QUESTIONS.items()]


def _people(running: Scene) -> dict[str, Whom]:
    """Two who take part, and one who was never heard of."""
    query = sa.select(requests.c.directive, requests.c.made)
    found = []
    for participant in running.people[TEAM][:2]:
        with running.hub.store.read() as connection:
            row = connection.execute(query.where(requests.c.participant == participant)).one()
        found.append(Whom(participant, row.directive, row.made, f"J-{running.numbers[participant]}"))
    nobody = Whom("p-" + "a" * 26, "d-" + "a" * 26, "c-" + "a" * 26, "J-9")
    return {"denied": found[0], "another": found[1], "nobody": nobody}


def _times(running: Scene, question: Question, people: dict[str, Whom]) -> dict[str, list[float]]:
    """Milliseconds of each answer, by about whom it was."""
    at = urlsplit(running.address)
    assert at.hostname is not None, "an address of ours"
    connection = http.client.HTTPConnection(at.hostname, at.port)
    headers = {"authorization": f"Bearer {running.jail}", "content-type": "application/json"}
    headers["prefer"] = "wait=0"
    if question.status == 202:
        headers["content-type"] = "application/cloudevents+json"
    dice = random.Random(1)
    order = [*WHOM] * (WARM + ASKED)
    found: dict[str, list[float]] = defaultdict(list)
    for start in range(0, len(order), len(WHOM)):
        turn = order[start : start + len(WHOM)]
        dice.shuffle(turn)
        for who in turn:
            once = f"q-{dice.getrandbits(64):016x}"
            body = question.body(people[who], once)
            sent = None if body is None else json.dumps(body).encode()
            began = time.perf_counter_ns()
            connection.request(question.method, question.path(people[who]), sent, headers)
            answer = connection.getresponse()
            answer.read()
            found[who].append((time.perf_counter_ns() - began) / 1e6)
            assert answer.status == question.status, f"{answer.status} about {who}"
    connection.close()
    return {who: some[WARM:] for who, some in found.items()}


def _row(route: str, times: dict[str, list[float]]) -> Row:
    """Of 100 guesses, how many are right: denied or nobody, beside one denied person or another."""
    told = _right(times["denied"], times["nobody"])
    noise = _right(times["denied"], times["another"])
    rank = float(stats.mannwhitneyu(times["denied"], times["nobody"]).pvalue)
    middle = {who: round(float(sorted(some)[len(some) // 2]), 3) for who, some in times.items()}
    print(f"{route}: medians {middle} ms, rank test p = {rank:.2f}", file=sys.stderr, flush=True)
    return {
        "name": f"right of 100 guesses by one answer's time, {route}",
        "ours": round(told, 1),
        "peer": f"between two who take part alike (rank test of ours: p = {rank:.2f})",
        "peer_value": round(noise, 1),
        "unit": "guesses",
        "ratio": round(told / noise, 2),
        "higher_is_better": False,
    }


def _right(some: list[float], others: list[float]) -> float:
    """Of 100 guesses between two alike in number, how many the best threshold of time gets right."""
    return 50 + 50 * float(stats.ks_2samp(some, others).statistic)
