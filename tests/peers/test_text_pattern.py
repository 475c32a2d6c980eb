"""Events that differ in nothing but their text, and those that only seem to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_svc.peers.answer_reader import AnswerReader
from operator_svc.peers.chat_types import Text
from operator_svc.peers.dialect_openai import OpenAiReader
from operator_svc.peers.dialect_vx11 import Vx11Reader
from operator_svc.peers.text_pattern import MISSES, TextPattern
from tests.peers.answers import delta, event


def learned(known: bytes, text: str, provider: str | None = None) -> TextPattern:
    """A pattern that has seen the data of one event."""
    pattern = TextPattern()
    pattern.learn(known, text, provider)
    return pattern


def token(content: bytes) -> bytes:
    """The data of an event whose text is written so."""
    return b'{"type":"token","content":"%s"}' % content


def framed(data: bytes) -> bytes:
    return b"data: %s\n\n" % data


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ([b" two"], " two"),
        (["ñ 😀".encode(), b"<b>\x7f", b" "], "ñ 😀<b>\x7f "),
        ([b"", b"a"], "a"),
        ([rb"\n"], "\n"),
        ([rb"say \"", rb"\u00e9\\", b"b"], 'say "\u00e9\\b'),
        ([rb"\ud83d\ude00", "ñ".encode()], "😀ñ"),
    ],
)
def test_the_text_of_events_that_are_alike_is_found(written: list[bytes], text: str) -> None:
    pattern = learned(token(b"one"), "one")
    rows = list(map(token, written))
    assert pattern.texts(rows) == (text, len(rows))
    if len(rows) == 1:
        assert pattern.text(framed(rows[0])) == text


ODD = [
    b"",
    token(b"a\\"),
    token(rb"\u0000"),
    token(rb"\ud83d"),
    token(rb"\u00"),
    token(rb"\q"),
    token(rb"\n") + b"\n",
    token(b"\n"),
    token(b"a\x00"),
    token(b"a\tb"),
    token(b'a"b'),
    token(rb"\n" + b'a"b'),
    token(b'a","type":"done'),
    token(rb"\n" + b'a","b'),
    token(b"\xff"),
    token(b"\xf0\x9f"),
    token(b"\xed\xa0\xbd"),
    token(b"a")[:-1],
    token(b"a")[1:],
    b'{"type":"token","content":"}',
    b'{"type":"done","provider":"p"}',
    b'{"type":"reasoning","content":"p"}',
]
"""Data of events that are not plain text, or not JSON."""


@pytest.mark.parametrize("odd", ODD)
def test_an_event_that_is_not_alike_is_left_to_be_decoded(odd: bytes) -> None:
    pattern = learned(token(b"one"), "one")
    assert pattern.text(framed(odd)) is None
    assert pattern.texts([odd]) == ("", 0)
    assert pattern.texts([token(b"a"), odd, token(b"n9")]) in (("", 0), ("a", 1))


def test_other_framing_than_the_plainest_is_left_to_be_decoded() -> None:
    pattern = learned(token(b"one"), "one")
    for event_ in (
        framed(token(b"a")) * 2,
        framed(token(b"a")).replace(b"\n", b"\r\n"),
        framed(token(b"a")) + b": ping\n\n",
        framed(token(b""))[:-1],
        framed(token(b"")),
    ):
        assert pattern.text(event_) is None


def test_strings_that_are_whole_only_together_are_left_to_be_decoded() -> None:
    pattern = learned(token(b"one"), "one")
    for halves in (
        (b"\xf0\x9f", b"\x98\x80"),
        (rb"\ud83d", rb"\ude00"),
        (rb"\u00", b"e9"),
        (b"a\\", b"n"),
    ):
        assert pattern.texts(list(map(token, halves))) == ("", 0)


def test_nothing_is_found_once_another_provider_was_named() -> None:
    pattern = learned(token(b"one"), "one", "a")
    assert pattern.text(framed(token(b"two")), "a") == "two"
    assert pattern.text(framed(token(b"two")), "b") is None
    assert pattern.texts([token(b"two")], "b") == ("", 0)


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (b'{"type":"token","content":"token"}', "token"),
        (b'{"type":"token","content":"content"}', "content"),
        (b'{"type":"token","id":"a","content":"\\u0061"}', "a"),
        (b'{"type":"token","content":""}', ""),
    ],
)
def test_nothing_is_learned_where_the_place_of_the_text_is_not_sure(
    known: bytes, text: str
) -> None:
    assert learned(known, text).text(framed(known)) is None


def test_an_answer_whose_events_are_never_alike_is_not_learned_for_ever() -> None:
    pattern = TextPattern()
    for number in range(MISSES + 1):
        known = b'{"t":%d,"content":"a%d"}' % (number, number)
        pattern.learn(known, f"a{number}")
    assert pattern.text(framed(known)) is None


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
    assert decoded == [1]
    assert reader.plain_text(b"".join(make(f" {n}") for n in range(5))) == " 0 1 2 3 4"


def test_of_many_long_events_one_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = OpenAiReader()
    decoded = []
    texts = OpenAiReader._texts

    def count(self: OpenAiReader, lines: bytes, events: int) -> list[str]:
        decoded.append(events)
        return texts(self, lines, events)

    monkeypatch.setattr(OpenAiReader, "_texts", count)
    words = ["one", " two"] + [f'word {n} "ñ"\n' for n in range(198)]
    parts = reader.feed(b"".join(delta(content=word) for word in words))
    assert "".join(part.content for part in parts if isinstance(part, Text)) == "".join(words)
    assert decoded == [1]


def test_a_model_that_is_named_again_is_the_provider_again() -> None:
    def chunk(model: str, **fields: str) -> bytes:
        return event(model=model, choices=[{"index": 0, "delta": fields, "finish_reason": None}])

    reader = OpenAiReader()
    reader.feed(chunk("one", content="a"))
    assert reader.plain_text(chunk("one", content="b")) == "b"
    reader.feed(chunk("two", reasoning_content="hm"))
    assert reader.plain_text(chunk("one", content="c")) == "c"
    assert reader.ending().provider == "one"


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
    def data(text: str) -> bytes:
        return event(type="token", content=text)[len(b"data: ") : -2]

    pattern = learned(data("a"), "a")
    assert pattern.texts(list(map(data, texts))) in (("", 0), ("".join(texts), len(texts)))
