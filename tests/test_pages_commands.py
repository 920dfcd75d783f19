"""Every command that an integrator's page shows is one that the program takes, with those options."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from hub.cli import app

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted([*(DOCS / "connectors").glob("*.md"), DOCS / "mapping.md", DOCS / "fhir.md"])
SHOWN = re.compile(r"^ *(hub [a-z].*)$", re.MULTILINE)


def shown(page: Path) -> list[list[str]]:
    """The commands that stand on lines of their own, as a shell takes them apart."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    return [shlex.split(re.split(r"\s[<|]\s", line)[0], comments=True)[1:] for line in SHOWN.findall(text)]


@pytest.mark.parametrize("page", [page for page in PAGES if shown(page)], ids=lambda page: page.name)
def test_the_commands_of_a_page_are_taken(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for asked in shown(page):
        for word in asked:
            if re.fullmatch(r"[a-z.-]+\.(xml|csv|json|zip|toml|txt)", word):
                Path(word).touch()
        command, left = typer.main.get_command(app), asked
        context = command.make_context("hub", list(left))
        while context._protected_args or hasattr(command, "commands"):
            name, command, left = command.resolve_command(context, [*context._protected_args, *context.args])
            context = command.make_context(name, list(left), parent=context)  # refuses what it does not know
            command = context.command
        assert not context.args, asked
