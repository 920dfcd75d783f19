"""A patient client of the hub's gateway: batches of events, and what could not be read."""

import base64
import random
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx

from schemas.cloudevents import BATCH
from schemas.errors import Problem

attempts_max: Final = 8
wait_ms_first: Final = 250
wait_ms_max: Final = 30_000
request_ms_max: Final = 60_000
_AGAIN: Final = frozenset({408, 429, 502, 503, 504})


class Unreachable(Exception):
    """The hub was away, or too busy, for as long as we tried."""


class Rejected(Exception):
    """The hub answered that it does not take this request, whatever the events in it."""


class Gateway:
    """One connection to the hub, as one sender. In: its address, the bearer token; how to wait (seconds)."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=url,
            transport=transport,
            timeout=request_ms_max / 1000,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def events(self, events: Sequence[bytes]) -> list[dict[str, Any]]:
        """Send events, each as the bytes of its JSON, as one batch. Out: the hub's result for each, in order.

        Raises `Unreachable` or `Rejected`.
        """
        body = b"[" + b",".join(events) + b"]"
        answer = self._post("/v1/events", content=body, headers={"Content-Type": BATCH})
        try:
            results = answer.json()
        except ValueError:
            results = None
        if not isinstance(results, list) or len(results) != len(events):
            raise Rejected(f"`{self._http.base_url}` does not answer as a hub does")
        return results

    def quarantine(self, problem: Problem, original: bytes) -> None:
        """Hand over a record that could not be read, with the reason. Raises `Unreachable` or `Rejected`."""
        body = {
            "reason": problem.code,
            "detail": problem.detail,
            "path": problem.path,
            "original": base64.b64encode(original).decode("ascii"),
        }
        self._post("/v1/quarantine", json=body)

    def _post(self, path: str, **request: Any) -> httpx.Response:
        reason, wait_s = "", 0.0
        for attempt in range(attempts_max):
            if attempt:
                self._sleep(wait_s)
            wait_s = min(wait_ms_max, wait_ms_first << attempt) / 1000 * random.uniform(0.5, 1.0)  # noqa: S311
            try:
                answer = self._http.post(path, **request)
            except httpx.InvalidURL as error:
                raise Rejected(f"not an address: {error}") from None
            except httpx.UnsupportedProtocol:
                raise Rejected("an address begins with http:// or https://") from None
            except httpx.TransportError as error:
                reason = type(error).__name__
                continue
            if answer.status_code not in _AGAIN:
                return _taken(answer)
            reason = f"it answered {answer.status_code}"
            wait_s = max(wait_s, _retry_after(answer))
        raise Unreachable(f"{reason}, {attempts_max} times")


def _retry_after(answer: httpx.Response) -> float:
    """Seconds that the answer asks us to wait, within our own bound; 0 where it says nothing we can use."""
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), wait_ms_max / 1000) if asked.isascii() and asked.isdigit() else 0.0


def _taken(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    if answer.status_code in (401, 403):
        raise Rejected("the token is not known, not valid any more, or not for publishing")
    try:
        said = answer.json()
        detail = said.get("detail") if isinstance(said, dict) else None
    except ValueError:
        detail = None
    raise Rejected(f"{answer.status_code}, {detail or 'without a reason'}")
