"""The `hub` command: every command of its table exists, explains itself, and is imported only when called."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hub import cli
from hub.errors import OperatorError


def hub(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "hub"), *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def subcommands(command: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The paths of all commands at and below this one."""
    below = getattr(command, "commands", {})
    return [path] + [found for name, one in below.items() for found in subcommands(one, (*path, name))]


def every_command() -> list[tuple[str, ...]]:
    """Every command that there is, as its words."""
    return [path for name in cli.COMMANDS for path in subcommands(cli.load(name), (name,))]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_of_the_table_exists(name: str) -> None:
    assert cli.load(name).name == name


def test_every_command_says_what_it_does_with_an_example() -> None:
    runner = CliRunner()
    silent = []
    for path in every_command():
        shown = runner.invoke(cli.app, [*path, "--help"])
        assert shown.exit_code == 0, path
        if not re.search(r"Examples?:\s+(\S+\s+\|\s+)?hub", shown.stdout):
            silent.append(" ".join(path))
    assert not silent


def test_it_says_which_version_it_is() -> None:
    said = CliRunner().invoke(cli.app, ["--version"])
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert (said.exit_code, said.stdout) == (0, f"hub {project['version']}\n")


def test_the_list_of_commands_imports_none_of_them(tmp_path: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from hub import cli;"
        "assert CliRunner().invoke(cli.app, ['--help']).exit_code == 0;"
        "print([name for name in sys.modules if name.startswith(('hub.', 'fastapi', 'confluent_kafka'))])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert shown.stdout == "['hub.cli']\n"


@pytest.mark.parametrize(
    "words", [["nosuch"], ["run", "nosuch"], ["run"], ["broker", "nosuch"], ["up", "--nosuch"]]
)
def test_a_wrong_call_has_exit_status_2_and_nothing_on_standard_output(
    tmp_path: Path, words: list[str]
) -> None:
    done = hub(*words, folder=tmp_path)
    assert done.returncode == 2
    assert not done.stdout
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_the_nearest_command_is_named(tmp_path: Path) -> None:
    assert "Did you mean 'broker'?" in hub("brokr", folder=tmp_path).stderr


def test_an_unknown_setting_is_one_line_and_a_wrong_call(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text("web_prot = 1\n")
    done = hub("up", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hub: unknown setting `web_prot` in `hub.toml`; did you mean `web_port`?\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub.toml"]


def test_what_an_operator_can_mend_is_one_line_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(**_: object) -> None:
        raise OperatorError("it is broken", "Mend it.")

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "hub: it is broken. Mend it.\n"


def test_a_stage_without_a_broker_says_what_to_start(tmp_path: Path) -> None:
    done = hub("run", "enforce", folder=tmp_path, HUB_DATA=str(tmp_path / "data"))
    assert done.returncode == 1
    assert "hub: no broker is running on" in done.stderr
    assert "hub broker start" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_topology_is_drawn_without_a_broker_or_data(tmp_path: Path) -> None:
    drawn = hub("topology", folder=tmp_path, HUB_DATA=str(tmp_path / "data"))
    assert drawn.returncode == 0
    for word in ("admit", "enforce", "consent", "outbox.*"):
        assert word in drawn.stdout
    listed = json.loads(hub("topology", "--json", folder=tmp_path).stdout)
    assert listed["enforce"]["beside"] == ["consent"]
    assert not list(tmp_path.iterdir())


def test_commands_that_print_data_print_json_when_asked() -> None:
    printing = {("broker", "status"), ("doctor",), ("explain",), ("topology",), ("agency", "list"), ("up",)}
    for path in printing:
        command = cli.load(path[0])
        for name in path[1:]:
            command = command.commands[name]  # type: ignore[attr-defined]
        assert isinstance(command, typer.core.TyperCommand)
        assert "--json" in {option for parameter in command.params for option in parameter.opts}, path
