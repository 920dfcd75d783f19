"""JSON is read strictly, and whatever is sent, the outcome is a value or one of our errors."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import strict
from schemas.errors import Invalid

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
).filter(lambda value: "\\u0000" not in json.dumps(value))


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        (b"", "not-json", ""),
        (b"{", "not-json", ""),
        (b"{} {}", "not-json", ""),
        (b'{"a": 1, "a": 2}', "duplicate-key", ""),
        (b'{"x": {"a": 1, "a": 2}}', "duplicate-key", "/x"),
        (b'{"x": [1, NaN]}', "not-json", "/x/1"),
        (b'{"x": -Infinity}', "not-json", "/x"),
        (b'"\xe9"', "not-utf-8", ""),
        (b'{"name": "\\ud800"}', "lone-surrogate", "/name"),
        (b'{"\\udfff": 1}', "lone-surrogate", ""),
        (b'{"name": "a\\u0000b"}', "nul-character", "/name"),
        (b'{"name": "a\x00b"}', "not-json", ""),
        (b'{"name": "' + b"x" * 40_000 + b'"}', "too-long", "/name"),
        (b"[" * 100 + b"]" * 100, "too-deep", ""),
        (b"[" * 100_000, "too-deep", ""),
        (b'{"a":' * 100_000, "too-deep", ""),
        (b"1" * 10_000, "not-json", ""),
        (b'{"Jane Doe": "\\u0000"}', "nul-character", "/*"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_with_its_place(body: bytes, code: str, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        strict.parse(body)
    assert (caught.value.code, caught.value.path) == (code, path)
    assert "Jane" not in str(caught.value)


@given(VALUES)
def test_what_is_right_is_read_as_it_stands(value: object) -> None:
    assert strict.parse(json.dumps(value).encode()) == value
    assert strict.parse(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 1]))
def test_the_items_of_a_batch_keep_their_own_bytes(values: list[object], indent: int | None) -> None:
    found = strict.items(json.dumps(values, indent=indent).encode(), 5)
    assert [value for _, value in found] == values
    assert [json.loads(original) for original, _ in found] == values


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", "not-a-batch"),
        (b"", "not-a-batch"),
        (b"[1,]", "not-json"),
        (b"[1 2]", "not-json"),
        (b"[1] 2", "not-json"),
        (b"[", "not-json"),
        (b"[1", "not-json"),
        (b"[1,2,3,4]", "batch-too-long"),
    ],
)
def test_a_batch_that_is_none_is_refused_whole(body: bytes, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        strict.items(body, 3)
    assert caught.value.code == code


@given(st.binary(max_size=60))
def test_no_bytes_do_worse_than_one_of_our_errors(body: bytes) -> None:
    with suppress(Invalid):
        strict.parse(body)
    with suppress(Invalid):
        strict.items(body, 5)
