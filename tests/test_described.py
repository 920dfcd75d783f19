"""Everything that the OpenAPI document describes, called a few times; `make schemathesis` for more."""

import json
from pathlib import Path

import pytest

from tests import described
from tests.webside import Side

FEW = ("--phases", "fuzzing", "--generation-deterministic", "--max-examples")
LETTERS = "/v1/letters"  # of one address a few each hour: they are left to the other tests


@pytest.mark.parametrize("caller", described.CALLERS[:2])
def test_no_answer_is_a_server_error_and_none_is_undocumented(side: Side, caller: str) -> None:
    document = f"{side.address}{described.DOCUMENT}"
    left = ("--exclude-path", LETTERS)
    status, said = described.call(document, described.tokens_of(side)[caller], *FEW, "2", *left)
    assert status == 0, said
    with side.client() as client:
        paths = client.get(described.DOCUMENT).json()["paths"]
    calls = sum(len(paths[path]) for path in paths if path not in (LETTERS, described.ENDLESS))
    assert f"Tested: {calls}" in said


def test_what_the_document_does_not_name_is_found(side: Side, tmp_path: Path) -> None:
    """The search can fail: of a document that lacks one status it says so."""
    with side.client() as client:
        document = client.get(described.DOCUMENT).json()
    path = "/v1/aggregates"
    only = {path: document["paths"][path]}
    del only[path]["get"]["responses"]["422"]
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps({**document, "paths": only}))
    status, said = described.call(str(file), "", *FEW, "20", "--url", side.address)
    assert (status, "Undocumented status code" in said) == (1, True), said


def test_an_unknown_caller_is_a_wrong_call() -> None:
    with pytest.raises(SystemExit) as ended:
        described.main(["everybody"])
    assert ended.value.code == 2
