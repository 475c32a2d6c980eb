"""Each shape of an upstream's answer, over HTTP: the reply, its finish reason, and the circuit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from operator_svc.peers.breaker import FAILURES_TO_OPEN
from operator_svc.peers.chat_types import ChatError, Reasoning, ToolCallPart
from tests.fakes.chats import Answer, ask, switch_at
from tests.fakes.raw import Connection, RawServer, raw_server
from tests.peers.upstream_shapes import Shape, shapes

SHAPES = list(shapes())


@asynccontextmanager
async def upstream(shape: Shape, size: int) -> AsyncIterator[RawServer]:
    """A server that answers in this shape, in pieces of ``size`` bytes, and then closes."""

    async def behaviour(client: Connection) -> None:
        await client.request()
        lines = [
            f"HTTP/1.0 {shape.status} Because",
            f"Content-Type: {shape.content_type}",
            *(f"{name}: {value}" for name, value in shape.headers),
        ]
        await client.send("\r\n".join([*lines, "", ""]).encode())
        for start in range(0, len(shape.body), size):
            await client.send(shape.body[start : start + size])
        client.close()

    async with raw_server(behaviour) as server:
        yield server


def test_the_table_is_large_and_its_names_are_unique() -> None:
    assert len(SHAPES) >= 160
    assert len({(shape.dialect, shape.name) for shape in SHAPES}) == len(SHAPES)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.dialect}: {shape.name}")
async def test_shape_gives_its_reply_and_counts_only_where_the_upstream_fails(
    shape: Shape,
) -> None:
    for size in (7 if len(shape.body) < 10_000 else 10_000, 1_000_000):
        async with (
            upstream(shape, size) as server,
            switch_at(server.url, switch_dialect=shape.dialect) as switch,
        ):
            for _ in range(FAILURES_TO_OPEN):
                answer = Answer()
                if shape.error is None:
                    await ask(switch, "hello", answer)
                    ending = answer.done
                else:
                    with pytest.raises(ChatError) as caught:
                        await ask(switch, "hello", answer)
                    assert caught.value.code == shape.error
                    ending = caught.value.ending
                    if retry_after := dict(shape.headers).get("Retry-After"):
                        assert caught.value.retry_after == float(retry_after)
                assert answer.text == shape.reply
                thoughts = [p.content for p in answer.parts if isinstance(p, Reasoning)]
                assert "".join(thoughts) == shape.reasoning
                calls = [p for p in answer.parts if isinstance(p, ToolCallPart)]
                assert tuple((call.name, call.arguments) for call in calls) == shape.tools
                assert ending.finish_reason == shape.finish_reason
                assert (ending.content_type == "json") is shape.is_json
            assert switch.chats.breaker.state == ("open" if shape.counts else "closed")
