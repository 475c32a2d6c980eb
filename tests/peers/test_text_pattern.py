"""Events that differ in nothing but their text, and those that only seem to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_svc.peers.answer_reader import AnswerReader
from operator_svc.peers.dialect_openai import OpenAiReader
from operator_svc.peers.dialect_vx11 import Vx11Reader
from operator_svc.peers.text_pattern import MISSES, TextPattern
from tests.peers.answers import delta, event


def learned(known: bytes, text: str) -> TextPattern:
    """A pattern that has seen one event."""
    pattern = TextPattern()
    pattern.learn(known, text)
    return pattern


def token(content: bytes) -> bytes:
    """An event whose text is written so."""
    return b'data: {"type":"token","content":"%s"}\n\n' % content


def test_the_text_of_one_and_of_many_events_is_found() -> None:
    pattern = learned(token(b"one"), "one")
    assert pattern.text(token(b" two")) == " two"
    assert pattern.text(token("ñ 😀".encode()) + token(b"<b>\x7f") + token(b" ")) == "ñ 😀<b>\x7f "
    assert pattern.text(token(b"") + token(b"a")) == "a"


@pytest.mark.parametrize(
    "events",
    [
        b"",
        token(b""),
        token(rb"\n"),
        token(rb"\u00e9"),
        token(rb"a\\"),
        token(rb"a\\") + token(b"b"),
        token(b"a\x00"),
        token(b"a\tb"),
        token(b'a"b'),
        token(b'a","type":"done'),
        token(b"\xff"),
        token(b"\xf0\x9f") + token(b"\x98\x80"),
        token(b"\xed\xa0\xbd"),
        token(b"a")[:-1],
        token(b"a")[1:],
        token(b"a") + b": ping\n\n",
        token(b"a") + b'data: {"type":"done","provider":"p"}\n\n',
        token(b"a") + b'data: {"type":"reasoning","content":"p"}\n\n' + token(b"a"),
        token(b"a").replace(b"\n", b"\r\n"),
        b'data: {"type":"token","content":"}\n\n',
    ],
)
def test_events_that_are_not_alike_are_left_to_be_decoded(events: bytes) -> None:
    assert learned(token(b"one"), "one").text(events) is None


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (b'data: {"type":"token","content":"token"}\n\n', "token"),
        (b'data: {"type":"token","content":"content"}\n\n', "content"),
        (b'data: {"type":"token","id":"a","content":"\\u0061"}\n\n', "a"),
        (b'data: {"type":"token","content":""}\n\n', ""),
    ],
)
def test_nothing_is_learned_where_the_place_of_the_text_is_not_sure(
    known: bytes, text: str
) -> None:
    assert learned(known, text).text(known) is None


def test_an_answer_whose_events_are_never_alike_is_not_learned_for_ever() -> None:
    pattern = TextPattern()
    for number in range(MISSES + 1):
        known = b'data: {"t":%d,"content":"a%d"}\n\n' % (number, number)
        pattern.learn(known, f"a{number}")
    assert pattern.text(known) is None


@pytest.mark.parametrize(
    ("reader", "make"),
    [
        (Vx11Reader(), lambda text: event(type="token", content=text)),
        (OpenAiReader(), lambda text: delta(content=text)),
    ],
)
def test_events_that_are_alike_are_decoded_once(
    reader: AnswerReader, make: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(make)
    decoded = []
    texts = type(reader)._texts

    def count(self: AnswerReader, lines: bytes, events: int) -> list[str]:
        decoded.append(events)
        return texts(self, lines, events)

    monkeypatch.setattr(type(reader), "_texts", count)
    reader.feed(make("first"))
    assert [reader.plain_text(make(f" word {n}")) for n in range(20)] == [
        f" word {n}" for n in range(20)
    ]
    assert reader.plain_text(b"".join(make(f" {n}") for n in range(5))) == " 0 1 2 3 4"
    assert decoded == [1]


@pytest.mark.parametrize(
    ("reader", "make"),
    [
        (Vx11Reader(), lambda text: event(type="token", content=text, id="odd")),
        (OpenAiReader(), lambda text: delta(content=text).replace(b"{", b'{"id": "odd", ', 1)),
    ],
)
def test_bytes_that_are_no_text_in_a_field_that_is_not_read_are_no_fault(
    reader: AnswerReader, make: Callable[[str], bytes]
) -> None:
    reader.feed(make("first"))
    for word in ("one", "two", "three"):
        chunk = make(word).replace(b"odd", b"caf\xe9")
        assert reader.plain_text(chunk) == word


@given(st.lists(st.text(max_size=5), min_size=1, max_size=5))
def test_the_text_is_what_a_decoder_finds(texts: list[str]) -> None:
    pattern = learned(event(type="token", content="a"), "a")
    events = b"".join(event(type="token", content=text) for text in texts)
    assert pattern.text(events) in (None, "".join(texts))
