"""Stores to test on: SQLite in a folder; and PostgreSQL as an unprivileged user, where it is installed."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub.store import Store

UP_S_MAX = 30.0
USER = "hubtests"


def _programs() -> Path | None:
    """Where `initdb` and `postgres` are: the newest version that Debian installed, else those of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("postgres")
    return Path(elsewhere).parent if elsewhere else None


def _nobody() -> str | None:
    """A user to run it as: PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return None
    names = {one.pw_name for one in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextlib.contextmanager
def running() -> Iterator[str]:
    """A PostgreSQL of this run's own; out: the address of its server, to which a database's name is added."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: `apt-get install postgresql`, or `make test` as root")
    folder, user = Path(tempfile.mkdtemp(prefix="hub-postgres-")), _nobody()
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    run = {"user": user} if user is not None else {}
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N"],
        check=True,
        capture_output=True,
        cwd=folder,
        **run,
    )
    with (folder / "log").open("wb") as said:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
            stdout=said,
            stderr=said,
            cwd=folder,
            **run,
        )
    address = f"postgresql+psycopg://{USER}@/{{}}?host={folder}"
    try:
        deadline = time.monotonic() + UP_S_MAX
        while not _answers(address.format("postgres")):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not come up"
            time.sleep(0.05)
        yield address
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(UP_S_MAX)
        shutil.rmtree(folder)


def _answers(address: str) -> bool:
    engine = sa.create_engine(address)
    try:
        with engine.connect():
            return True
    except sa.exc.OperationalError:
        return False
    finally:
        engine.dispose()


def database(address: str) -> str:
    """An empty database on a running server; out: its address."""
    name = f"hub_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(address.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return address.format(name)


@contextlib.contextmanager
def opened(url: str) -> Iterator[Store]:
    """A store with its tables."""
    store = Store(url)
    store.migrate()
    try:
        yield store
    finally:
        store.close()
