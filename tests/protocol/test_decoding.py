"""JSON of clients: what is refused for its shape, and the forms in which numbers may come."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Json
from operator_svc.protocol.decoding import MAX_CONTAINERS, MAX_DEPTH, decode, is_too_deep


class Body(msgspec.Struct):
    """A body of the tests."""

    text: str = ""
    number: int = 0
    numbers: list[int] = []
    any: Json = None


def refused(body: bytes) -> OperatorError:
    with pytest.raises(OperatorError) as failure:
        decode(body, Body)
    return failure.value


def nested(levels: int, inner: Any = 1) -> Any:
    value = inner
    for level in range(levels):
        value = [value] if level % 2 else {"x": value}
    return value


@pytest.mark.parametrize("inner", [1, [], {}])
def test_values_may_be_nested_as_deep_as_allowed(inner: Json) -> None:
    own = 0 if inner == 1 else 1
    assert not is_too_deep(nested(MAX_DEPTH - own, inner))
    assert is_too_deep(nested(MAX_DEPTH - own + 1, inner))
    assert not is_too_deep([[], nested(MAX_DEPTH - 1 - own, inner), {}])
    assert is_too_deep([[], nested(MAX_DEPTH - own, inner), {}])


def test_more_objects_and_arrays_than_allowed_are_refused() -> None:
    def body(count: int) -> bytes:
        return b'{"text": "x", "any": [' + b",".join([b"{}"] * (count - 2)) + b"]}"

    assert decode(body(MAX_CONTAINERS), Body).any == [{}] * (MAX_CONTAINERS - 2)
    error = refused(body(MAX_CONTAINERS + 1))
    assert (error.code, str(MAX_CONTAINERS) in error.detail) == (ErrorCode.INVALID_JSON, True)


@pytest.mark.parametrize("text", ["[", "{[", '\\"[{', "\\\\", '[\\\\\\"{'])
def test_brackets_within_texts_are_no_objects_or_arrays(text: str) -> None:
    encoded = '{"text": "' + text * MAX_CONTAINERS + '", "any": ["' + text * 5 + '"]}'
    decoded = decode(encoded.encode(), Body)
    assert decoded.any == [msgspec.json.decode(f'"{text * 5}"')]


@pytest.mark.parametrize("value", [{"a\0": 1}, {"a": [{"b": "\0"}]}, [[[]], ["x", "\0"]]])
def test_nul_is_found_wherever_it_stands(value: Json) -> None:
    error = refused(msgspec.json.encode({"any": value}))
    assert error.code is ErrorCode.VALIDATION_ERROR
    assert "NUL" in error.detail


def test_whole_numbers_may_be_written_as_fractions() -> None:
    body = b'{"number": 2.0, "numbers": [1, 2.0], "any": 1.0}'
    decoded = decode(body, Body)
    assert (decoded.number, decoded.numbers) == (2, [1, 2])
    error = refused(b'{"number": 2.5, "numbers": [1, 2.0, 3.5], "text": 1.0}')
    assert [entry["field"] for entry in error.errors or ()] == ["text", "number", "numbers[2]"]
