"""Readers of Switch's answers on samples: what is taken, and what makes an answer a failure."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_svc.peers.answer_reader import AnswerReader
from operator_svc.peers.chat_types import (
    AnswerError,
    Done,
    Part,
    Reasoning,
    Text,
    ToolCallPart,
)
from operator_svc.peers.dialect_openai import OpenAiReader
from operator_svc.peers.dialect_vx11 import Vx11Reader
from operator_svc.protocol.text import storable
from tests.peers.answers import delta, event, read, text_of

DONE = event(type="done", provider="p", decision="local", latency_ms=12, tokens_used=34)

TOKEN = event(type="token", content="hi")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"status": "ok", "reply": "a", "content": "b", "response": "c", "message": "d"}, "a"),
        ({"status": "ok", "content": "b", "response": "c", "message": "d"}, "b"),
        ({"status": "ok", "response": "c", "message": "d"}, "c"),
        ({"message": "d"}, "d"),
        ({"status": "ok", "reply": "", "content": "b"}, "b"),
        ({"status": "ok", "reply": None, "content": "b"}, "b"),
        ({"status": "ok", "reply": {"no": "text"}, "content": "b"}, "b"),
        ({"status": 7, "reply": "a"}, "a"),
        ({"status": "ok", "content": '{"json": "like"}'}, '{"json": "like"}'),
        ({"reply": "a\0b\ud83d\ude00\ud83d"}, "a\ufffdb😀\ufffd"),
        ({"reply": "a", "latency_ms": "fast", "provider": 7, "tokens_used": -1}, "a"),
    ],
)
def test_one_json_object(answer: dict[str, Any], text: str) -> None:
    reader = Vx11Reader()
    body = json.dumps(answer).encode()
    said, done = reader.whole(body)
    assert said == Text(text)
    assert isinstance(done, Done)
    assert not done.streamed
    assert reader.done
    assert done.latency_ms is None
    assert done.provider is None
    assert done.tokens_used is None


def test_invalid_utf8_is_replaced_and_not_lost() -> None:
    assert Vx11Reader().whole(b'{"reply": "se\xf1or"}')[0] == Text("se\ufffdor")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b'"text"',
        b'["reply"]',
        b"<html></html>",
        b'{"reply": "cut',
        b"{}",
        b'{"status": "ok"}',
        b'{"status": "ok", "reply": "", "content": ""}',
        b'{"status": "error", "content": "Error: x"}',
        b'{"status": "ERROR", "reply": "Error: x"}',
        b'{"status": "partial", "reply": "Error en Hermes", "content": "Error en Hermes"}',
        b"[" * 100_000,
        b'{"reply":' * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_json_answers_that_are_failures(body: bytes) -> None:
    reader = Vx11Reader()
    with pytest.raises(AnswerError) as caught:
        reader.whole(body)
    assert "x" not in caught.value.detail.split()
    assert not reader.done


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (TOKEN + DONE, [Text("hi")]),
        (TOKEN + event(type="news", of="the future") + DONE, [Text("hi")]),
        (TOKEN + event(no="type") + DONE, [Text("hi")]),
        (TOKEN + event(type="token", content="") + DONE, [Text("hi")]),
        (TOKEN + event(type="token", content=[7]) + DONE, [Text("hi"), Text("[7]")]),
        (TOKEN + DONE[:-2], [Text("hi")]),
        (TOKEN + event(type="token", content=None) + DONE, [Text("hi")]),
        (TOKEN + event(type="token") + DONE, [Text("hi")]),
        (TOKEN + event(type="token", content="!", extra=[1]) + DONE, [Text("hi"), Text("!")]),
        (event(type="reasoning", content="hm") + TOKEN + DONE, [Reasoning("hm"), Text("hi")]),
        (TOKEN + DONE + b"data: [DONE]\n\n", [Text("hi")]),
        (TOKEN + DONE + TOKEN, [Text("hi")]),
        (TOKEN + DONE + b"data: rubbish\n\n", [Text("hi")]),
        (
            event(type="token", content="\ud83d") + event(type="token", content="\ude00") + DONE,
            [Text("😀")],
        ),
        (event(type="token", content="a\ud83d") + DONE, [Text("a"), Text("\ufffd")]),
        (
            b'data: {"type":"token","content":"\xed\xa0\xbd\xed\xb8\x80"}\n\n' + DONE,
            [Text("😀")],
        ),
        (b'data: {"type":"token","content":"\xff"}\n\n' + DONE, [Text("\ufffd")]),
        (
            b'data: {"type":"token",\ndata: "content":"two lines"}\n\n' + DONE,
            [Text("two lines")],
        ),
    ],
)
def test_a_stream_of_switch_becomes_its_parts_however_it_is_cut(
    stream: bytes, expected: list[Part]
) -> None:
    done = Done(provider="p", decision="local", latency_ms=12, tokens_used=34)
    assert read(Vx11Reader(), stream) == [*expected, done]
    single = [stream[i : i + 1] for i in range(len(stream))]
    assert read(Vx11Reader(), *single) == [*expected, done]


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        TOKEN,
        DONE,
        event(type="reasoning", content="hm") + DONE,
        TOKEN + b"data: [DONE]\n\n" + DONE,
        TOKEN + event(type="error", message="broken") + DONE,
        TOKEN + event(type="done", status="error", content="Error: x"),
        TOKEN + event(type="done", status="partial"),
        TOKEN + b"data: {\n\n" + DONE,
        TOKEN + b"data: 7\n\n" + DONE,
        TOKEN + b"data: " + b"[" * 5000 + b"\n\n" + DONE,
        TOKEN + event(type="tool_call") + DONE,
        TOKEN + event(type="tool_call", name="") + DONE,
    ],
)
def test_event_streams_that_are_failures(stream: bytes) -> None:
    reader = Vx11Reader()
    with pytest.raises(AnswerError):
        read(reader, stream)
    assert not reader.done


@pytest.mark.parametrize("reader", [Vx11Reader(), OpenAiReader()])
def test_what_came_in_the_same_read_before_a_fault_is_kept(reader: AnswerReader) -> None:
    good = TOKEN if isinstance(reader, Vx11Reader) else delta(content="hi")
    with pytest.raises(AnswerError) as caught:
        reader.feed(good + good + b"data: rubbish\n\n" + good)
    assert caught.value.parts == [Text("hi"), Text("hi")]


@pytest.mark.parametrize(
    ("fields", "name", "arguments", "identity"),
    [
        ({"name": "f", "arguments": {"a": 1}, "id": "x"}, "f", {"a": 1}, "x"),
        ({"name": "f", "arguments": '{"a": 1}'}, "f", {"a": 1}, None),
        ({"name": "f", "arguments": "not json"}, "f", "not json", None),
        ({"name": "f", "arguments": ""}, "f", None, None),
        ({"name": "f"}, "f", None, None),
        ({"tool_name": "f", "input": [1], "call_id": 7}, "f", [1], "7"),
        ({"tool": "f", "args": {}}, "f", {}, None),
        ({"function": {"name": "f", "arguments": "{}"}, "id": "x"}, "f", {}, "x"),
        ({"name": "f\0", "arguments": {"k\0": "\ud83d"}}, "f\ufffd", {"k\ufffd": "\ufffd"}, None),
    ],
)
def test_tool_calls_are_read_widely(
    fields: dict[str, Any], name: str, arguments: Any, identity: str | None
) -> None:
    call, done = read(Vx11Reader(), event(type="tool_call", **fields) + DONE)
    assert isinstance(call, ToolCallPart)
    assert isinstance(done, Done)
    assert (call.name, call.arguments, call.id) == (name, arguments, identity)
    assert set(call.raw) == {storable(key) for key in fields}


CONTENTS = st.lists(
    st.text(st.characters() | st.sampled_from(["\ud83d", "\ude00", "\0"]), max_size=8), max_size=12
)


@given(CONTENTS, st.booleans(), st.data())
def test_any_text_arrives_storable_however_it_is_cut(
    contents: list[str], ascii_only: bool, data: st.DataObject
) -> None:
    def encode(content: str) -> bytes:
        body = json.dumps({"type": "token", "content": content}, ensure_ascii=ascii_only)
        return b"data: " + body.encode("utf-8", "surrogatepass") + b"\n\n"

    stream = b"".join(map(encode, [*contents, "."])) + DONE
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    chunks = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    parts = read(Vx11Reader(think_tags=False), *chunks)
    assert text_of(parts) == storable("".join(contents) + ".")
    assert all(part.content for part in parts if isinstance(part, Text))
    msgspec.json.encode(parts)  # nothing in them that cannot be sent
