"""The key-encryption key is replaced while everything runs, and killed anywhere nothing is lost."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from hub import bootstrap, cli, kek, rewrapping
from hub.kek import KekFile, KekGivenOnly, KekInvalid, KekSource, LocalKek
from hub.store import Store
from hub.tables import keks, keys
from hub.vault import Vault
from schemas.errors import Erased
from tests import stores
from tests.desk import Log

PEOPLE = 40
CUT = (
    "import os, sys\nfrom pathlib import Path\nfrom hub import kek, rewrapping\nfrom hub.store import Store\n"
    "rewrapping.BATCH_KEYS_MAX = 7\n"
    "rewrapping.rotate(Store(sys.argv[1]), kek.load(Path(sys.argv[2]), {}, create=False))\n"
)


def wraps(store: Store) -> set[str]:
    with store.read() as connection:
        return set(connection.execute(sa.select(keys.c.kek).where(keys.c.wrapped.is_not(None))).scalars())


def states(store: Store) -> list[tuple[bool, bool]]:
    """Of each KEK, oldest first: whether it is current, whether it was destroyed."""
    with store.read() as connection:
        rows = connection.execute(sa.select(keks).order_by(keks.c.since, keks.c.until.is_(None))).all()
    return [(row.until is None, row.destroyed_at is not None) for row in rows]


def filled(store: Store, source: KekSource) -> tuple[Vault, dict[str, bytes]]:
    vault = Vault(store, source)
    return vault, {f"p-{n}": vault.sealer(f"p-{n}").seal(b"", b"x") for n in range(PEOPLE)}


def test_every_key_is_wrapped_anew_and_the_old_one_is_gone_while_processes_go_on(
    store: Store, tmp_path: Path
) -> None:
    running, sealed = filled(store, kek.load(tmp_path, {}, create=True))
    old = (tmp_path / kek.FILE).read_text()
    secret = running.mac("x", b"y")
    running.destroy("p-3")
    done = rewrapping.rotate(store, kek.load(tmp_path, {}, create=False))
    assert (done.keys, done.resumed, len(done.destroyed), done.left) == (
        PEOPLE,
        False,
        1,
        (),
    )  # root, not p-3
    assert wraps(store) == {done.kek}
    assert old not in (tmp_path / kek.FILE).read_text()
    assert os.listdir(tmp_path) == [kek.FILE] or "hub.db" in os.listdir(tmp_path)
    assert states(store) == [(False, True), (True, False)]
    running._cache.clear()  # as after half a minute
    for who in sealed.keys() - {"p-3"}:
        assert running.sealer(who).open(b"", sealed[who]) == b"x"
    with pytest.raises(Erased):
        running.sealer("p-3").open(b"", sealed["p-3"])
    assert list(running._keks) == [done.kek]  # and it has dropped the old one
    running.sealer("p-new").seal(b"", b"y")
    assert wraps(store) == {done.kek}
    assert Vault(store, kek.load(tmp_path, {}, create=False)).mac("x", b"y") == secret


def test_a_backup_from_before_opens_nothing_any_more(tmp_path: Path) -> None:
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        vault, sealed = filled(store, kek.load(tmp_path, {}, create=True))
        with store.read() as connection:
            before = connection.execute(sa.select(keys)).all()
        vault.destroy("p-3")
        rewrapping.rotate(store, kek.load(tmp_path, {}, create=False))
        for file in tmp_path.glob("hub.db*"):  # neither in the file nor in its write-ahead log
            held = file.read_bytes()
            assert [row.subject for row in before if row.wrapped in held] == []
        with store.write() as connection:  # somebody restores it
            connection.execute(keys.delete())
            connection.execute(keys.insert(), [row._asdict() for row in before])
        restored = Vault(store, kek.load(tmp_path, {}, create=False))
        for who in ("p-3", "p-4"):
            with pytest.raises(Exception, match="key-encryption key"):
                restored.sealer(who).open(b"", sealed[who])


@pytest.mark.parametrize(
    "place", ["keys.made", "keys.current", "keys.batch", "keys.batch:3", "keys.destroyed"]
)
def test_killed_anywhere_it_is_finished_by_the_next(tmp_path: Path, place: str) -> None:
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    with stores.opened(url) as store:
        running, sealed = filled(store, kek.load(tmp_path, {}, create=True))
        point = place.replace(":", ":kill:") if ":" in place else place
        cut = subprocess.run(
            [sys.executable, "-c", CUT, url, str(tmp_path)],
            env={**os.environ, "HUB_CRASH_POINT": point}, timeout=120, check=False,
        )  # fmt: skip
        assert cut.returncode == -signal.SIGKILL
        running._cache.clear()
        assert running.sealer("p-7").open(b"", sealed["p-7"]) == b"x"
        running.sealer("p-meanwhile").seal(b"", b"")
        done = rewrapping.rotate(store, kek.load(tmp_path, {}, create=False))
        assert done.resumed is (place != "keys.made")
        assert wraps(store) == {done.kek}
        assert len((tmp_path / kek.FILE).read_text().split()) == 1
        assert states(store) == [(False, True), (True, False)]
        fresh = Vault(store, kek.load(tmp_path, {}, create=False))
        for one in (running, fresh):
            one._cache.clear()
            assert all(one.sealer(who).open(b"", data) == b"x" for who, data in sealed.items())


def test_those_who_make_keys_meanwhile_never_wrap_one_by_the_key_that_is_going(
    store: Store, tmp_path: Path
) -> None:
    source = kek.load(tmp_path, {}, create=True)
    filled(store, source)
    stop, made, failed = threading.Event(), list[tuple[str, bytes]](), list[BaseException]()

    def seal(name: str) -> None:
        mine = Vault(store, kek.load(tmp_path, {}, create=False))
        number = 0
        try:
            while not stop.is_set():
                number += 1
                made.append((f"{name}-{number}", mine.sealer(f"{name}-{number}").seal(b"", b"z")))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=seal, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    found = {rewrapping.rotate(store, kek.load(tmp_path, {}, create=False)).kek for _ in range(4)}
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(found) == 4
    assert len(wraps(store)) == 1
    fresh = Vault(store, kek.load(tmp_path, {}, create=False))
    assert made
    assert all(fresh.sealer(who).open(b"", data) == b"z" for who, data in made)


def test_one_that_somebody_else_keeps_is_replaced_when_they_give_another(store: Store) -> None:
    words = [base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
    _, sealed = filled(store, kek.load(Path("/nowhere"), {"HUB_KEK": words[0]}, create=True))
    one = kek.load(Path("/nowhere"), {"HUB_KEK": words[0]}, create=False)
    with pytest.raises(KekGivenOnly, match="before it"):
        rewrapping.rotate(store, one)
    both = kek.load(Path("/nowhere"), {"HUB_KEK": " ".join(reversed(words))}, create=False)
    done = rewrapping.rotate(store, both)
    assert (done.kek, done.left) == (LocalKek(b"\2" * 32).id, (LocalKek(b"\1" * 32).id,))
    new = kek.load(Path("/nowhere"), {"HUB_KEK": words[1]}, create=False)
    done = rewrapping.rotate(store, new)
    assert (done.resumed, done.left, len(done.destroyed)) == (True, (), 1)
    assert Vault(store, new).sealer("p-1").open(b"", sealed["p-1"]) == b"x"


def test_where_a_key_is_missing_nothing_is_destroyed(store: Store, tmp_path: Path) -> None:
    filled(store, LocalKek(bytes(32)))
    source = kek.load(tmp_path, {}, create=True)
    with pytest.raises(KekInvalid, match="nothing was destroyed"):
        rewrapping.rotate(store, source)
    assert wraps(store) == {LocalKek(bytes(32)).id}
    with pytest.raises(KekInvalid, match="is not here"):
        Vault(store, LocalKek(b"\1" * 32)).sealer("p-other").seal(b"", b"")


def test_a_file_takes_another_key_and_loses_one_at_once(tmp_path: Path) -> None:
    source = kek.load(tmp_path, {}, create=True)
    assert isinstance(source, KekFile)
    (old,) = source.keks()
    new = source.make([old])
    assert list(source.keks()) == [new, old]
    assert source.make([old]) == new  # one that an interrupted change had made
    assert (tmp_path / kek.FILE).stat().st_mode & 0o777 == 0o600
    assert source.destroy(old)
    assert source.destroy(old)
    assert list(source.keks()) == [new]
    assert os.listdir(tmp_path) == [kek.FILE]


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_replaces_it_and_a_participants_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        vault, _ = filled(store, kek.load(tmp_path, {}, create=True))
        log = Log()
        parts: Any = SimpleNamespace(
            store=store, vault=vault, appender=log, settings=SimpleNamespace(data=tmp_path)
        )
        parts.__enter__ = parts.__exit__ = None

        class Opened:
            def __enter__(self) -> Any:
                return parts

            def __exit__(self, *_: object) -> None:
                pass

        monkeypatch.setattr(bootstrap, "bootstrap", lambda _: Opened())
        more = ["--json"] if as_json else []
        for words, says in (
            (["rotate"], "wrapped anew" if not as_json else '"resumed": false'),
            (["rotate", "--participant", "p-1"], "version 2" if not as_json else '"version": 2'),
            (["list"], "destroyed"),
        ):
            ran = CliRunner().invoke(cli.app, ["keys", *words, *more])
            assert (ran.exit_code, says in ran.stdout) == (0, True), ran.output
        assert [one["kind"] for one in log.values("access")] == ["keys-rotated", "key-renewed"]
