"""Many events in one read: they mean what they mean one byte at a time, wherever a read ends."""

from __future__ import annotations

import itertools
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_svc.peers.answer_reader import AnswerReader
from operator_svc.peers.chat_types import AnswerError, Part, Reasoning, Text
from operator_svc.peers.dialect_openai import OpenAiReader
from operator_svc.peers.dialect_vx11 import Vx11Reader
from operator_svc.protocol.sse import EventTooLargeError
from tests.peers.answers import delta, event
from tests.peers.upstream_shapes import Shape, shapes

READERS: dict[str, type[AnswerReader]] = {"vx11": Vx11Reader, "openai": OpenAiReader}
MOST = 1500
"""Bytes of the shapes that are cut everywhere."""
SHAPES = [s for s in shapes() if s.status == 200 and len(s.body) <= MOST]
PLAIN = {
    "vx11": b"".join(event(type="token", content=f" word {n}") for n in range(5)),
    "openai": b"".join(delta(content=f" word {n}") for n in range(5)),
}


def outcome(reader: AnswerReader, *chunks: bytes) -> list[object]:
    """The parts, with neighbouring pieces of one kind as one, and the error, if there is one."""
    parts: list[Part] = []
    error: list[object] = []
    try:
        for chunk in chunks:
            text = reader.plain_text(chunk)
            if text is None:
                parts += reader.feed(chunk)
            elif text:
                parts.append(Text(text))
            if reader.done:
                break
        else:
            parts += reader.end()
    except AnswerError as fault:
        parts += fault.parts
        error = [type(fault), fault.detail, fault.said]
    except EventTooLargeError as fault:
        error = [type(fault)]
    joined: list[object] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Text | Reasoning) and type(last) is type(part):
            assert isinstance(last, Text | Reasoning)
            joined[-1] = type(part)(last.content + part.content)
        else:
            joined.append(part)
    return [*joined, *error, msgspec.to_builtins(reader.ending())]


def bytewise(reader: AnswerReader, stream: bytes) -> list[object]:
    return outcome(reader, *(stream[i : i + 1] for i in range(len(stream))))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.dialect}: {shape.name}")
def test_shape_among_plain_tokens_means_the_same_wherever_it_is_cut(shape: Shape) -> None:
    make, plain = READERS[shape.dialect], PLAIN[shape.dialect]
    for stream in (shape.body, plain + shape.body + plain):
        expected = bytewise(make(), stream)
        assert outcome(make(), stream) == expected
        step = 1 if stream is shape.body else 7
        for cut in range(0, len(stream), step):
            assert outcome(make(), stream[:cut], stream[cut:]) == expected, cut


CONTENT = st.sampled_from(["<think>", "</think>", ""]) | st.text(
    st.characters() | st.sampled_from(["\ud83d", "\ude00", "\0"]), max_size=8
)
ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\n\n", b"\ndata: \n\n"])
ODD = st.sampled_from([b": ping", b"data:", b"data: ", b"id: 7", b"data: {", b'data: "x"}', b""])


@st.composite
def events(draw: st.DrawFn, dialect: str) -> bytes:
    """One event: a token mostly, with any text, any line ends and any escapes."""
    end = draw(ENDS) if draw(st.integers(0, 9)) == 0 else b"\n\n"
    if draw(st.integers(0, 9)) == 0:
        return draw(ODD) + end
    content = draw(CONTENT)
    if dialect == "vx11":
        kind = "reasoning" if draw(st.integers(0, 9)) == 0 else "token"
        body: object = {"type": kind, "content": content}
    else:
        name = "reasoning_content" if draw(st.integers(0, 9)) == 0 else "content"
        finish = "stop" if draw(st.integers(0, 19)) == 0 else None
        model = draw(st.sampled_from("mmmn"))
        body = {"model": model, "choices": [{"delta": {name: content}, "finish_reason": finish}]}
    text = json.dumps(body, ensure_ascii=draw(st.booleans()))
    return b"data: " + text.encode("utf-8", "surrogatepass") + end


@pytest.mark.parametrize("dialect", READERS)
@given(st.data())
def test_random_events_in_random_reads_mean_what_their_bytes_mean(
    dialect: str, data: st.DataObject
) -> None:
    stream = b"".join(data.draw(st.lists(events(dialect), min_size=3, max_size=16)))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=3).map(sorted))
    chunks = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    make = READERS[dialect]
    assert outcome(make(), *chunks) == bytewise(make(), stream)


@pytest.mark.parametrize("dialect", READERS)
@given(st.data())
def test_an_event_for_each_read_means_what_its_bytes_mean(
    dialect: str, data: st.DataObject
) -> None:
    chunks = data.draw(st.lists(events(dialect), min_size=3, max_size=16))
    make = READERS[dialect]
    assert outcome(make(), *chunks) == bytewise(make(), b"".join(chunks))


@pytest.mark.parametrize("dialect", READERS)
def test_a_value_that_goes_on_in_the_next_event_is_broken(dialect: str) -> None:
    whole = PLAIN[dialect].split(b"\n\n")[0]
    half = whole.index(b", ") + 2
    torn = whole[:half] + b"\n\ndata: " + whole[half:] + b"\n\n"
    found = outcome(READERS[dialect](), PLAIN[dialect] + torn + PLAIN[dialect])
    assert AnswerError in found
    assert found == bytewise(READERS[dialect](), PLAIN[dialect] + torn + PLAIN[dialect])
