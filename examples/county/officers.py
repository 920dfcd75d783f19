"""The two privacy officers: one files a court order, the other approves it. Neither can do it alone."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from examples.county.hubside import NotDone, Visitor
from examples.county.wishes import Directive

FIRST, SECOND = "officer", "officer-2"


class Officers:
    """Both of them, signed in when they are first needed."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lock = threading.Lock()
        self.visitors: dict[str, tuple[Visitor, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for visitor, _ in self.visitors.values():
            visitor.close()

    def _signed_in(self, account: str) -> tuple[Visitor, str]:
        with self.lock:
            if account not in self.visitors:
                visitor = Visitor(self.address, account)
                self.visitors[account] = (visitor, visitor.form_token("/officer"))
            return self.visitors[account]

    def file(self, one: Directive, participant: str) -> None:
        """Files an order and has it approved. Repeatable. Raises `NotDone`."""
        first, token = self._signed_in(FIRST)
        body = {"id": one.id, "participant": participant, **one.body}
        filed = first.send("/v1/directives", body, token)
        if filed.status_code not in (200, 201, 202):
            raise NotDone(f"filing an order was answered {filed.status_code}: {filed.text[:300]}")
        second, token = self._signed_in(SECOND)
        approved = second.send(f"/v1/directives/{one.id}/approvals", {}, token)
        if approved.status_code not in (200, 201):
            raise NotDone(f"approving an order was answered {approved.status_code}: {approved.text[:300]}")
