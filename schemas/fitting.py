"""Fields that surely fit, told without building a model: nearly all events, at a small part of the cost.

Made from the models of `schemas.fields` themselves. It says yes only where the model would; about everything
else, and about whatever it does not know how to read in a model, it says no, and the model is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le, MaxLen
from pydantic import AfterValidator, BaseModel, BeforeValidator, StringConstraints
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from schemas import fields, instant
from schemas.errors import BadTime

Check = Callable[[Any], bool]
remembered_max: Final = 2_048  # texts of one field
remembered_chars_max: Final = 512


def fits(kind: str, values: Mapping[str, Any]) -> bool:
    """Whether the model of one of the four types is sure to take these fields, as JSON has them."""
    return _of_type(kind)(values)


@cache
def _of_type(kind: str) -> Check:
    return _record(fields.MODELS[kind])


def _record(model: type[BaseModel]) -> Check:
    hints = get_type_hints(model, include_extras=True)
    checks = {name: check(hints[name]) for name in model.model_fields}
    required = tuple(name for name, field in model.model_fields.items() if field.is_required())

    def fit(values: Any) -> bool:
        if type(values) is not dict:
            return False
        for name, value in values.items():
            found = checks.get(name)
            if found is None or not (found(value) or (value is None and name not in required)):
                return False
        for name in required:
            value = values.get(name)
            if type(value) is not str or not value.strip():
                return False
        return True

    return fit


def check(hint: Any) -> Check:
    """What a field's type, as its model has it, asks of a value. A type that is not known fits nothing."""
    if get_origin(hint) in (Union, UnionType):
        given = [one for one in get_args(hint) if one is not NoneType]
        return check(given[0]) if len(given) == 1 else _never
    if hint == fields.Instant:
        return _instant
    base, *asked = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if base in _SCALARS:
        return _SCALARS[base](_plain(asked))
    if get_origin(base) is list:
        return _list(check(get_args(base)[0]), _plain(asked))
    return _record(base) if isinstance(base, type) and issubclass(base, BaseModel) and not asked else _never


def _never(value: Any) -> bool:
    return False


def _plain(asked: Sequence[Any]) -> list[Any]:
    """Bounds one by one, where pydantic has several in one."""
    return [bound for one in asked for bound in (one.metadata if isinstance(one, FieldInfo) else (one,))]


def _instant(value: Any) -> bool:
    try:
        instant.parse(value)
    except BadTime:
        return False
    return True


def _text(asked: Sequence[Any]) -> Check:
    longest, rules = 0, []
    for one in asked:
        if one == StringConstraints(max_length=getattr(one, "max_length", None)) and one.max_length:
            longest = one.max_length
        elif isinstance(one, AfterValidator | BeforeValidator):
            rules.append(one.func)
        else:
            return _never
    if rules:
        return _ruled(rules, min(longest or remembered_chars_max, remembered_chars_max))

    def fit(value: Any) -> bool:
        return type(value) is str and len(value) <= longest and (value.isascii() or _whole(value))

    return fit


def _whole(text: str) -> bool:
    """Whether a text has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ruled(rules: Sequence[Callable[..., Any]], longest: int) -> Check:
    """A text that functions of ours take. What they say of a text stays so, and is remembered."""

    @lru_cache(maxsize=remembered_max)
    def said(text: str) -> bool:
        try:
            for rule in rules:
                rule(text)
        except PydanticCustomError:
            return False
        return _whole(text)

    return lambda value: type(value) is str and len(value) <= longest and said(value)


def _amount(asked: Sequence[Any]) -> Check:
    low = next((one.ge for one in asked if isinstance(one, Ge)), None)
    high = next((one.le for one in asked if isinstance(one, Le)), None)
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return _never
    return lambda value: type(value) in (int, float) and low <= value <= high  # not a number is neither


def _truth(asked: Sequence[Any]) -> Check:
    if not asked:
        return lambda value: type(value) is bool
    only_true = len(asked) == 1 and getattr(asked[0], "func", None) is fields._engaged
    return (lambda value: value is True) if only_true else _never


def _list(fit: Check, asked: Sequence[Any]) -> Check:
    longest = next((one.max_length for one in asked if isinstance(one, MaxLen)), 0)
    return lambda value: type(value) is list and len(value) <= longest and all(map(fit, value))


_SCALARS: Final[dict[Any, Callable[[Sequence[Any]], Check]]] = {str: _text, float: _amount, bool: _truth}
