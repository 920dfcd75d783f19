"""`hub decide`: a file in, results out, and a file that is not of the shape refused in one line."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub import cli
from hub import decide as command
from schemas.errors import Invalid
from tests.cases import POLICY, STAKEHOLDERS
from tests.small import AT, event, granted

VECTORS = json.loads((Path(__file__).parent / "data" / "decisions.json").read_text("utf-8"))
REQUEST = {"recipient": "harbor-house", "purpose": "care-coordination", "at": AT}


def file(**changes: Any) -> dict[str, Any]:
    return {"policy": POLICY, "stakeholders": STAKEHOLDERS, "cases": [case()]} | changes


def case(**changes: Any) -> dict[str, Any]:
    return {"id": "case-1", "directives": [granted()], "event": event(), "request": REQUEST} | changes


def hub_decide(source: bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "hub.cli", "decide"],
        input=source,
        capture_output=True,
        timeout=60,
        env=os.environ | environment,
        check=False,
    )


def results(source: dict[str, Any]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = json.loads(command.results(json.dumps(source).encode()))
    return answers


class Input:
    """Stands in for standard input."""

    def __init__(self, source: bytes) -> None:
        self.buffer = io.BytesIO(source)


def test_the_worked_cases() -> None:
    source = file(stakeholders=VECTORS["stakeholders"], cases=VECTORS["cases"])
    expected = [{"id": one["id"], **one["expect"]} for one in VECTORS["cases"]]
    done = hub_decide(json.dumps(source).encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == expected
    assert results(source) == expected


def test_byte_for_byte_the_same_whatever_the_order_of_hashes() -> None:
    source = json.dumps(file(stakeholders=VECTORS["stakeholders"], cases=VECTORS["cases"])).encode()
    outputs = {hub_decide(source, PYTHONHASHSEED=seed).stdout for seed in ("0", "1", "4711")}
    assert len(outputs) == 1
    first = json.loads(outputs.pop())[0]
    assert list(first) == ["id", "effect", "reason", "basis", "grants", "compartments", "obligations"]


def test_touches_nothing_else(tmp_path: Path) -> None:
    environment = {"HUB_DATA": str(tmp_path / "data"), "HUB_WEB_PORT": "not a port", "HUB_UNHEARD_OF": "1"}
    done = hub_decide(json.dumps(file()).encode(), **environment)
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_imports_little() -> None:
    lines = "import sys, hub.decide; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, timeout=60, check=True)
    heavy = {b"typer", b"pydantic", b"fastavro", b"sqlalchemy", b"confluent_kafka", b"aiokafka", b"fastapi"}
    assert not heavy & set(done.stdout.split())


def test_no_cases() -> None:
    assert results(file(cases=[])) == []


def test_a_case_may_bring_its_own_policy_and_stakeholders_whole() -> None:
    fewer = [one for one in STAKEHOLDERS if one["id"] != "reach"]
    cases = [
        case(),
        case(id="policy", policy=POLICY | {"matrix": []}),
        case(id="none", policy={}),
        case(id="stakeholders", stakeholders=fewer),
        case(id="null", policy=None, stakeholders=None),
        case(id="case-1"),
    ]
    answers = results(file(cases=cases))
    assert [(one["id"], one["reason"]) for one in answers] == [
        ("case-1", "consent"), ("policy", "role"), ("none", "indeterminate"),
        ("stakeholders", "indeterminate"), ("null", "consent"), ("case-1", "consent"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["recipient", "purpose", "at"])
@pytest.mark.parametrize(
    "value", ["null", "5", "true", "[]", "{}", '""', '"\\ud800"', "1" + "0" * 5000, "1e400"]
)
def test_what_is_wrong_inside_a_request_is_indeterminate(name: str, value: str) -> None:
    source = json.dumps(file(cases=[case(request=REQUEST | {name: "VALUE"}), case()]))
    answers = json.loads(command.results(source.replace('"VALUE"', value).encode()))
    assert [one["reason"] for one in answers] == ["indeterminate", "consent"]


def test_what_is_wrong_inside_an_event_is_indeterminate() -> None:
    wrong: list[dict[str, Any]] = [
        {},
        event(occurred_at=1_770_000_000_000),
        event(labels="hiv"),
        event(compartments=[["subject"]]),
        event(category=["service.housing"]),
        event(discloser={"id": "reach"}),
        event(participant=5),
    ]
    answers = results(file(cases=[case(event=one) for one in wrong]))
    assert [one["reason"] for one in answers] == ["indeterminate"] * len(wrong)


def test_times_in_a_file_are_text() -> None:
    answers = results(file(cases=[case(request=REQUEST | {"at": 1_780_315_200_000})]))
    assert answers[0]["reason"] == "indeterminate"


def test_spoilt_stakeholders_and_policies_are_indeterminate() -> None:
    spoilt = [one | {"role": ["x"]} for one in STAKEHOLDERS]
    cases = [
        case(stakeholders=spoilt),
        case(policy=POLICY | {"matrix": 5}),
        case(policy=POLICY | {"purposes": [[]]}),
    ]
    assert [one["reason"] for one in results(file(cases=cases))] == ["indeterminate"] * 3


def test_lone_surrogates_come_out_as_they_went_in() -> None:
    odd = granted(id="\ud800")
    answers = results(file(cases=[case(id="\udfff", directives=[odd])]))
    assert (answers[0]["id"], answers[0]["grants"]) == ("\udfff", ["\ud800/g1"])


def without(source: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name != key}


MISSHAPEN: list[tuple[str, Any, str]] = [
    ("not json", b"", "not JSON"),
    ("not json", b"{", "line 1, column 2"),
    ("not json", b"{} {}", "not JSON"),
    ("not a number", b'{"policy": NaN}', "`NaN`"),
    ("infinite", b'{"policy": -Infinity}', "`-Infinity`"),
    ("not utf-8", b'{"policy": "\xff"}', "byte 12"),
    ("utf-16", json.dumps(file()).encode("utf-16"), "UTF-8"),
    ("byte-order mark", b"\xef\xbb\xbf" + json.dumps(file()).encode(), "not JSON"),
    ("deep", b"[" * 1_000_000, "nested too deeply"),
    ("a list", [], "the file: expected an object"),
    ("text", "cases", "expected an object"),
    ("no policy", without(file(), "policy"), "/policy: missing"),
    ("null policy", file(policy=None), "/policy: missing"),
    ("policy of another type", file(policy=[]), "/policy: expected an object"),
    ("no stakeholders", without(file(), "stakeholders"), "/stakeholders: missing"),
    ("stakeholders of another type", file(stakeholders={}), "/stakeholders: expected a list"),
    ("a stakeholder of another type", file(stakeholders=["reach"]), "/stakeholders/0/id"),
    ("a stakeholder without id", file(stakeholders=[{"id": "a"}, {}]), "/stakeholders/1/id"),
    ("a stakeholder twice", file(stakeholders=[{"id": "a"}, {"id": "a"}]), "/stakeholders/1/id"),
    ("no cases", without(file(), "cases"), "/cases: missing"),
    ("cases of another type", file(cases={}), "/cases: expected a list"),
    ("a case of another type", file(cases=[case(), 5]), "/cases/1: expected an object"),
    ("a case's policy", file(cases=[case(policy=5)]), "/cases/0/policy: expected an object"),
    ("a case's stakeholders", file(cases=[case(stakeholders={})]), "/cases/0/stakeholders: expected a list"),
    (
        "a case's stakeholder twice",
        file(cases=[case(stakeholders=[{"id": "a"}, {"id": "a"}])]),
        "/cases/0/stakeholders/1/id",
    ),
    ("directives", file(cases=[case(directives={})]), "/cases/0/directives: expected a list"),
    (
        "a directive",
        file(cases=[case(directives=[granted(), 5])]),
        "/cases/0/directives/1: expected an object",
    ),
    ("no type", file(cases=[case(directives=[{}])]), "/cases/0/directives/0/type: missing"),
    ("a type of another type", file(cases=[case(directives=[{"type": []}])]), "/cases/0/directives/0/type"),
    (
        "unknown type",
        file(cases=[case(directives=[{"type": "x"}])]),
        "/cases/0/directives/0/type: an unknown",
    ),
    ("event", file(cases=[case(event=None)]), "/cases/0/event: missing"),
    ("event of another type", file(cases=[case(event=[])]), "/cases/0/event: expected an object"),
    ("request", file(cases=[case(request="now")]), "/cases/0/request: expected an object"),
    ("id of another type", file(cases=[case(id=5)]), "/cases/0/id: expected a string"),
    *[(f"no {key}", file(cases=[without(case(), key)]), f"/cases/0/{key}: missing") for key in case()],
    *[
        (
            f"no {key}",
            file(cases=[case(), case(request=without(REQUEST, key))]),
            f"/cases/1/request/{key}: missing",
        )
        for key in REQUEST
    ],
]


@pytest.mark.parametrize(("name", "source", "says"), MISSHAPEN, ids=[one[0] for one in MISSHAPEN])
def test_a_file_of_another_shape_is_refused_whole(
    name: str, source: Any, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = source if isinstance(source, bytes) else json.dumps(source).encode()
    monkeypatch.setattr(sys, "stdin", Input(written))
    with pytest.raises(SystemExit) as ended:
        command.decide()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert printed.err.startswith("hub decide: ")
    assert printed.err.count("\n") == 1
    assert printed.err.endswith("\n")
    assert says in printed.err


def test_a_refusal_as_the_shell_sees_it() -> None:
    done = hub_decide(json.dumps(file(cases=[{}])).encode())
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"hub decide: /cases/0/id: missing\n"


def test_a_file_past_its_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "file_bytes_max", 100)
    with pytest.raises(Invalid, match="longer than 100 bytes"):
        results(file())


def test_help_has_an_example() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hub.cli", "decide", "--help"], capture_output=True, timeout=60, check=True
    )
    assert b"hub decide < cases.json > results.json" in done.stdout


def test_the_example_in_its_help_is_true() -> None:
    _, _, given, _, comes_out = cli.COMMANDS["decide"].example.split("\n\n")
    assert json.loads(command.results(given.encode())) == json.loads(comes_out)
