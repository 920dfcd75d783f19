"""A wire between a browser and the hub that can be cut: no network, for everything in the browser alike."""

import contextlib
import socket
import threading
from urllib.parse import urlsplit

CHUNK_BYTES = 65_536


class Relay:
    """Passes bytes on to `target` (an http address) for as long as it is whole. Its own is `address`."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._open: set[socket.socket] = set()
        self._whole = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """From now on nothing passes."""
        self._whole = False
        for one in list(self._open):
            self._end(one)

    def mend(self) -> None:
        """What comes from now on passes."""
        self._whole = True

    def close(self) -> None:
        """End it."""
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                self._open.add(near)
                try:
                    far = socket.create_connection(self._target) if self._whole else None
                except OSError:
                    far = None
                if far is None:
                    self._end(near)
                    continue
                self._open.add(far)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while self._whole and (some := one.recv(CHUNK_BYTES)):
                other.sendall(some)
        self._end(one)
        self._end(other)

    def _end(self, one: socket.socket) -> None:
        self._open.discard(one)
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
