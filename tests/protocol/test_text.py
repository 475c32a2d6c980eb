"""Text from Switch is mended as little as can be; what is refused of clients is named."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_svc.protocol.text import (
    Storable,
    is_storable,
    loads,
    loads_storable,
    problem,
    storable,
    storable_json,
)

HIGH, LOW = "\ud83d", "\ude00"
CHARACTERS = st.sampled_from([HIGH, LOW, "\0", "a", "ñ", "😀", "\ufeff", "\uffff", "\U0010ffff"])
ANY_TEXT = st.lists(CHARACTERS | st.characters(), max_size=30).map("".join)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["plain"], "plain"),
        (["a", "", "b"], "ab"),
        ([HIGH, LOW], "😀"),
        (["a" + HIGH, "", LOW + "b"], "a😀b"),
        ([HIGH + LOW], "😀"),
        ([HIGH], "\ufffd"),
        ([LOW], "\ufffd"),
        ([HIGH, "a"], "\ufffda"),
        ([HIGH, HIGH, LOW], "\ufffd😀"),
        ([LOW, HIGH], "\ufffd\ufffd"),
        (["a\0b"], "a\ufffdb"),
        ([HIGH, "\0"], "\ufffd\ufffd"),
        (["\ufeffa"], "\ufeffa"),
    ],
)
def test_pieces_are_given_out_as_soon_as_they_are_complete(
    pieces: list[str], expected: str
) -> None:
    mender = Storable()
    assert "".join([*map(mender.feed, pieces), mender.flush()]) == expected
    assert mender.flush() == ""


def whole(text: str) -> str:
    """The text as it is meant to become, character by character."""
    result = ""
    for character in text:
        if result and "\ud800" <= result[-1] <= "\udbff" and "\udc00" <= character <= "\udfff":
            pair = (result[-1] + character).encode("utf-16-le", "surrogatepass")
            result = result[:-1] + pair.decode("utf-16-le")
        else:
            result += character
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in result)


@given(ANY_TEXT, st.data())
def test_any_pieces_give_what_the_whole_gives(text: str, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    mender = Storable()
    result = "".join([*map(mender.feed, pieces), mender.flush()])
    assert result == storable(text) == whole(text)
    assert is_storable(result)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert is_storable(text)
    assert problem(text) is None
    mender = Storable()
    assert mender.feed(text) == text
    assert mender.flush() == ""


@pytest.mark.parametrize("text", [HIGH, LOW, "a" + LOW + "b", HIGH + LOW])
def test_text_with_a_lone_surrogate_is_refused(text: str) -> None:
    assert problem(text) == "must not contain lone surrogates"


def test_text_with_nul_is_refused() -> None:
    assert problem("a\0") == "must not contain the character U+0000"


def test_json_values_are_mended_inside() -> None:
    assert storable_json({"k\0": [HIGH + LOW, 1, None, {"x": LOW}], "n": 1.5, "t": True}) == {
        "k\ufffd": ["😀", 1, None, {"x": "\ufffd"}],
        "n": 1.5,
        "t": True,
    }


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": ["b", 1.5, null]}',
        '{"a": "ñ 😀"}'.encode(),
        rb'{"a": "\u0000 \ud83d"}',
        rb'{"\ud83d": "\ud83d\ude00"}',
        rb'"\\u0000"',
        b'{"a": "\xed\xa0\xbd"}',
        b'{"a": "\xff"}',
    ],
)
def test_json_of_a_peer_is_read_as_it_can_be_stored(data: bytes) -> None:
    read = loads_storable(data)
    assert read == storable_json(loads(data))
    assert is_storable(json.dumps(read, ensure_ascii=False))
