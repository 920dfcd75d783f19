"""`hub caseload`: acts in the log, by the hub's id or the organisation's own; and who has how many."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub import caseload, doctor, settings
from hub.crosswalk import local_hash
from hub.store import upsert
from hub.tables import crosswalk
from tests import stores
from tests.office import ORG, Office

RUN = CliRunner()


class Here(Office):
    """An office in place of the whole hub."""

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        return


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        made = Here(store)
        link = {"agency": ORG, "participant": "p-1", "sealed": b"", "at": 0, "offset": 0}
        local = local_hash(made.vault, ORG, "4711")
        with store.write() as connection:
            upsert(connection, crosswalk, [{**link, "local": local}])
        monkeypatch.setattr(caseload, "_hub", lambda: contextlib.nullcontext(made))
        yield made


def run(*args: str, status: int = 0) -> Any:
    answer = RUN.invoke(caseload.app, args)
    assert answer.exit_code == status, answer.output
    return answer


def listed() -> dict[str, Any]:
    return {row["account"]: row for row in json.loads(run("list", ORG, "--json").stdout)}


def test_who_works_with_whom_is_said_on_the_command_line(office: Here) -> None:
    run("assign", ORG, "4711", "ana", "--own")
    assert office.caseloads.people(ORG, "ana") == ["p-1"]
    run("join", ORG, "night", "ben", "--lead")
    run("cover", ORG, "ana", "ben", "--from", "2020-01-01T00:00:00Z", "--until", "2020-01-02T00:00:00Z")
    found = listed()
    assert (found["ana"]["people"], found["ana"]["covered_by"]) == (1, [])
    assert (found["ben"]["teams"], found["ben"]["leads"]) == (["night"], ["night"])
    assert "zoe" not in found, "another organisation's"
    run("unassign", ORG, "p-1", "ana")
    run("leave", ORG, "night", "ben")
    assert listed()["ana"]["people"] == 0
    assert listed()["ben"]["teams"] == []
    assert "4711" not in run("list", ORG).stdout
    assert {one["by"] for one in office.log.values("work")} == {"operator"}


def test_who_is_not_linked_is_not_assigned_and_not_named(office: Here) -> None:
    answer = run("assign", ORG, "Rosa", "ana", "--own", status=1)
    assert "Rosa" not in str(answer.exception)
    run("assign", "elsewhere", "p-1", "zoe", status=1)
    run("assign", ORG, "p-1", "zoe", status=1)
    assert office.log.values("work") == []


def test_the_doctor_reads_a_programs_rules(tmp_path: Path) -> None:
    def finding(**more: Any) -> doctor.Finding:
        configured = settings.load(data=tmp_path / "none", **more)
        return next(one for one in doctor.examine(configured) if one.name == "alerts")

    own = tmp_path / "rules.toml"
    own.write_text("[[rule]]\nname = 'crisis'\nurgency = 'loud'\n")
    wrong = finding(alert_rules=own)
    assert (wrong.state, "rule 1 (`crisis`): `urgency`" in wrong.says) == ("wrong", True)
    assert finding(alert_rules=tmp_path / "nowhere").state == "wrong"
    assert finding(push_contact="mailto:hub@reach.example").says.endswith("by push")
    own.write_text("[[rule]]\nname = 'crisis'\nurgency = 'soon'\nwhen = [{}]\n")
    assert finding(alert_rules=own).state == "note"
