"""Bytes of Switch's answers, however they come: pieces, garbage, endless ones, ends."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.json_size import MAX_VALUES
from operator_svc.peers.transport import LINGER
from tests.fakes.chats import ask, switch_at
from tests.fakes.eventually import WITHIN
from tests.fakes.raw import (
    STREAM_HEAD,
    Connection,
    raw_server,
)
from tests.peers.conftest import DIALECTS
from tests.peers.upstreams import answering
from tests.peers.wire import DONE, TOKENS, fails


async def test_a_stream_that_comes_byte_by_byte() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(STREAM_HEAD)
        for byte in b"\xef\xbb\xbf: hello\n\n" + TOKENS + DONE:
            await client.chunk(bytes([byte]))
            await asyncio.sleep(0)
        await client.end()

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        answer = await ask(switch, "hello")
    assert answer.text == "Señor 😀 ok"
    assert answer.done.provider == "p"


async def test_all_of_http_byte_by_byte() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        body = TOKENS + DONE
        await client.dribble(STREAM_HEAD + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        assert (await ask(switch, "hello")).text == "Señor 😀 ok"


async def test_a_stream_without_length_ends_with_its_connection() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        head = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"
        await client.send(head + TOKENS + DONE)
        client.close()

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        assert (await ask(switch, "hello")).text == "Señor 😀 ok"


async def test_a_half_closed_stream_without_done_was_cut() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + TOKENS)
        client.half_close()
        await client.until_gone()

    async with raw_server(behaviour) as server:
        _, text = await fails(server.url, ErrorCode.SWITCH_ERROR)
        assert text == "Señor 😀 ok"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02 this is no HTTP\r\n\r\n",
        b"HTTP/1.1 two hundred OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_garbage_is_an_error_of_switch(garbage: bytes) -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(garbage)
        await client.until_gone()

    async with raw_server(behaviour) as server:
        error, text = await fails(server.url, ErrorCode.SWITCH_ERROR)
        assert text == ""
        assert "HTTP/1.1" not in str(error)
        assert len(server.requests) == 1


async def test_an_answer_that_never_ends_is_bounded_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operator_svc.peers.answer_body.MAX_ANSWER_BYTES", 100_000)
    sent = 0

    async def behaviour(client: Connection) -> None:
        nonlocal sent
        await client.request()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
        while True:
            await client.send(b" " * 50_000)
            sent += 50_000

    async with raw_server(behaviour) as server:
        await fails(server.url, ErrorCode.REPLY_TOO_LARGE)
    assert sent < 20_000_000


MANY = MAX_VALUES + 1
BOMBS = {
    "objects": b"[" + b",".join([b"{}"] * (MANY // 2 + 1)) + b"]",
    "numbers": b"[" + b",".join([b"0"] * MANY) + b"]",
    "texts": b"[" + b",".join([b'"\\",["'] * MANY) + b"]",
    "names": b"{" + b",".join(b'"%d":0' % n for n in range(MANY)) + b"}",
}
"""JSON of few bytes a value, of which decoders make a hundred."""


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_event_of_too_many_values_is_not_decoded(dialect: Any, bomb: str) -> None:
    data = b'{"unknown":' + BOMBS[bomb] + b"}"

    async def behaviour(client: Connection) -> None:
        asked = await client.request()
        if b"whole" in asked:
            await client.json(data)
            return
        await client.send(STREAM_HEAD)
        if b"last" in asked:
            await client.chunk(b"data: %s\n" % data)
            await client.end()
            return
        await client.chunk(b"data: %s\n\n" % data)
        await client.until_gone()

    async with (
        raw_server(behaviour) as server,
        switch_at(server.url, switch_dialect=dialect) as switch,
    ):
        for message in ("streamed", "last", "whole"):
            with pytest.raises(OperatorError) as caught:
                await ask(switch, message)
            assert caught.value.code == ErrorCode.SWITCH_ERROR
            assert f"more than {MAX_VALUES:,} values" in caught.value.detail


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_text_may_have_any_number_of_commas_and_brackets(dialect: Any) -> None:
    text = '",[{' * (MANY // 3 + 1)
    field = {"vx11": "reply", "openai": "choices"}[dialect]
    value: Any = text if dialect == "vx11" else [{"message": {"content": text}}]
    answer = msgspec.json.encode({"status": "ok", field: value})
    async with (
        answering(answer) as server,
        switch_at(server.url, switch_dialect=dialect) as switch,
    ):
        assert (await ask(switch, "hello")).text == text


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br"])
async def test_a_compressed_answer_is_refused_and_not_inflated(encoding: bytes) -> None:
    async def behaviour(client: Connection) -> None:
        assert b"Accept-Encoding: identity" in await client.request()
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
        body = b"what no inflating would get through"
        await client.send(head % (encoding, len(body)) + body)
        await client.until_gone()

    async with raw_server(behaviour) as server:
        error, _ = await fails(server.url, ErrorCode.SWITCH_ERROR)
        assert "is compressed, against the request" in error.detail


async def test_endless_comments_are_no_silence_but_end_in_time() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(STREAM_HEAD)
        while True:
            await client.chunk(b": ping\n")
            await asyncio.sleep(0.01)  # the pace of the comments

    async with raw_server(behaviour) as server:
        error, _ = await fails(
            server.url,
            ErrorCode.SWITCH_TIMEOUT,
            switch_idle_timeout=0.6,
            switch_total_timeout=1.2,
        )
        assert "total" in error.detail


async def test_the_end_of_a_reply_does_not_wait_for_the_end_of_its_stream() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(STREAM_HEAD)
        await client.chunk(TOKENS + DONE)
        await client.until_gone()

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        assert (await ask(switch, "hello")).done.provider == "p"
        assert not server.left.is_set()
        await asyncio.wait_for(server.left.wait(), LINGER + WITHIN)  # it is closed in the end


CHUNKS = b"""\
data: {"model": "m", "choices": [{"delta": {"content": "Hello"}}]}

data: {"model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}]}

"""


@pytest.mark.parametrize("how", ["silence", "reset", "close", "usage"])
async def test_reply_that_has_ended_needs_no_more(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grace = {"silence": 0.3, "usage": 1.0}.get(how, WITHIN)
    monkeypatch.setattr("operator_svc.peers.answer_body.END_GRACE", grace)

    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(STREAM_HEAD)
        await client.chunk(CHUNKS)
        await asyncio.sleep(0.05)  # the end was told before
        if how == "usage":
            await client.chunk(b'data: {"choices": [], "usage": {"total_tokens": 9}}\n\n')
        if how == "reset":
            client.reset()
        elif how == "close":
            client.close()
        else:
            await client.until_gone()

    async with (
        raw_server(behaviour) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        answer = await ask(switch, "hello")
    assert answer.text == "Hello"
    assert answer.done.finish_reason == "stop"
    assert answer.done.tokens_used == (9 if how == "usage" else None)


@pytest.mark.parametrize("how", ["silence", "reset", "close"])
async def test_reply_without_an_end_is_cut(how: str) -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(STREAM_HEAD)
        await client.chunk(CHUNKS[:-20])
        if how == "reset":
            await asyncio.sleep(0.05)  # what was sent arrives first
            client.reset()
        elif how == "silence":
            await client.until_gone()

    code = ErrorCode.SWITCH_TIMEOUT if how == "silence" else ErrorCode.SWITCH_ERROR
    async with raw_server(behaviour) as server:
        _, text = await fails(server.url, code, switch_dialect="openai", switch_idle_timeout=0.3)
    assert text == "Hello"
