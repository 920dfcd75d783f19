"""`hub decide`: decides a file of cases with the decision point itself, and touches nothing else."""

import json
import sys
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from consent import DIRECTIVES, Policy, Stakeholders, fold
from consent import decide as disclose
from schemas.errors import Invalid

file_bytes_max: Final = 1 << 30
_digits_max: Final = 18  # of a number that is read exactly; none has a meaning here
_NAMES: Final[dict[type, str]] = {Mapping: "an object", list: "a list", str: "a string"}


def decide() -> None:
    """Decide a file of cases from standard input: for each, what may go to whom, and why.

    No broker, store or settings are read. A file that is not of the right shape is refused whole: exit status
    2, and one line on standard error that says what is wrong and where.
    """
    try:
        answers = results(sys.stdin.buffer.read(file_bytes_max + 1))
    except Invalid as error:
        sys.stderr.write(f"hub decide: {error.path or 'the file'}: {error.detail}\n")
        raise SystemExit(2) from None
    sys.stdout.write(answers)


def results(source: bytes) -> str:
    """The results for a file of cases: JSON text, a line for each, in their order.

    Raises `Invalid` for a file that is not of the right shape, its path a JSON Pointer.
    """
    file = _object(_json(source), "")
    policy = Policy.of(_of(file, "policy", Mapping, ""))
    stakeholders = _stakeholders(_of(file, "stakeholders", list, ""), "")
    cases = _of(file, "cases", list, "")
    lines = [_result(case, f"/cases/{place}", policy, stakeholders) for place, case in enumerate(cases)]
    return "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"


def _result(value: object, path: str, policy: Policy, stakeholders: Stakeholders) -> str:
    case = _object(value, path)
    name = _of(case, "id", str, path)
    directives = _of(case, "directives", list, path)
    for place, directive in enumerate(directives):
        _directive(directive, f"{path}/directives/{place}")
    event = _of(case, "event", Mapping, path)
    request = _of(case, "request", Mapping, path)
    for key in ("recipient", "purpose", "at"):
        if key not in request:
            _refuse(f"{path}/request/{key}", "missing")
    if case.get("policy") is not None:
        policy = Policy.of(_of(case, "policy", Mapping, path))
    if case.get("stakeholders") is not None:
        stakeholders = _stakeholders(_of(case, "stakeholders", list, path), path)
    at = request["at"] if isinstance(request["at"], str) else ""  # in a file, a time is text
    state = fold(directives)
    answer = disclose(event, request["recipient"], request["purpose"], at, state, policy, stakeholders)
    return json.dumps({"id": name, **answer.as_json()})


def _directive(value: object, path: str) -> None:
    directive = _object(value, path)
    kind = _of(directive, "type", str, path)
    if kind not in DIRECTIVES:
        _refuse(f"{path}/type", "an unknown directive type")


def _stakeholders(values: object, path: str) -> Stakeholders:
    try:
        return Stakeholders.of(values)
    except Invalid as error:
        _refuse(f"{path}/stakeholders{error.path}", error.detail)


def _of(source: Mapping[str, Any], key: str, kind: type, path: str) -> Any:
    value = source.get(key)
    if value is None:
        _refuse(f"{path}/{key}", "missing")
    if not isinstance(value, kind):
        _refuse(f"{path}/{key}", f"expected {_NAMES[kind]}")
    return value


def _object(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        _refuse(path, "expected an object")
    return value


def _json(source: bytes) -> object:
    if len(source) > file_bytes_max:
        _refuse("", f"longer than {file_bytes_max} bytes")
    try:
        return json.loads(source.decode("utf-8"), parse_constant=_constant, parse_int=_integer)
    except UnicodeDecodeError as error:
        _refuse("", f"not UTF-8, from byte {error.start} on")
    except json.JSONDecodeError as error:
        _refuse(
            "",
            f"not JSON: {error.msg[:1].lower()}{error.msg[1:]} (line {error.lineno}, column {error.colno})",
        )
    except RecursionError:
        _refuse("", "nested too deeply")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _digits_max else float(digits)


def _constant(name: str) -> NoReturn:
    _refuse("", f"not JSON: `{name}` is no number")


def _refuse(path: str, detail: str) -> NoReturn:
    raise Invalid.one(path, "wrong-shape", detail)
