"""Readers of OpenAI's answers on samples: what is taken, and what makes an answer a failure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operator_svc.peers.chat_types import (
    AnswerError,
    Done,
    Part,
    Prompt,
    Reasoning,
    Text,
    ToolCallPart,
)
from operator_svc.peers.dialect_openai import OpenAiDialect, OpenAiReader
from tests.peers.answers import delta, event, read

SENTINEL = b"data: [DONE]\n\n"

STOP = delta(finish="stop")

USAGE = event(model="m-1", choices=[], usage={"prompt_tokens": 3, "total_tokens": 9})


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (delta(role="assistant", content="") + delta(content="hi") + STOP, [Text("hi")]),
        (delta(content="hi", finish="length"), [Text("hi")]),
        (delta(reasoning_content="hm") + delta(content="hi") + STOP, [Reasoning("hm"), Text("hi")]),
        (delta(reasoning="hm") + delta(content="hi") + STOP, [Reasoning("hm"), Text("hi")]),
        (delta(content="hi", reasoning_content=None, tool_calls=None) + STOP, [Text("hi")]),
        (delta(content="hi", tool_calls="odd") + STOP, [Text("hi")]),
        (event(choices=[{"delta": {"content": "hi"}}]) + STOP, [Text("hi")]),
        (event(odd=True) + delta(content="hi") + STOP, [Text("hi")]),
        (delta(content="\ud83d") + delta(content="\ude00") + STOP, [Text("😀")]),
        (delta(content="a\0") + STOP, [Text("a\ufffd")]),
    ],
)
@pytest.mark.parametrize("end", [SENTINEL, b"", USAGE + SENTINEL])
def test_a_stream_of_openai_becomes_its_parts(
    stream: bytes, expected: list[Part], end: bytes
) -> None:
    parts = read(OpenAiReader(), stream + end)
    assert parts[:-1] == expected
    usage = {"prompt_tokens": 3, "total_tokens": 9} if USAGE in end else {}
    assert parts[-1] == Done(
        provider="m-1",
        decision="openai",
        finish_reason="length" if b"length" in stream else "stop",
        tokens_used=usage.get("total_tokens"),
        usage=usage,
    )
    joined = stream + end
    assert read(OpenAiReader(), *(joined[i : i + 1] for i in range(len(joined)))) == parts


def test_openai_tool_calls_are_put_together() -> None:
    def call(index: int, **fields: Any) -> bytes:
        return delta(tool_calls=[{"index": index, **fields}])

    stream = [
        call(0, id="a", type="function", function={"name": "look", "arguments": ""}),
        call(0, function={"arguments": '{"at":'}),
        call(1, id="b", function={"name": "go", "arguments": "{}"}),
        call(0, function={"arguments": ' "it"}'}),
        delta(finish="tool_calls"),
        SENTINEL,
    ]
    first, second, done = read(OpenAiReader(), *stream)
    assert isinstance(first, ToolCallPart)
    assert isinstance(second, ToolCallPart)
    assert isinstance(done, Done)
    assert (first.id, first.name, first.arguments) == ("a", "look", {"at": "it"})
    assert (second.id, second.name, second.arguments) == ("b", "go", {})


def test_tool_calls_beyond_those_that_are_kept_are_passed_over() -> None:
    pieces = [
        {"index": n, "id": f"c{n}", "function": {"name": "t", "arguments": '{"n":'}}
        for n in range(300)
    ]
    ends = [{"index": n, "function": {"arguments": f"{n}}}"}} for n in range(300)]
    nameless = {"function": {"arguments": "nobody's"}}
    stream = b"".join(delta(tool_calls=[piece]) for piece in [*pieces, *ends, nameless])
    *calls, done = read(OpenAiReader(), stream + SENTINEL)
    kept = [call for call in calls if isinstance(call, ToolCallPart)]
    assert [call.arguments for call in kept] == [{"n": n} for n in range(256)]
    assert isinstance(done, Done)
    assert done.tool_calls_truncated


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        delta(content="hi"),
        STOP + SENTINEL,
        delta(reasoning_content="hm") + STOP + SENTINEL,
        delta(content="hi") + event(error={"message": "overloaded"}) + SENTINEL,
        delta(content="hi") + event(error="overloaded", choices=[]) + SENTINEL,
        delta(content="hi", finish="error") + SENTINEL,
        delta(content="hi", finish="") + delta(finish="null"),
        delta(content="hi") + b"data: rubbish\n\n" + STOP + SENTINEL,
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"arguments": "{}"}}]) + STOP,
    ],
)
def test_openai_streams_that_are_failures(stream: bytes) -> None:
    reader = OpenAiReader()
    with pytest.raises(AnswerError):
        read(reader, stream)
    assert not reader.done


def test_openai_answers_in_one_piece() -> None:
    message = {
        "role": "assistant",
        "content": "hi",
        "reasoning_content": "hm",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}],
    }
    body = {"model": "m-1", "choices": [{"message": message}], "usage": {"total_tokens": 9}}
    thought, text, call, done = OpenAiReader().whole(json.dumps(body).encode())
    assert thought == Reasoning("hm")
    assert text == Text("hi")
    assert isinstance(call, ToolCallPart)
    assert call.arguments == {"x": 1}
    assert done == Done(
        provider="m-1",
        decision="openai",
        tokens_used=9,
        usage={"total_tokens": 9},
        streamed=False,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": "no"}]}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": "", "reasoning_content": "hm"}}]}',
        b'{"error": {"message": "no"}, "choices": [{"message": {"content": "hi"}}]}',
    ],
)
def test_openai_answers_in_one_piece_that_are_failures(body: bytes) -> None:
    with pytest.raises(AnswerError):
        OpenAiReader().whole(body)


def test_openai_asks_in_order() -> None:
    asked = Prompt(
        message="now",
        session_id="s",
        user_id="u",
        history=[
            {"role": "user", "content": "then"},
            {"role": "tool", "content": "a result without its call"},
            {"role": "assistant", "content": "yes"},
        ],
        context_summary="so far",
        provider_hint="hinted",
        metadata={"max_tokens": 5, "secret": "stays here"},
    )
    assert json.loads(OpenAiDialect("m-1").body(asked)) == {
        "model": "m-1",
        "messages": [
            {"role": "system", "content": "so far"},
            {"role": "user", "content": "then"},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": "now"},
        ],
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert json.loads(OpenAiDialect().body(asked))["model"] == "hinted"
