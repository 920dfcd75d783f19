"""Some dozens of examples for every parser that faces outside; `make fuzz` takes ten minutes for each."""

import pytest

from schemas.errors import HubError
from tests import fuzz

EXAMPLES = 40


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_parser_takes_what_it_is_given_or_refuses_it_in_words(name: str) -> None:
    assert fuzz.look(name, EXAMPLES) > 0


def test_what_another_exception_would_be_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search can fail: a parser that minds one byte is caught at it."""

    def fragile(data: bytes) -> None:
        if data.startswith(b"["):
            raise RecursionError
        raise HubError("refused")

    monkeypatch.setattr(fuzz, "TARGETS", {"one": (fragile, fuzz.TARGETS["cloudevents"][1])})
    with pytest.raises(RecursionError):
        fuzz.look("one", 500)
    assert fuzz.main(["one", "--minutes", "0.05"]) == 1


def test_an_unknown_parser_is_a_wrong_call() -> None:
    with pytest.raises(SystemExit) as ended:
        fuzz.main(["nothing"])
    assert ended.value.code == 2
