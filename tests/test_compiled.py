"""The hot path as `setup/compile.sh` compiles it: the same answers, the same bytes, the same refusals.

What the other tests say of the sources is asked here of what the image runs, by processes that find the
compiled packages in front of the checkout's.
"""

import os
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
COMPILED = CHECKOUT / "build/compiled"
HEADER = Path(sysconfig.get_path("include")) / "Python.h"
MODEL_CASES = 20_000
TESTS = ("raw", "templates", "alike", "fold", "decide", "enforce")

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(
        shutil.which(os.environ.get("CC", "cc")) is None or not HEADER.exists(),
        reason="there is no C compiler, or none of Python's headers: nothing can be compiled",
    ),
]


def named() -> list[str]:
    """The files that pyproject.toml has compiled."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    hook = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]
    return [name.removeprefix("/") for name in hook["include"]]


def compile_sh(**more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CHECKOUT / "setup/compile.sh")],
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def compiled() -> Path:
    done = compile_sh()
    assert done.returncode == 0, done.stderr
    return COMPILED


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """A Python process that has the compiled packages, and the checkout's tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"TESTS_COMPILED": "1"}
    command = [str(COMPILED / "bin/python"), *words]
    return subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_what_is_named_is_compiled_and_nothing_else(compiled: Path) -> None:
    made = {one.relative_to(compiled).as_posix() for one in compiled.glob("*/*.so")}
    assert {f"{one.split('.')[0]}.py" for one in made} == set(named())
    modules = [name.removesuffix(".py").replace("/", ".") for name in named()]
    source = f"import {', '.join(modules)}\n" + "".join(f"print({one}.__file__)\n" for one in modules)
    said = run("-c", source)
    assert said.returncode == 0, said.stderr
    assert {Path(one).relative_to(compiled).as_posix() for one in said.stdout.split()} == made


def test_it_is_a_hub_that_says_what_it_is_and_leaves_the_checkout_alone(compiled: Path) -> None:
    ours = subprocess.run(
        [str(compiled / "bin/hub"), "--version"], capture_output=True, text=True, check=True
    )
    assert ours.stdout.endswith(" (compiled)\n")
    assert not [*(CHECKOUT / "streams").glob("*.so"), *CHECKOUT.glob("*.so")]


def test_nothing_is_compiled_twice(compiled: Path) -> None:
    before = (compiled / ".stamp").stat().st_mtime_ns
    again = compile_sh()
    assert (again.returncode, again.stderr) == (0, "")
    assert (compiled / ".stamp").stat().st_mtime_ns == before


def test_without_a_compiler_it_says_what_to_install(compiled: Path) -> None:
    said = compile_sh(CC="no-such-compiler")
    assert said.returncode == 1
    assert "apt-get install gcc" in said.stderr


def test_it_agrees_with_the_model_of_the_rule(compiled: Path) -> None:
    said = run("-m", "tests.agree", "--count", str(MODEL_CASES), "--seed", "7000000")
    assert said.returncode == 0, said.stderr[-3_000:]
    assert "permit" in said.stdout or "consent" in said.stdout


def test_every_test_of_the_hot_path_holds_of_it(compiled: Path) -> None:
    """But for those that exchange its insides, which cannot be exchanged once they are compiled."""
    files = [f"tests/test_{name}.py" for name in TESTS]
    options = ("-q", "-n0", "-p", "no:cacheprovider", "--import-mode=append", "--no-header")
    said = run("-m", "pytest", *options, *files)
    assert said.returncode == 0, said.stdout[-6_000:] + said.stderr[-3_000:]
    assert int(said.stdout.split(" passed")[0].split()[-1]) > 1_000
