"""Somebody new signs at the case manager's side, gets a card, looks at their own page, and takes it all back.

Through the pages that people use. What is signed is for what happens from now on, and nothing happens to them
any more: so nothing of it is due to anybody, and the count of the play stays what it is.
"""

from __future__ import annotations

import re
import time
from typing import Any

import httpx

from examples.county.hubside import NotDone, Visitor, now, request_ms_max, wait_ms_max

NUMBER = "RCH-100000001"
PIN = "204816"
PARTIES = ["harbor-house/service", "tideline-clinic/service"]


class Own:
    """One such person. `NotDone` where a page does not do what it says."""

    def __init__(self, address: str, number: str = NUMBER, share: list[str] | None = None) -> None:
        self.address = address
        self.number = number
        self.share = share or PARTIES
        self.desk = Visitor(address, "case-manager").client
        self.client = httpx.Client(base_url=address, timeout=request_ms_max / 1000, follow_redirects=True)

    def close(self) -> None:
        """Closes the connections."""
        self.desk.close()
        self.client.close()

    def signs(self, since: str = "today") -> str:
        """Signs, and gets a card. Out: its code."""
        page = _good(self.desk.get("/cases/people/new/consent"))
        names = ("form", "offer", "seen", "signed_at", "csrf")
        fields: dict[str, Any] = {name: _hidden(page, name) for name in names}
        fields |= {"act": "sign", "share": self.share, "until": "90", "since": since, "adult": "yes"}
        fields |= {"name": "Marisol", "local_id": self.number, "method": "typed", "typed": "Marisol"}
        signed = self.desk.post("/cases/people/new/consent", data={**fields, "witness": "yes"})
        _good(signed)
        person, _, consent = signed.url.path.removeprefix("/cases/people/").partition("/receipts/")
        card = {"csrf": fields["csrf"], "consent": consent, "pin": PIN, "again": PIN}
        return _found(
            r'class="code lead">([A-Z0-9-]+)<',
            _good(self.desk.post(f"/cases/people/{person}/card", data=card)),
        )

    def looks(self, code: str) -> str:
        """Opens their own page, by card and PIN. Out: the page."""
        return _good(self.client.post("/me/signin", data={"code": code, "pin": PIN}))

    def takes_back(self) -> str:
        """Takes everything back, and waits until the door is closed. Out: what the page then says."""
        page = _good(self.client.get("/me"))
        data = {"csrf": _hidden(page, "csrf"), "consent": _hidden(page, "consent"), "recipient": ""}
        answer = self.client.post("/me/revocations", data=data)
        until = time.monotonic() + wait_ms_max / 1000
        while "refresh" in answer.headers and time.monotonic() < until:
            answer = self.client.get(answer.url)
        page = _good(answer)
        if "It is taken back." not in page:
            raise NotDone("the door was not closed within a minute")
        return page


def perform(address: str) -> dict[str, int]:
    """All of it. Out: how long it took from taking back to the closed door, in milliseconds."""
    own = Own(address)
    try:
        page = own.looks(own.signs())
        if "Nobody has been told anything about you." not in page:
            raise NotDone("somebody was told of somebody new")
        begun = now()
        own.takes_back()
        return {"closed_ms": now() - begun}
    finally:
        own.close()


def _good(answer: httpx.Response) -> str:
    if answer.status_code != 200:
        raise NotDone(f"{answer.request.method} {answer.url.path} was answered {answer.status_code}")
    return answer.text


def _hidden(page: str, name: str) -> str:
    return _found(rf'name="{name}" value="([^"]*)"', page)


def _found(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    if found is None:
        raise NotDone("a page lacks what it should have")
    return found[1]
