"""The county's side of every way: all the stakeholders' own systems, each running as it would at home."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from examples.county.agencies import Agency
from examples.county.clinic import token
from examples.county.desk import Desk
from examples.county.endpoints import Endpoints
from examples.county.fetching import Fetcher
from examples.county.files import JAIL, WATCHED
from examples.county.hubside import NotDone
from examples.county.journal import Journal
from examples.county.listening import Listener
from examples.county.mailbox import Mailbox, Reader, follow
from examples.county.running import Credentials, hand_over
from examples.county.shelf import Shelf

EVERY = "at-once"  # a play of two minutes cannot wait for the end of an hour
stop_s_max = 10


class Systems:
    """Servers that the hub comes to, and programs that come to the hub; what reaches them is on the shelf."""

    def __init__(self, folder: Path, journal: Journal, agencies: Mapping[str, Agency]) -> None:
        """In: where they keep what they have; what knows the ports of an earlier time; who takes part."""
        self.folder = folder
        self.journal = journal
        self.agencies = agencies
        self.shelf = Shelf(folder / "arrivals.jsonl")
        self.endpoints = Endpoints(self.shelf, journal.done.get("port", 0))
        self.mailbox = Mailbox(folder / "mailbox", journal.done.get("sftp-port", 0))
        self.threads: list[threading.Thread] = []
        self.desks: list[Desk] = []
        self.stopping = threading.Event()
        self.broken: list[str] = []

    def __enter__(self) -> Self:
        """Starts the servers, with the keys and secrets that are known from an earlier time."""
        self.journal.keep("port", self.endpoints.port)
        self.journal.keep("sftp-port", self.mailbox.port)
        self.endpoints.start()
        self.mailbox.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(stop_s_max)
        self.mailbox.stop()
        self.endpoints.stop()
        self.shelf.close()

    # ---- where they are, as `running.Places` --------------------------------------------------------

    def webhook(self, stakeholder: str) -> str:
        """An address to post to."""
        return self.endpoints.address(stakeholder)

    def fhir(self, stakeholder: str) -> str:
        """The base address of a FHIR server."""
        return self.endpoints.fhir(stakeholder)

    def sftp(self, one: Agency) -> dict[str, str]:
        """A folder on the county's SFTP server."""
        return {
            "url": self.mailbox.drop(one.id),
            "host_key": self.mailbox.public_key,
            "every": EVERY,
            "format": one.form,
        }

    def folder_of(self, stakeholder: str) -> Path:
        """Where files for it arrive."""
        return self.mailbox.folder / stakeholder / "in"

    def hand_in(self) -> dict[str, Path]:
        """By agency: the folder in which the hub looks for its files."""
        folders = {agency: self.folder / "watched" / agency for agency in WATCHED}
        return {**folders, JAIL: self.mailbox.folder / JAIL / "out"}

    # ---- what they know of the hub ------------------------------------------------------------------

    def trust(self, given: Credentials) -> None:
        """Tells the servers with which secrets the hub signs, and by which keys it comes in."""
        self.endpoints.trust(given.secrets)
        for user, key in given.keys.items():
            self.mailbox.trust(user, key)
        self.endpoints.clinic.tokens.update(self.journal.done.get("fhir-tokens", {}))

    def connect(self, address: str, given: Credentials, kafka: Mapping[str, Any]) -> None:
        """Starts the programs that come to the hub. Raises `NotDone` where it does not take a token."""
        self.trust(given)
        readers = []
        for one in self.agencies.values():
            ways = {each.adapter for each in one.subscriptions}
            if "fhir" in ways and one.id not in self.endpoints.clinic.tokens:
                self._let_in(one.id)
            if "sftp" in ways:
                readers.append(Reader(self.shelf, one.id, self.mailbox.folder / one.id / "in"))
            if "pull" in ways:
                fetcher = Fetcher(self.shelf, one.id, address, given.tokens[one.id])
                self._run(f"{one.id}-pull", fetcher.follow)
            if "feed" in ways:
                self._run(f"{one.id}-feed", Listener(self.shelf, one.id, kafka, address).follow)
            if "alerts" in ways:
                self.desks.append(Desk(self.shelf, one.id, address, given.tokens[one.id]))
                self._run(f"{one.id}-alerts", self.desks[-1].follow)
        self._run("files", lambda stopping: follow(readers, stopping))

    def alive(self) -> None:
        """Raises `NotDone` where one of the programs has ended, with why."""
        if self.broken:
            raise NotDone("\n".join(self.broken))

    def _let_in(self, stakeholder: str) -> None:
        made = token()
        self.endpoints.clinic.tokens[stakeholder] = made
        hand_over(stakeholder, made)
        self.journal.keep("fhir-tokens", dict(self.endpoints.clinic.tokens))

    def _run(self, name: str, do: Callable[[Callable[[], bool]], None]) -> None:
        def run() -> None:
            try:
                do(self.stopping.is_set)
            except Exception as error:
                self.broken.append(f"{name} ended: {type(error).__name__}: {error}")
                raise

        self.threads.append(threading.Thread(target=run, name=name, daemon=True))
        self.threads[-1].start()
