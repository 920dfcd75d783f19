"""The vault: what is sealed opens in its own place only, and never again once its key is destroyed."""

import base64
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import kek, vault
from hub.kek import KekInvalid, KekSource, KeyWrapper, LocalKek
from hub.store import Store
from hub.tables import keys
from hub.vault import DAY_MS, OVERHEAD_BYTES, Vault
from schemas.errors import Erased, Unsealable

KEK = bytes(range(32))


class Clock:
    """A clock that stands where it is put. Milliseconds."""

    def __init__(self) -> None:
        self.now = 20_000 * DAY_MS

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hub(store: Store, clock: Clock) -> Vault:
    return Vault(store, LocalKek(KEK), clock)


def other(store: Store, clock: Clock | None = None) -> Vault:
    """The vault of another process: the same store and KEK, nothing in memory."""
    return Vault(store, LocalKek(KEK), clock or Clock())


def test_what_is_sealed_opens_in_another_process(hub: Vault, store: Store) -> None:
    sealed = hub.sealer("p-1").seal(b"place", b"what happened")
    assert len(sealed) == len(b"what happened") + OVERHEAD_BYTES
    assert b"what happened" not in sealed
    assert other(store).sealer("p-1").open(b"place", sealed) == b"what happened"


def test_a_seal_opens_under_its_own_key_place_and_bytes_alone(hub: Vault) -> None:
    mine = hub.sealer("p-1")
    sealed = mine.seal(b"place", b"text")
    hub.sealer("p-2").seal(b"", b"")
    for sealer, aad, data in (
        (hub.sealer("p-2"), b"place", sealed),
        (hub.sealer("p-3"), b"place", sealed),
        (hub.hub("originals"), b"place", sealed),
        (mine, b"elsewhere", sealed),
        (mine, b"place", sealed[:-1]),
        (mine, b"place", sealed + b"\0"),
        (mine, b"place", b"\2" + sealed[1:]),
        (mine, b"place", b""),
    ):
        with pytest.raises(Unsealable):
            sealer.open(aad, data)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_changed_bit_is_noticed(place: int, bit: int) -> None:
    sealed = bytearray(_once().seal(b"aad", b"some text"))
    sealed[place % len(sealed)] ^= 1 << bit
    with pytest.raises(Unsealable):
        _once().open(b"aad", bytes(sealed))


_vaults: list[Vault] = []


def _vault() -> Vault:
    if not _vaults:
        store = Store(f"sqlite:///{Path(tempfile.mkdtemp()) / 'hub.db'}")
        store.migrate()
        _vaults.append(Vault(store, LocalKek(KEK)))
    return _vaults[0]


def _once() -> vault.Sealer:
    return _vault().sealer("p")


def test_nonces_do_not_repeat(hub: Vault) -> None:
    sealer = hub.sealer("p-1")
    assert len({sealer.seal(b"", b"")[5:17] for _ in range(2_000)}) == 2_000


def test_nonces_do_not_repeat_in_processes_that_began_as_one_nor_after_a_restart(tmp_path: Path) -> None:
    """What would betray a counter or a generator of the process's own: its state is copied by a fork."""
    made = Store(f"sqlite:///{tmp_path / 'hub.db'}")
    made.migrate()
    Vault(made, LocalKek(KEK)).sealer("p-1").seal(b"", b"")
    made.close()
    script = (
        "import os, sys\nfrom hub.kek import LocalKek\nfrom hub.store import Store\n"
        "from hub.vault import Vault\n"
        "sealer = Vault(Store(sys.argv[1]), LocalKek(bytes(range(32)))).sealer('p-1')\n"
        "sealer.seal(b'', b'')\n"
        "child = os.fork()\n"
        "told = ''.join(one[5:17].hex() + '\\n' for one in sealer.seal_all([(b'', b'')] * 500))\n"
        "os.write(1, told.encode())\n"
        "os._exit(0) if child == 0 else os.waitpid(child, 0)\n"
    )
    said = ""
    for _ in range(2):
        said += subprocess.run(
            [sys.executable, "-c", script, f"sqlite:///{tmp_path / 'hub.db'}"],
            capture_output=True, text=True, check=True, timeout=120,
        ).stdout  # fmt: skip
    nonces = said.split()
    assert len(nonces) == len(set(nonces)) == 2_000


@given(st.lists(st.tuples(st.sampled_from(["p-1", "p-2", "originals"]), st.binary(max_size=40)), max_size=12))
@settings(max_examples=30, deadline=None)
def test_the_same_sealed_again_is_never_the_same(said: list[tuple[str, bytes]]) -> None:
    """A law of the whole seal: under one key no two share a nonce, whatever was sealed and how often."""
    vault_of = _vault()
    used: set[tuple[str, bytes]] = set()
    for whose, text in said:
        sealer = vault_of.hub(whose) if whose == "originals" else vault_of.sealer(whose)
        for sealed in (sealer.seal(b"place", text), *sealer.seal_all([(b"place", text)] * 2)):
            assert (whose, sealed[1:17]) not in used
            used.add((whose, sealed[1:17]))


def test_what_is_sealed_together_opens_one_by_one_under_nonces_of_their_own(hub: Vault) -> None:
    sealer, plain = hub.hub("originals"), [b"", b"one", b"one", b"x" * 5_000] * 20
    places = [b"%d" % number for number in range(len(plain))]
    sealed = sealer.seal_all(list(zip(places, plain, strict=True)))
    assert [sealer.open(place, one) for place, one in zip(places, sealed, strict=True)] == plain
    with pytest.raises(Unsealable):
        sealer.open(places[0], sealed[4])
    assert len({one[5:17] for one in sealed}) == len(plain)
    assert sealer.seal_all([]) == []


def test_the_store_holds_no_key_in_the_clear(hub: Vault, store: Store) -> None:
    sealed = hub.sealer("p-1").seal(b"place", b"text")
    with store.read() as connection:
        row = connection.execute(sa.select(keys).where(keys.c.subject == "p-1")).one()
    assert len(row.wrapped) == 12 + 32 + 16
    for start in range(len(row.wrapped) - 31):
        with pytest.raises(InvalidTag):
            AESGCM(row.wrapped[start : start + 32]).decrypt(sealed[5:17], sealed[17:], b"place")


def test_a_wrapped_key_put_in_anothers_place_does_not_open(hub: Vault, store: Store) -> None:
    sealed = hub.sealer("p-1").seal(b"", b"text")
    hub.sealer("p-2").seal(b"", b"")
    with store.write() as connection:
        first = connection.execute(sa.select(keys.c.wrapped).where(keys.c.subject == "p-1")).scalar_one()
        connection.execute(keys.update().where(keys.c.subject == "p-2").values(wrapped=first))
    with pytest.raises(Unsealable):
        other(store).sealer("p-2").open(b"", sealed)


def test_another_kek_opens_nothing(hub: Vault, store: Store) -> None:
    sealed = hub.sealer("p-1").seal(b"", b"text")
    stranger = Vault(store, LocalKek(bytes(32)))
    with pytest.raises(Unsealable):
        stranger.sealer("p-1").open(b"", sealed)


def test_a_destroyed_key_stays_destroyed(hub: Vault, store: Store) -> None:
    sealed = hub.sealer("p-1").seal(b"", b"text")
    assert hub.destroy("p-1")
    for one in (hub, other(store)):
        with pytest.raises(Erased):
            one.sealer("p-1").open(b"", sealed)
        with pytest.raises(Erased):
            one.sealer("p-1").seal(b"", b"more")
    assert not hub.destroy("p-1")
    with store.read() as connection:
        row = connection.execute(sa.select(keys).where(keys.c.subject == "p-1")).one()
    assert row.wrapped is None
    assert row.destroyed_at is not None


def test_who_was_erased_before_a_first_seal_never_gets_a_key(hub: Vault) -> None:
    assert not hub.destroy("p-9")
    with pytest.raises(Erased):
        hub.sealer("p-9").seal(b"", b"")


def test_another_process_forgets_a_destroyed_key_within_its_bound(
    hub: Vault, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = other(store)
    sealed = elsewhere.sealer("p-1").seal(b"", b"text")
    hub.destroy("p-1")
    now = vault.time.monotonic()
    monkeypatch.setattr(vault.time, "monotonic", lambda: now + vault.CACHE_MS_MAX / 1000 + 1)
    with pytest.raises(Erased):
        elsewhere.sealer("p-1").open(b"", sealed)


def test_a_renewed_key_seals_what_comes_and_the_old_one_opens_what_was(
    hub: Vault, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, elsewhere = hub.sealer("p-1"), other(store)
    before, salt = mine.seal(b"place", b"before"), mine.derive("ledger", b"x")
    elsewhere.prefetch(["p-1"])
    assert hub.renew("p-1") == 2
    after = mine.seal(b"place", b"after")
    assert (before[1:5], after[1:5]) == (b"\0\0\0\1", b"\0\0\0\2")
    for one in (hub, elsewhere, other(store)):
        assert one.sealer("p-1").open(b"place", before) == b"before"
        assert one.sealer("p-1").open(b"place", after) == b"after"
        assert one.sealer("p-1").derive("ledger", b"x") == salt
    assert elsewhere.sealer("p-1").seal(b"", b"")[4] == 1  # for as long as it remembers
    now = vault.time.monotonic()
    monkeypatch.setattr(vault.time, "monotonic", lambda: now + vault.CACHE_MS_MAX / 1000 + 1)
    assert elsewhere.sealer("p-1").seal(b"", b"")[4] == 2
    fresh = other(store)
    fresh.prefetch(["p-1"])
    assert fresh.sealer("p-1").seal(b"", b"")[4] == 2
    with pytest.raises(Unsealable):  # the version is part of what it is bound to
        hub.sealer("p-1").open(b"place", after[:4] + b"\1" + after[5:])


def test_to_destroy_a_renewed_key_destroys_every_version_of_it(hub: Vault, store: Store) -> None:
    mine = hub.sealer("p-1")
    sealed = [mine.seal(b"", b"1")]
    hub.renew("p-1")
    sealed.append(mine.seal(b"", b"2"))
    assert hub.destroy("p-1")
    for one in sealed:
        for holder in (hub, other(store)):
            with pytest.raises(Erased):
                holder.sealer("p-1").open(b"", one)
    for again in (lambda: hub.renew("p-1"), lambda: mine.seal(b"", b"3")):
        with pytest.raises(Erased):
            again()
    with store.read() as connection:
        assert set(connection.execute(sa.select(keys.c.wrapped)).scalars()) == {None}
    with pytest.raises(Unsealable):
        hub.renew("p-nobody")


def test_a_key_that_is_destroyed_while_it_is_being_read_is_not_kept(
    hub: Vault, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row was read before the erasure, and would be put into memory after everybody forgot it."""
    sealed = hub.sealer("p-1").seal(b"", b"x")
    elsewhere, unwrapped = other(store), Vault._unwrapped

    def slow(one: Vault, *rest: Any) -> bytes:
        key = unwrapped(one, *rest)
        monkeypatch.setattr(Vault, "_unwrapped", unwrapped)
        hub.destroy("p-1")
        one.forget(["p-1"])
        return key

    monkeypatch.setattr(Vault, "_unwrapped", slow)
    with pytest.raises(Erased):
        elsewhere.sealer("p-1").open(b"", sealed)
    assert elsewhere._cache == {}


def test_memory_is_bounded(hub: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "CACHE_KEYS_MAX", 5)
    for number in range(12):
        hub.sealer(f"p-{number}").seal(b"", b"")
    assert len(hub._cache) == 5


def test_prefetch_brings_keys_in_and_makes_none(hub: Vault, store: Store) -> None:
    sealed = {f"p-{n}": hub.sealer(f"p-{n}").seal(b"", b"x") for n in range(3)}
    elsewhere = other(store)
    elsewhere.prefetch([*sealed, "p-unknown"])
    store.close()
    store.engine.dispose()
    questions: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *args: questions.append(args[2]))
    assert all(elsewhere.sealer(one).open(b"", data) == b"x" for one, data in sealed.items())
    assert questions == []
    with store.read() as connection:
        names = set(connection.execute(sa.select(keys.c.subject)).scalars())
    assert "p-unknown" not in names


def test_processes_that_come_at_once_make_one_key(store: Store) -> None:
    several = [other(store) for _ in range(6)]
    sealed: list[bytes] = []

    def seal(one: Vault) -> None:
        sealed.append(one.sealer("p-new").seal(b"", b"x"))

    threads = [threading.Thread(target=seal, args=(one,)) for one in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [several[0].sealer("p-new").open(b"", one) for one in sealed] == [b"x"] * 6


def test_originals_rotate_daily_and_open_for_ninety_days(hub: Vault, store: Store, clock: Clock) -> None:
    first = hub.hub("originals").seal(b"", b"first")
    clock.now += DAY_MS
    second = hub.hub("originals").seal(b"", b"second")
    assert first[1:5] != second[1:5]
    clock.now += 89 * DAY_MS
    assert hub.destroy_expired() == 0
    assert hub.hub("originals").open(b"", first) == b"first"
    clock.now += DAY_MS
    assert hub.destroy_expired() == 1
    with pytest.raises(Erased):
        hub.hub("originals").open(b"", first)
    assert hub.hub("originals").open(b"", second) == b"second"
    assert other(store, clock).hub("originals").open(b"", second) == b"second"


def test_secrets_do_not_rotate(hub: Vault, clock: Clock) -> None:
    sealed = hub.hub("secrets").seal(b"", b"x")
    clock.now += 4_000 * DAY_MS
    assert hub.destroy_expired() == 0
    assert hub.hub("secrets").open(b"", sealed) == b"x"


def test_a_key_is_at_hand_once_it_sealed_until_the_next_takes_over(hub: Vault, clock: Clock) -> None:
    sealer = hub.hub("originals")
    assert not sealer.at_hand()
    sealer.seal(b"", b"x")
    assert sealer.at_hand()
    assert hub.hub("originals").at_hand()
    clock.now += DAY_MS
    assert not sealer.at_hand()
    sealer.seal(b"", b"x")
    assert sealer.at_hand()


def test_a_purpose_that_nobody_declared_is_refused(hub: Vault) -> None:
    with pytest.raises(KeyError):
        hub.hub("whatever")


def test_keyed_hashes_repeat_and_differ_by_purpose_and_hub(hub: Vault, store: Store, tmp_path: Path) -> None:
    one = hub.mac("event-id", b"data")
    assert one == other(store).mac("event-id", b"data")
    elsewhere = Store(f"sqlite:///{tmp_path / 'second.db'}")
    elsewhere.migrate()
    others = {hub.mac("crosswalk", b"data"), hub.mac("event-id", b"datb")}
    others.add(Vault(elsewhere, LocalKek(KEK)).mac("event-id", b"data"))
    elsewhere.close()
    assert len(others | {one}) == 4
    assert len(bytes.fromhex(one)) == 32


def the_only(source: KekSource) -> KeyWrapper:
    """The KEK of a source that has one."""
    (found,) = source.keks().values()
    return found


class TestKek:
    """Where the key-encryption key comes from."""

    def test_is_made_once_for_the_owner_alone(self, tmp_path: Path) -> None:
        first = kek.load(tmp_path / "data", {}, create=True)
        path = tmp_path / "data" / "kek"
        assert path.stat().st_mode & 0o777 == 0o600
        assert os.listdir(path.parent) == ["kek"]
        assert the_only(kek.load(tmp_path / "data", {}, create=True)).id == the_only(first).id
        wrapped = the_only(first).wrap(b"c", b"k" * 32)
        again = the_only(kek.load(tmp_path / "data", {}, create=False))
        assert again.unwrap(b"c", wrapped) == b"k" * 32

    def test_is_not_made_anew_where_keys_are_wrapped_already(self, tmp_path: Path) -> None:
        with pytest.raises(KekInvalid, match="missing"):
            kek.load(tmp_path, {}, create=False)
        assert os.listdir(tmp_path) == []

    def test_of_several_that_start_at_once_one_wins(self, tmp_path: Path) -> None:
        ids: list[str] = []
        threads = [
            threading.Thread(target=lambda: ids.append(the_only(kek.load(tmp_path, {}, create=True)).id))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ids) == 8
        assert len(set(ids)) == 1

    def test_comes_from_the_environment_before_the_file(self, tmp_path: Path) -> None:
        text = base64.b64encode(KEK).decode()
        given_file = tmp_path / "secret"
        given_file.write_text(text + "\n")
        given_file.chmod(0o400)
        expected = LocalKek(KEK).id
        assert the_only(kek.load(tmp_path, {"HUB_KEK": text}, create=True)).id == expected
        assert the_only(kek.load(tmp_path, {"HUB_KEK_FILE": str(given_file)}, create=True)).id == expected

    @pytest.mark.parametrize("text", ["", "short", base64.b64encode(b"x" * 31).decode(), "ü" * 44])
    def test_malformed_ones_are_refused_without_being_shown(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "kek"
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(KekInvalid) as caught:
            kek.load(tmp_path, {}, create=True)
        assert not text or text not in str(caught.value)

    def test_one_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        kek.load(tmp_path, {}, create=True)
        (tmp_path / "kek").chmod(0o644)
        with pytest.raises(KekInvalid, match="chmod"):
            kek.load(tmp_path, {}, create=True)


def test_what_is_derived_is_the_same_everywhere_and_dies_with_the_key(hub: Vault, store: Store) -> None:
    mine = hub.sealer("p-1")
    salt = mine.derive("ledger", b"decisions/0/7")
    assert len(salt) == 32
    assert other(store).sealer("p-1").derive("ledger", b"decisions/0/7") == salt
    others = [
        mine.derive("ledger", b"decisions/0/8"),
        mine.derive("elsewhere", b"decisions/0/7"),
        hub.sealer("p-2").derive("ledger", b"decisions/0/7"),
    ]
    assert len({salt, *others}) == 4
    hub.destroy("p-1")
    for vault_of in (hub, other(store)):
        with pytest.raises(Erased):
            vault_of.sealer("p-1").derive("ledger", b"decisions/0/7")


def test_the_key_that_signs_is_made_once_and_is_wrapped(hub: Vault, store: Store) -> None:
    seed = hub.signing_seed("log")
    assert (len(seed), other(store).signing_seed("log")) == (32, seed)
    assert hub.signing_seed("another") != seed
    with store.read() as connection:
        wrapped = connection.execute(sa.select(keys.c.wrapped).where(keys.c.kind == "sign")).scalars().all()
    assert len(wrapped) == 2
    assert all(seed not in one for one in wrapped)
