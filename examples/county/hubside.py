"""The hub as the county meets it: over HTTP, with each agency's own token, and people's sign-ins."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from examples.county.events import Event
from examples.county.wishes import Directive

BATCH = "application/cloudevents-batch+json"
STRUCTURED = "application/cloudevents+json"
FHIR = "application/fhir+json"
wait_ms_max = 60_000
doubt_ms_max = 15_000
pause_ms_max = 2_000
request_ms_max = 30_000
BUSY = frozenset({429, 502, 503, 504})


class NotDone(Exception):
    """The hub did not do what the play needs; the play cannot go on."""


class Hub:
    """One hub. Safe to use from several threads at once."""

    def __init__(
        self, address: str, tokens: Mapping[str, str], alive: Callable[[], None] = lambda: None
    ) -> None:
        """In: where the hub answers; by stakeholder its bearer token; what raises where the hub has ended."""
        self.alive = alive
        self.tokens = tokens
        self.client = httpx.Client(base_url=address, timeout=request_ms_max / 1000)

    def close(self) -> None:
        """Closes every connection."""
        self.client.close()

    def call(
        self, method: str, path: str, sender: str, *, expect: Sequence[int], **content: Any
    ) -> httpx.Response:
        """One request, repeated while the hub is starting or busy, for a minute at most.

        Every request of the county may be repeated: what it makes has an id. Raises `NotDone`.
        """
        headers = {"authorization": f"Bearer {self.tokens[sender]}", **content.pop("headers", {})}
        deadline, pause_ms = time.monotonic() + wait_ms_max / 1000, 50
        while True:
            try:
                answer = self.client.request(method, path, headers=headers, **content)
            except httpx.TransportError as error:
                trouble = type(error).__name__
                self.alive()
            else:
                if answer.status_code in expect:
                    return answer
                trouble = f"{answer.status_code}: {answer.text[:300]}"
                if answer.status_code not in BUSY:
                    raise NotDone(f"{method} {path} by {sender} was answered {trouble}")
                pause_ms = max(pause_ms, 1000 * int(answer.headers.get("retry-after", "0") or 0))
            if time.monotonic() > deadline:
                raise NotDone(f"{method} {path} by {sender}: no answer in a minute ({trouble})")
            time.sleep(min(pause_ms, pause_ms_max) / 1000)
            pause_ms *= 2

    def participant(self, sender: str, local_id: str) -> str:
        """Adds a person, known to the sender by its own id; gives back the hub's."""
        answer = self.call("POST", "/v1/participants", sender, json={"local_id": local_id}, expect=(200, 201))
        return str(answer.json()["participant"])

    def link(self, sender: str, participant: str, agency: str, local_id: str) -> None:
        """Says under which id another agency knows the person."""
        body = {"agency": agency, "local_id": local_id}
        self.call("POST", f"/v1/participants/{participant}/links", sender, json=body, expect=(200, 201))

    def directive(self, one: Directive, participant: str) -> dict[str, Any]:
        """Hands in one directive; gives back the hub's answer."""
        said = as_sent(one, participant)
        answer = self.call("POST", "/v1/directives", one.sender, json=said, expect=(200, 201, 202))
        return dict(answer.json())

    def submit(self, identity: str, sender: str, directives: list[Any], events: list[Any]) -> dict[str, Any]:
        """Hands in directives and the events that came with them."""
        body = {"id": identity, "directives": directives, "events": events}
        return dict(self.call("POST", "/v1/submissions", sender, json=body, expect=(200, 201, 202)).json())

    def publish(self, source: str, events: Sequence[Event]) -> list[dict[str, Any]]:
        """Publishes a batch of one agency's events; gives back a result for each."""
        return self.batch(source, [event.cloudevent() for event in events])

    def batch(self, source: str, cloudevents: Sequence[Any]) -> list[dict[str, Any]]:
        """Publishes CloudEvents as they are, good or bad; gives back a result for each."""
        answer = self.call(
            "POST",
            "/v1/events",
            source,
            json=list(cloudevents),
            headers={"content-type": BATCH},
            expect=(202,),
        )
        return results(answer)

    def single(self, source: str, event: Event) -> dict[str, Any]:
        """Publishes one event by itself, in structured mode; gives back its result."""
        content = {"json": event.cloudevent(), "headers": {"content-type": STRUCTURED}}
        return results(self.call("POST", "/v1/events", source, expect=(202,), **content))[0]

    def binary(self, source: str, event: Event) -> dict[str, Any]:
        """Publishes one event in binary mode: attributes as headers, the data as the body."""
        headers, body = in_binary(event)
        answer = self.call("POST", "/v1/events", source, content=body, headers=headers, expect=(202,))
        return results(answer)[0]

    def consent(self, sender: str, resource: dict[str, Any]) -> None:
        """Hands in a FHIR Consent."""
        headers = {"content-type": FHIR}
        self.call("POST", "/v1/consents", sender, json=resource, headers=headers, expect=(200, 201))

    def bundle(self, source: str, resources: dict[str, Any]) -> list[str]:
        """Hands in a FHIR Bundle; gives back the status of each entry."""
        headers = {"content-type": FHIR}
        answer = self.call("POST", "/v1/fhir", source, json=resources, headers=headers, expect=(200,))
        return [one["response"]["status"] for one in answer.json()["entry"]]

    def revoke(self, sender: str, consent: str, body: dict[str, Any]) -> int:
        """Takes a consent back, whole or in part, and waits until nothing can leave on it any more.

        Out: when the hub had said so, in milliseconds since 1970. Raises `NotDone` where it stays in doubt.
        """
        path = f"/v1/consents/{consent}/revocations"
        answer = self.call("POST", path, sender, json=body, expect=(200, 201, 202))
        where = answer.headers.get("location")
        return self.closed(sender, where) if answer.status_code == 202 else now()

    def closed(self, sender: str, fence: str) -> int:
        """Follows a fence's address until the fence is closed; when that was, in milliseconds since 1970.

        One that stays in doubt is closed as well: nothing more begins, and what may have gone is listed. It
        comes of a kill in the middle of a delivery. Raises `NotDone` where it is open after a minute.
        """
        begun = time.monotonic()
        while True:
            answer = self.call("GET", fence, sender, expect=(200, 202))
            waited_ms = (time.monotonic() - begun) * 1000
            doubtful = answer.json().get("state") == "closed-in-doubt"
            if answer.status_code == 200 or (doubtful and waited_ms > doubt_ms_max):
                return now()
            if waited_ms > wait_ms_max:
                raise NotDone("what was taken back was not closed within a minute")
            time.sleep(0.05)


def as_sent(one: Directive, participant: str) -> dict[str, Any]:
    """A directive as it is handed in: with a consent goes who saw it signed."""
    body = dict(one.body)
    if body["type"] == "consent-granted":
        body["witness"] = witness(one.sender)
    return {"id": one.id, "participant": participant, **body}


def in_binary(event: Event) -> tuple[dict[str, str], bytes]:
    """The headers and the body of an event in CloudEvents' binary mode."""
    told = event.cloudevent()
    data = told.pop("data")
    headers = {f"ce-{name}": str(value) for name, value in told.items()}
    headers["content-type"] = headers.pop("ce-datacontenttype")
    return headers, json.dumps(data).encode()


def witness(sender: str) -> dict[str, str]:
    """Who saw a form signed."""
    return {"name": "T. Reyes", "organisation": sender}


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def results(answer: httpx.Response) -> list[dict[str, Any]]:
    """The results of a batch, whether they stand alone or under a name; or the one of a single event."""
    told = answer.json()
    if isinstance(told, dict) and "results" not in told:
        return [told]
    return list(told if isinstance(told, list) else told["results"])


class Visitor:
    """A person at the hub's pages, signed in with a demo account."""

    def __init__(self, address: str, account: str) -> None:
        """Signs in. Raises `NotDone` where the hub does not let the account in."""
        self.client = httpx.Client(base_url=address, timeout=request_ms_max / 1000, follow_redirects=True)
        answer = self.client.post("/signin", data={"account": account})
        if answer.status_code != 200:
            raise NotDone(f"signing in as {account} was answered {answer.status_code}")

    def page(self, path: str) -> str:
        """A page as this person sees it."""
        answer = self.client.get(path)
        if answer.status_code != 200:
            raise NotDone(f"{path} was answered {answer.status_code}")
        return answer.text

    def form_token(self, path: str) -> str:
        """The session's own token, as a page's forms carry it."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.page(path))
        if found is None:
            raise NotDone(f"{path} has no form to send")
        return found[1]

    def send(self, path: str, body: dict[str, Any], token: str) -> httpx.Response:
        """Sends JSON as this person."""
        return self.client.post(path, json=body, headers={"x-csrf-token": token})

    def close(self) -> None:
        """Closes the connection."""
        self.client.close()
