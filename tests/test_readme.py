"""The README's commands do what it says, in its order, as a newcomer would type them; then an auditor's."""

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
EXECUTED = ("README.md", "docs/audit.md")
PEERS = [ROOT / "tests" / "peers" / name for name in ("auditor", "tessera")]
GO = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin") or ""
READY_S_MAX = 90
WALK_S_MAX = 480


def go() -> bool:
    """Whether there is a Go that can run the auditors' programs; else what is Go's is left out."""
    if not GO:
        return False
    env = os.environ | {"GOTOOLCHAIN": "local"}
    asked = [GO, "list", "-deps", "."]
    return all(
        subprocess.run(asked, cwd=peer, env=env, capture_output=True, check=False).returncode == 0
        for peer in PEERS
    )


def blocks() -> list[tuple[bool, str]]:
    """Every fenced block in order: whether it is a command, and its text."""
    found = [each for name in EXECUTED for each in BLOCK.findall((ROOT / name).read_text())]
    kinds = {"", "sh", "go"} if go() else {"", "sh"}
    return [(bool(kind), text.strip()) for kind, text in found if kind in kinds]


def script(texts: list[tuple[bool, str]]) -> str:
    """One shell script of all commands; what the README shows as output must be in the output above it."""
    lines = ["set -eu -o pipefail"]
    for command, text in texts:
        if command and text == "make setup":
            continue  # it ran before this test could
        if command and text.endswith("\nhub up"):
            lines += [
                text + ' >"$HUB_DATA/up.log" 2>&1 &',
                "UP=$!",
                "trap 'kill -TERM $UP; wait $UP || true' EXIT",
            ]
            lines.append(
                f"for _ in $(seq {READY_S_MAX}); do "
                'curl -fsS -o /dev/null "http://127.0.0.1:$HUB_WEB_PORT/readyz" 2>/dev/null && break; '
                "sleep 1; done"
            )
        elif command:
            lines.append(f'{{ {text}\n}} >"$HUB_DATA/last.txt" 2>&1; cat "$HUB_DATA/last.txt"')
        else:
            lines += [f'grep -qF -- "{line}" "$HUB_DATA/last.txt"' for line in text.splitlines()]
    return "\n".join(lines)


@pytest.mark.broker
@pytest.mark.timeout(WALK_S_MAX + 60)
def test_a_newcomers_way_through_the_readme(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {"HUB_DATA": str(tmp_path), "HUB_WEB_PORT": str(port), "HUB_CHECKPOINT_MS": "500"}
    env |= {"PATH": f"{env['PATH']}:{Path(GO).parent}", "GOTOOLCHAIN": "local", "TMPDIR": str(tmp_path)}
    env.pop("HUB_KAFKA_BOOTSTRAP", None)
    said = tmp_path / "said.log"
    with said.open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-c", script(blocks())],
            cwd=ROOT,
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        shell.wait(WALK_S_MAX)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    assert shell.returncode == 0, said.read_text()[-5000:] + (tmp_path / "up.log").read_text()[-3000:]


def test_the_readme_names_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_the_documents_name_tests_that_exist() -> None:
    """Whoever doubts a line of them finds what tries to break it."""
    named = 0
    for document in (ROOT / "docs").glob("*.md"):
        for line in document.read_text().splitlines():
            path = ""
            for found, name in re.findall(r"`(tests/test_\w+\.py|…)?(?:::)?(test_\w+)?`", line):
                path = found if found not in ("", "…") else path
                if name and path and (found or line.startswith("|")):
                    named += 1
                    assert f"def {name}(" in (ROOT / path).read_text(), f"{document.name}: {path}::{name}"
    assert named > 30
