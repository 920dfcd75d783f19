"""The web's process: its clients in the loop that uses them, the server, and an end within a bound."""

import asyncio
import contextlib
import resource
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.loops.auto import auto_loop_factory

from connectors.fence import Fence
from connectors.follower import Follower
from hub import peer
from hub.appender import Appender
from hub.clients import as_aiokafka
from hub.health import Pulse
from hub.parts import Parts
from hub.settings import Settings
from hub.web import create_app

STOP_S_MAX: Final = 5
CONNECTIONS_MAX: Final = 4_000  # live pages stay connected
FILES: Final = 512  # open besides connections: the store, Kafka
KEEP_ALIVE_S: Final = 20
BEAT_S: Final = 0.1


def run(
    settings: Settings,
    client: Mapping[str, Any],
    appender: Appender,
    put_together: Callable[[Follower], Parts],
    stop: threading.Event,
) -> None:
    """Serve the web until `stop` is set.

    In: librdkafka settings of a client; the way to the log; what makes the parts from the fence's follower.
    """
    with runner() as loop:
        loop.run(_run(settings, client, appender, put_together, stop))


def runner() -> asyncio.Runner:
    """Runs what is served, in the loop that the server likes best."""
    return asyncio.Runner(loop_factory=auto_loop_factory())


async def _run(
    settings: Settings,
    client: Mapping[str, Any],
    appender: Appender,
    put_together: Callable[[Follower], Parts],
    stop: threading.Event,
) -> None:
    pulse = Pulse(settings.run_dir, "web")
    pulse.beat("starting")
    fence = Fence(settings.partitions, settings.send_ms_max)
    fences = Follower(as_aiokafka(client), fence, settings.partitions, appender)
    try:
        await fences.start()
        app = create_app(put_together(fences))
        fences.listen(lambda _, record: app.state.streams.heard(record))
        visiting = asyncio.create_task(app.state.visits.run(stop))
        await serve(
            app,
            settings,
            stop,
            lambda address: pulse.beat("running", address=address),
            lambda listens: pulse.beat("running" if listens else "starting"),
        )
        await visiting
    finally:
        pulse.beat("stopping")
        await fences.stop()
        pulse.close()


class Server(uvicorn.Server):
    """Uvicorn, ended by an event of ours: the process has its own way of hearing signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As it is, and no connection is left open: not of who came while it ended, whom uvicorn waits for
        until its bound without ever telling them, nor of who does not take an answer.
        """
        telling = asyncio.create_task(self._tell_late_ones())
        try:
            await super().shutdown(sockets)
        finally:
            telling.cancel()
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)

    async def _tell_late_ones(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S / 2)
            for connection in list(self.server_state.connections):
                connection.shutdown()


async def serve(
    app: FastAPI,
    settings: Settings,
    stop: threading.Event,
    listening: Callable[[str], None] = lambda address: None,
    beat: Callable[[bool], None] = lambda listens: None,
) -> None:
    """Serve until `stop` is set, then end within `STOP_S_MAX` seconds, live pages first.

    In: what is told the address, once somebody listens there; what is called many times a second, and told
    whether anybody listens yet.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S_MAX,
        ws="none",
        **_tls(settings),
    )
    _files(CONNECTIONS_MAX + FILES)
    server = Server(config)
    with bound(settings.web_host, settings.web_port) as listener:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if listener.family == socket.AF_INET6 else host
        serving = asyncio.create_task(server.serve([listener]))
        told = False
        while not stop.is_set() and not serving.done():
            if server.started and not told:
                listening(f"{'http' if settings.web_certificate is None else 'https'}://{shown}:{port}")
                told = True
            beat(told)
            await asyncio.wait([serving], timeout=BEAT_S)
        app.state.streams.close()
        server.should_exit = True
        await serving


def bound(host: str, port: int) -> socket.socket:
    """A socket for the server to listen on. Raises `OSError` where the address cannot be had.

    It says that it speaks TCP: asyncio lets what is accepted send at once only where it is told so, and
    otherwise an answer's body waits for up to 40 ms until the other side has confirmed the head.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def _tls(settings: Settings) -> dict[str, Any]:
    """What uvicorn needs for TLS; from clients it wants a certificate only where they have one to show."""
    if settings.web_certificate is None:
        return {}
    found: dict[str, Any] = {"ssl_certfile": settings.web_certificate, "ssl_ciphers": peer.CIPHERS}
    if settings.web_client_ca is not None:
        found |= {
            "ssl_ca_certs": str(settings.web_client_ca),
            "ssl_cert_reqs": ssl.CERT_OPTIONAL,
            "http": peer.PeerProtocol,
        }
    return found


def _files(count: int) -> None:
    """Let this process have so many files open, or as many as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
