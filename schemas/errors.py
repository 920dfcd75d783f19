"""Every exception that crosses a room's border. Each says what (`code`), where (`path`) and why (`detail`).

No message ever repeats a value that somebody sent: such a value may be about a person, and messages end up
in logs, answers and tickets. Names of fields, codes of ours and numbers are all that is quoted.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong with what was sent.

    `path` is a JSON Pointer (RFC 6901) into the event or directive, or words for a place in a file;
    `code` is a constant in kebab-case that programs may test; `detail` is a sentence without its full stop.
    """

    path: str
    code: str
    detail: str

    def as_json(self) -> dict[str, str]:
        """The shape in which HTTP answers carry it: `{"path", "code", "detail"}`."""
        return self._asdict()


class HubError(Exception):
    """The root of all our exceptions."""

    code = "error"

    def __init__(self, detail: str, *, path: str = "", code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.path = path
        if code is not None:
            self.code = code

    def problem(self) -> Problem:
        """This error as the value that answers and quarantine records carry."""
        return Problem(self.path, self.code, self.detail)


class Invalid(HubError):
    """What was sent breaks one or several rules; `problems` lists them, at most `problems_max`."""

    code = "invalid"
    problems_max = 20

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)[: self.problems_max]
        first = self.problems[0]
        super().__init__(first.detail, path=first.path, code=first.code)

    @classmethod
    def one(cls, path: str, code: str, detail: str) -> "Invalid":
        """The usual case: a single problem."""
        return cls((Problem(path, code, detail),))


class BadTime(HubError, ValueError):
    """A time that is not RFC 3339 with an offset, or lies outside the years 1 to 9999."""

    code = "bad-time"


class UnknownSchema(HubError):
    """A record names a schema id that the registry does not have: a schema from the future, or garbage."""

    code = "unknown-schema"


class BrokenRecord(HubError):
    """Bytes that are not what their schema says: cut short, followed by more, or not Avro at all."""

    code = "broken-record"


class TooLarge(HubError):
    """Something is past its bound; the detail names the bound."""

    code = "too-large"


class Refused(HubError):
    """Well-formed, but not allowed from this sender or in this form; `citation` names the rule's source."""

    code = "refused"

    def __init__(self, detail: str, *, path: str = "", code: str | None = None, citation: str = "") -> None:
        super().__init__(detail, path=path, code=code)
        self.citation = citation


class Erased(HubError):
    """The key that would open this was destroyed on purpose; nothing brings it back."""

    code = "erased"


class Unsealable(HubError):
    """Sealed bytes that do not open: other key, other place in the log, or changed since."""

    code = "unsealable"


class Unavailable(HubError):
    """Something needed to answer safely is away; try again later. Nothing was done."""

    code = "unavailable"
