"""Every process that may have a key in memory forgets it and says so; who does not is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub import forgetting
from hub.forgetting import Forgetter, heard
from hub.kek import LocalKek
from hub.store import Store
from hub.tables import erasures, holders
from hub.vault import DAY_MS, Vault
from schemas.errors import Erased
from tests import stores

WAIT_MS_MAX = 60_000  # it is a matter of half a second; a busy machine may take longer
PROCESS = (
    "import sys\nfrom hub.forgetting import Forgetter\nfrom hub.kek import LocalKek\n"
    "from hub.store import Store\n"
    "from hub.vault import Vault\nfrom schemas.errors import Erased\n"
    "store = Store(sys.argv[1])\nvault = Vault(store, LocalKek(bytes(32)))\n"
    "mine = Forgetter(store, vault, 'admit')\nsealed = vault.sealer('p-1').seal(b'', b'x')\n"
    "print('has it', flush=True)\n"
    "sys.stdin.readline()\n"
    "try:\n    vault.sealer('p-1').open(b'', sealed)\nexcept Erased:\n    print('forgotten', flush=True)\n"
    "mine.close()\n"
)


def a_vault(store: Store) -> Vault:
    return Vault(store, LocalKek(bytes(32)))


@contextmanager
def process(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process, which has the participant's key in memory."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    child = subprocess.Popen([sys.executable, "-c", PROCESS, url], **pipes)  # type: ignore[call-overload]
    try:
        assert child.stdout.readline().strip() == "has it"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def rows(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.execute(sa.select(holders.c.stage).order_by(holders.c.stage)).scalars())


def test_each_process_forgets_and_says_so_and_a_frozen_one_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    with stores.opened(url) as store, process(url) as one, process(url) as other:
        mine = a_vault(store)
        mine.sealer("p-1").seal(b"", b"")
        assert rows(store) == ["admit", "admit"]
        other.send_signal(signal.SIGSTOP)
        mine.destroy("p-1")
        (unheard,) = heard(store, 3_000)
        assert unheard.startswith(f"admit ({other.pid} on ")
        out, _ = one.communicate("\n", timeout=60)
        assert out.strip() == "forgotten"  # long before its memory would have been over
        other.send_signal(signal.SIGCONT)
        assert heard(store, WAIT_MS_MAX) == ()
        out, _ = other.communicate("\n", timeout=60)
        assert out.strip() == "forgotten"
        assert rows(store) == []  # who ends in good order is not waited for


def test_who_was_killed_is_not_waited_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    with stores.opened(url) as store:
        with process(url) as one:
            one.kill()
            one.wait()
            a_vault(store).destroy("p-1")
            assert heard(store, 0) == ()
        with closing(Forgetter(store, a_vault(store), "web")):
            assert rows(store) == ["web"]  # and leaves no trace behind


def test_it_waits_for_nobody_where_nobody_has_a_key_and_ends_when_the_last_has_said_so(store: Store) -> None:
    vault = a_vault(store)
    vault.destroy("p-0")
    assert heard(store, WAIT_MS_MAX) == ()
    with closing(Forgetter(store, vault, "connectors")):
        sealed = vault.sealer("p-1").seal(b"", b"x")
        a_vault(store).destroy("p-1")
        assert heard(store, WAIT_MS_MAX) == ()
        with pytest.raises(Erased):
            vault.sealer("p-1").open(b"", sealed)


def test_one_elsewhere_is_believed_to_run_for_a_while_and_no_longer(store: Store) -> None:
    now = time.time_ns() // 1_000_000
    row = {"stage": "admit", "host": "another", "pid": os.getpid(), "forgotten": 0}
    with store.write() as connection:
        connection.execute(holders.insert().values(row | {"id": "1", "seen_at": now}))
        connection.execute(
            holders.insert().values(
                row | {"id": "2", "seen_at": now - forgetting.GONE_MS - 1, "stage": "web"}
            )
        )
        row |= {
            "host": forgetting.socket.gethostname(),
            "stage": "auditor",
        }  # its number, but another process
        connection.execute(holders.insert().values(row | {"id": "3.1", "seen_at": now}))
    a_vault(store).destroy("p-1")
    assert heard(store, 0) == (f"admit ({os.getpid()} on another)",)


def test_what_was_erased_is_kept_for_a_day_for_those_who_have_not_looked(store: Store) -> None:
    now = 20_000 * DAY_MS
    clock = [now]
    vault = Vault(store, LocalKek(bytes(32)), lambda: clock[0])
    vault.destroy("p-1")
    clock[0] += DAY_MS + 1
    vault.destroy("p-2")
    with store.read() as connection:
        assert connection.execute(sa.select(erasures.c.number, erasures.c.subject)).all() == [(2, "p-2")]
