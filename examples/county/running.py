"""The hub as a child of the demo, on this machine, and the county's stakeholders made known to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx
from rich.console import Console

import hub.leash
import hub.settings
from examples.county.agencies import Agency
from examples.county.hubside import NotDone
from examples.county.journal import write_whole
from examples.county.plan import Plan

ready_ms_max = 300_000  # a hub that ended is noticed at once; one that is slow is waited for
stop_ms_max = 15_000
command_ms_max = 120_000
VISITORS = (
    ("case manager", "/cases", "who needs me now?"),
    ("privacy officer", "/officer", "is anything wrong?"),
    ("operator", "/operator", "does everything flow?"),
)
POLICY = Path(__file__).parents[2] / "consent" / "policy.json"


def policy() -> dict[str, Any]:
    """The policy that the hub starts with: data, read and not imported."""
    return dict(json.loads(POLICY.read_text("utf-8")))


def command(*words: str) -> list[str]:
    """The hub's own command line, in this environment."""
    return [str(Path(sys.executable).with_name("hub")), *words]


@dataclass(frozen=True)
class Credentials:
    """What each stakeholder was given: its bearer token, the secret by which it verifies, and the
    public key with which the hub signs in at its SFTP server.
    """

    tokens: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def take(self, made: dict[str, Any]) -> None:
        """Adds what a command of the hub has just made."""
        if made.get("token"):
            self.tokens[made["id"]] = made["token"]
        if verifier := made.get("webhook_secret") or made.get("webhook_public_key"):
            self.secrets[made["id"]] = verifier
        if made.get("ssh_public_key"):
            self.keys[made["id"]] = made["ssh_public_key"]


class Places(Protocol):
    """Where the stakeholders' own systems are."""

    def webhook(self, stakeholder: str) -> str:
        """An address to post to."""

    def fhir(self, stakeholder: str) -> str:
        """The base address of a FHIR server."""

    def sftp(self, one: Agency) -> dict[str, str]:
        """A folder on an SFTP server, as `hub agency load` wants it described."""


class RunningHub:
    """`hub up` in demo mode, ended with this process, whatever ends it. Its output is in `hub.log`."""

    def __init__(self, folder: Path, more: Mapping[str, str]) -> None:
        """In: where its log goes; further settings, as environment."""
        host = os.environ.get("HUB_WEB_HOST") or "127.0.0.1"
        self.port = int(os.environ.get("HUB_WEB_PORT") or 8080) or _free_port()
        self.address = f"http://{host}:{self.port}"
        self.log = folder / "hub.log"
        self.environment = {
            **os.environ,
            **surroundings(),
            "HUB_WEB_PORT": str(self.port),
            **more,
        }
        self.child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.child = hub.leash.spawn(command("up"), stdout=log, env=self.environment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.child is None or self.child.poll() is not None:
            return
        self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(stop_ms_max / 1000)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def alive(self) -> None:
        """Raises `NotDone`, with the end of its log, where the hub has ended."""
        if self.child is not None and self.child.poll() is not None:
            lines = self.log.read_text("utf-8", errors="replace").splitlines()[-12:]
            raise NotDone("\n".join(["the hub ended; the last it said:", *lines, f"all of it: {self.log}"]))

    def ready(self) -> None:
        """Waits until every stage is up. Raises `NotDone` after five minutes, or when the hub ends."""
        deadline = time.monotonic() + ready_ms_max / 1000
        said = "nothing"
        while time.monotonic() < deadline:
            self.alive()
            try:
                answer = httpx.get(f"{self.address}/readyz", timeout=2)
                if answer.status_code == 200:
                    return
                said = answer.text[:500]
            except httpx.TransportError as error:
                said = type(error).__name__
            time.sleep(0.1)
        raise NotDone(f"the hub was not ready within five minutes; it said: {said}")

    def invite(self, console: Console) -> None:
        """Says where the pages are and how to sign in."""
        console.print(f"The hub answers at {self.address}", style="bold", highlight=False)
        for who, page, question in VISITORS:
            console.print(f"  {who:<16} {self.address}{page:<10} {question}", highlight=False)
        console.print(f"Sign in at {self.address}/signin as any of them; a demo asks for no password.")

    def wait(self) -> None:
        """Stays until Ctrl-C, or until the hub ends. Raises `NotDone` then."""
        while True:
            self.alive()
            time.sleep(0.5)


def surroundings() -> dict[str, str]:
    """The settings that a demo differs in.

    Demo accounts, and deliveries to this very machine; and as senders and receivers share one machine with a
    broker, a delivery may take longer. Six weeks are played in a minute, so numbers are published sooner.
    """
    return {
        "HUB_DEMO": "true",
        "HUB_SEND_MS_MAX": os.environ.get("HUB_SEND_MS_MAX") or "20000",
        "HUB_PUBLISH_QUIET_MS": "10000",
        "HUB_LINKING_DESK": "reach",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def ran(
    words: Sequence[str], environment: Mapping[str, str], said: str | None = None
) -> subprocess.CompletedProcess[str]:
    """One of the hub's commands, to its end; it ends with this process, should that be killed meanwhile.

    In: `said`, what it reads from its standard input.
    """
    leash = [sys.executable, "-I", "-S", str(Path(hub.leash.__file__)), str(os.getpid())]
    return subprocess.run(
        [*leash, *command(*words)],
        capture_output=True,
        input=said,
        text=True,
        timeout=command_ms_max / 1000,
        env={**os.environ, **environment},
        check=False,
    )


def known(folder: Path) -> Credentials:
    """What the stakeholders were given when this county was begun; nothing where it is new."""
    path = folder / "credentials.json"
    return Credentials(**json.loads(path.read_text("utf-8"))) if path.exists() else Credentials()


def register(county: Plan, folder: Path, places: Places) -> Credentials:
    """Makes the stakeholders known with `hub agency load`, and keeps what they are given: it is shown once.

    Raises `NotDone` where the hub refuses.
    """
    table = folder / "stakeholders.json"
    described = [_described(one, places) for one in county.agencies.values()]
    write_whole(table, json.dumps({"stakeholder": described}, indent=1))
    given = known(folder)
    for made in _json("agency", "load", str(table)):
        given.take(made)
    for one in described:  # a kill may have come between their making and our keeping them
        if one["id"] not in given.tokens:
            given.take(_json("agency", "token", one["id"]))
        if "webhook" in one and one["id"] not in given.secrets:
            given.take(_json("agency", "secret", one["id"]))
        if "sftp" in one and one["id"] not in given.keys:
            given.take(_json("agency", "ssh-key", one["id"]))
    write_whole(folder / "credentials.json", json.dumps(asdict(given)))
    return given


def hand_over(stakeholder: str, token: str) -> None:
    """Gives the hub the token of a stakeholder's FHIR server. Raises `NotDone`."""
    done = ran(["agency", "fhir-token", stakeholder], surroundings(), token)
    if done.returncode != 0:
        raise NotDone(f"hub agency fhir-token ended with {done.returncode}: {done.stderr[-2000:]}")


def kafka() -> dict[str, Any]:
    """What a Kafka client of the county starts from: the brokers' address, and how to sign in there."""
    configured = hub.settings.load()
    own = _json("broker", "status")["bootstrap"] if configured.embedded else None
    return configured.kafka(own)


def _json(*words: str) -> Any:
    """What a command of the hub prints as JSON. Raises `NotDone` where it fails."""
    done = ran([*words, "--json"], surroundings())
    if done.returncode != 0:
        raise NotDone(f"hub {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def _described(one: Agency, places: Places) -> dict[str, Any]:
    """A stakeholder as the hub's operator registers it, with where its own system is."""
    ways = {each.adapter for each in one.subscriptions}
    return {
        **one.as_json(),
        "name": one.name,
        "part2": one.part2,
        **({"webhook": places.webhook(one.id), "webhook_signature": one.signed} if "webhook" in ways else {}),
        **({"fhir": places.fhir(one.id)} if "fhir" in ways else {}),
        **({"sftp": places.sftp(one)} if "sftp" in ways or one.report else {}),
        **({"report": {"every": "month", "language": one.report}} if one.report else {}),
        "subscriptions": [
            {
                "id": each.id,
                "purpose": each.purpose,
                "categories": list(each.categories),
                "adapter": each.adapter,
            }
            for each in one.subscriptions
        ],
    }
