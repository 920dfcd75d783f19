"""The embedded broker's process: which java, with which words, on which files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from string import Template
from typing import Final

from hub import authority, leash
from hub.errors import BrokerFailed, JarsMissing, JavaMissing
from hub.settings import Settings

FORMAT_MS_MAX: Final = 180_000  # a cold disk and a busy machine take their time
LOG_TAIL_BYTES_MAX: Final = 16_384
ARCHIVE: Final = "broker.jsa"  # its classes as set-up kept them: a start takes half as long with it
RESOURCES: Final = Path(__file__).parent / "kafka"

Ports = tuple[int, int]  # for clients, for the controller


def java(settings: Settings) -> str:
    """The java to run. Raises `JavaMissing`, `JarsMissing`. Whether it is new enough shows when it starts."""
    home = os.environ.get("JAVA_HOME")
    named = settings.java or (f"{home}/bin/java" if home else "java")
    found = shutil.which(named)
    if found is None:
        raise JavaMissing(
            f"the embedded broker needs Java 17 or newer, and `{named}` is not there",
            "Run `make setup`; or name a cluster in `HUB_KAFKA_BOOTSTRAP`.",
        )
    if not any(settings.jars.glob("kafka_2.13-*.jar")):
        raise JarsMissing(f"the embedded broker's jars are not in `{settings.jars}`", "Run `make setup`.")
    return found


def format_data(settings: Settings, java_path: str) -> None:
    """Make a new broker's data folder; whole or not at all. Leaves an existing one as it is."""
    data, new = settings.broker_dir / "data", settings.broker_dir / "data.new"
    if data.exists():
        return
    shutil.rmtree(new, ignore_errors=True)
    properties = _properties(settings, (1, 2), new)
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    console = settings.broker_dir / "logs" / "console.log"
    with console.open("wb") as out:
        process = leash.spawn(
            [
                *_command(settings, java_path),
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={cluster}",  # as one word, for one in 64 begins with a dash
                "-c",
                properties,
            ],
            stdout=out,
        )
        try:
            status = process.wait(FORMAT_MS_MAX / 1000)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
    if status != 0:
        raise failed("the embedded broker's data folder could not be made", settings.broker_dir)
    new.rename(data)


def launch(
    settings: Settings, java_path: str, ports: Ports, lock: int, background: bool
) -> subprocess.Popen[bytes]:
    """Start the broker's process on `ports`, with the lock in its hands."""
    folder = settings.broker_dir
    properties = _properties(settings, ports, folder / "data")
    command = [*_command(settings, java_path), "kafka.Kafka", properties]
    with (folder / "logs" / "console.log").open("wb") as out:
        if not background:
            return leash.spawn(command, stdout=out, pass_fds=(lock,))
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            pass_fds=(lock,),
            start_new_session=True,
        )


def _command(settings: Settings, java_path: str) -> list[str]:
    archive = settings.jars / ARCHIVE
    return [
        java_path,
        f"-Xmx{settings.broker_heap_mb}m",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        *([f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []),
        "-Djava.awt.headless=true",
        f"-Dhub.broker.logs={settings.broker_dir / 'logs'}",
        f"-Dlog4j2.configurationFile={RESOURCES / 'log4j2.properties'}",
        "-cp",
        f"{settings.jars}/*",
    ]


def _properties(settings: Settings, ports: Ports, data: Path) -> str:
    """Write `server.properties` for these ports, and the certificates that it names. Out: its path."""
    names = ["server.properties"]
    if settings.guarded:
        names.append("agencies.properties")
        authority.prepare(settings.broker_tls, str(settings.kafka_agencies).rpartition(":")[0])
    template = Template("".join((RESOURCES / name).read_text() for name in names))
    values = {
        "port": ports[0],
        "controller_port": ports[1],
        "data": data,
        "tls": settings.broker_tls,
        "agencies": settings.kafka_agencies,
    }
    path = settings.broker_dir / "server.properties"
    write(path, template.substitute(values))
    return str(path)


def said(folder: Path) -> str:
    """The end of what the broker wrote since it was started."""
    ends = (
        path.read_bytes()[-LOG_TAIL_BYTES_MAX:]
        for name in ("console.log", "server.log")
        if (path := folder / "logs" / name).exists()
    )
    return b"".join(ends).decode(errors="replace")


_CAUSE: Final = re.compile(r"Exception|Error|\b(?:ERROR|FATAL)\b")


def failed(problem: str, folder: Path) -> BrokerFailed | JavaMissing:
    """What to raise for a broker that failed, from what it said."""
    text = said(folder)
    if "UnsupportedClassVersionError" in text:
        return JavaMissing(
            "the embedded broker needs Java 17 or newer, and this one is older", "Run `make setup`."
        )
    causes = [line.strip() for line in text.splitlines() if _CAUSE.search(line)]
    return BrokerFailed(f"{problem}: {causes[-1] if causes else 'it said nothing'}", f"See `{folder}/logs`.")


def write(path: Path, text: str) -> None:
    """Replace a file whole, so that no reader ever sees a part of it."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)
