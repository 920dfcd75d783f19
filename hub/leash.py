"""Child processes that cannot outlive this one, however it ends.

Each child starts as this very file, which asks the kernel to kill it when its parent dies, and then becomes
the command. The kernel means the parent's *thread*, so a thread that lasts as long as the child starts it. A
parent that died before the request is noticed by its id. Linux alone can do this.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any, Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def spawn(
    command: Sequence[str],
    *,
    stdout: IO[Any] | int | None = None,
    stdin: IO[Any] | int | None = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    env: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command`, killed by the kernel when this process ends.

    In: the command and its arguments; `stdout` takes standard error too, None leaves both as ours.
    Out: the process, in a session of its own, so that Ctrl-C at our terminal is ours to pass on.
    Raises `OSError` as `subprocess.Popen` does.
    """
    leashed = [
        sys.executable,
        "-I",
        "-S",
        os.path.abspath(__file__),
        str(os.getpid()),
        *map(os.fspath, command),
    ]
    started: list[subprocess.Popen[bytes] | OSError] = []
    ready = threading.Event()

    def hold() -> None:
        try:
            child = subprocess.Popen(
                leashed,
                stdin=stdin,
                stdout=stdout,
                stderr=None if stdout is None else subprocess.STDOUT,
                pass_fds=pass_fds,
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            started.append(error)
            ready.set()
            return
        started.append(child)
        ready.set()
        child.wait()

    threading.Thread(target=hold, name="leash", daemon=True).start()
    ready.wait()
    if isinstance(started[0], OSError):
        raise started[0]
    return started[0]


def _become(parent: int, command: list[str]) -> None:
    """Runs in the child: bind its life to the parent's, then become `command`."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"leash: the kernel refused: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("leash: the parent ended before its child began")
    os.execvp(command[0], command)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
