"""Key-encryption keys in a hardware security module: SoftHSM, through its PKCS#11 door."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub import kek, rewrapping
from hub.kek import KekInvalid, KekSource
from hub.vault import Vault
from schemas.errors import Unsealable
from tests import stores

MODULES = sorted([*Path("/usr/lib").glob("*/softhsm/lib*2.so"), *Path("/usr/lib").glob("softhsm/lib*2.so")])
pytestmark = pytest.mark.skipif(
    not MODULES or shutil.which("softhsm2-util") is None,
    reason="no SoftHSM (apt-get install softhsm2): key-encryption keys in a module are not tested",
)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A token of its own; out: where it is, without the object."""
    folder = tmp_path_factory.mktemp("hsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    pin = folder / "pin"
    pin.write_text(secrets.token_hex(4))
    pin.chmod(0o600)
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")  # the module reads it from the environment
    made = [
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        "hub",
        "--pin",
        pin.read_text(),
        "--so-pin",
        "12345678",
    ]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    yield f"pkcs11:token=hub;object=OBJECT?module-path={MODULES[0]}&pin-source=file:{pin}"
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


def source(token: str, label: str, create: bool = True) -> KekSource:
    return kek.load(Path("/nowhere"), {"HUB_KEK_HSM": token.replace("OBJECT", label)}, create=create)


def test_it_wraps_in_the_module_and_opens_nothing_else(token: str) -> None:
    (one,) = source(token, "first").keks().values()
    wrapped = one.wrap(b"context", b"k" * 32)
    assert len(wrapped) == 12 + 32 + 16
    assert b"k" * 32 not in wrapped
    assert one.unwrap(b"context", wrapped) == b"k" * 32
    assert one.wrap(b"context", b"k" * 32) != wrapped
    (again,) = source(token, "first", create=False).keks().values()
    assert (again.id, again.unwrap(b"context", wrapped)) == (one.id, b"k" * 32)
    for context, data in ((b"other", wrapped), (b"context", wrapped[:-1] + b"\0"), (b"context", b"")):
        with pytest.raises(Unsealable):
            one.unwrap(context, data)
    assert one.unwrap(b"context", wrapped) == b"k" * 32  # it goes on after what was wrong


def test_a_vault_stands_on_it_and_it_is_replaced_and_destroyed_there(token: str, tmp_path: Path) -> None:
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        running = Vault(store, source(token, "second"))
        sealed = {f"p-{n}": running.sealer(f"p-{n}").seal(b"", b"x") for n in range(10)}
        (old,) = source(token, "second").keks()
        done = rewrapping.rotate(store, source(token, "second"))
        assert (done.keys, done.destroyed) == (10, (old,))
        assert list(source(token, "second").keks()) == [done.kek]
        running._cache.clear()
        assert all(running.sealer(who).open(b"", data) == b"x" for who, data in sealed.items())


def test_it_moves_from_the_hubs_file_into_the_module_and_the_file_is_gone(token: str, tmp_path: Path) -> None:
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        sealed = Vault(store, kek.load(tmp_path, {}, create=True)).sealer("p-1").seal(b"", b"x")
        moving = {"HUB_KEK_HSM": token.replace("OBJECT", "third")}
        running = Vault(store, kek.load(tmp_path, moving, create=False))
        assert running.sealer("p-1").open(b"", sealed) == b"x"
        done = rewrapping.rotate(store, kek.load(tmp_path, moving, create=False))
        assert (done.keys, done.left, (tmp_path / kek.FILE).exists()) == (1, (), False)
        running._cache.clear()
        assert running.sealer("p-1").open(b"", sealed) == b"x"
        assert Vault(store, kek.load(tmp_path, moving, create=False)).sealer("p-1").open(b"", sealed) == b"x"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"token=hub": "token=other"}, "cannot be used"),
        ({"pin-source=file:": "pin-source=file:/no"}, "cannot be read"),
        ({"object=OBJECT": ""}, "does not say"), ({"pkcs11:": "https:"}, "does not say"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_words(token: str, change: dict[str, str], says: str) -> None:
    for old, new in change.items():
        token = token.replace(old, new)
    with pytest.raises(KekInvalid, match=says):
        source(token, "OBJECT")


def test_a_pin_that_others_may_read_is_refused(token: str, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("1234")
    (tmp_path / "pin").chmod(0o644)
    with pytest.raises(KekInvalid, match="chmod"):
        source(token.partition("&")[0] + f"&pin-source=file:{tmp_path / 'pin'}", "OBJECT")
