"""Traces: one chat is one trace from its caller to Switch; off, nothing of it is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import aiohttp
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from operator_svc import devpeers, lifecycle, tracing
from operator_svc.rest.server.listener import Server
from operator_svc.settings import Settings

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.start(exporter)
    yield exporter
    tracing.stop()


async def test_a_chat_is_one_trace(database_url: str, spans: InMemorySpanExporter) -> None:
    async with await devpeers.start("secret-token") as peers:
        settings = Settings(
            database_url=database_url,
            token="secret-token",
            port=0,
            switch_url=peers.switch.url,
            browser_url="",
        )
        operator = await lifecycle.start(settings)
        server = Server(operator.application(), settings)
        url = await server.start()
        headers = {"X-VX11-Token": "secret-token", "traceparent": CALLER}
        try:
            async with aiohttp.ClientSession(headers=headers) as http:
                for words in ("private words", "fail [[error]]"):
                    body = {"message": words, "session_id": "s"}
                    async with http.post(f"{url}/operator/chat", json=body) as answer:
                        assert answer.status == (200 if words.startswith("private") else 502)
        finally:
            await server.close()
            finished = spans.get_finished_spans()
            await lifecycle.close(operator)
        assert peers.switch.last_headers["traceparent"].split("-")[1] == TRACE

    mine = [span for span in finished if span.context and span.context.trace_id == int(TRACE, 16)]
    by_name = {span.name: span for span in mine}
    assert {"POST /operator/chat", "chat_start_new", "chat", "reply_finish"} <= set(by_name)
    server_span, good, bad = (
        by_name["POST /operator/chat"],
        *(span for span in mine if span.name == "chat"),
    )
    assert server_span.attributes is not None
    assert server_span.attributes["http.route"] == "/operator/chat"
    assert server_span.parent is not None
    told_of_good = dict(good.attributes or {})
    assert isinstance(told_of_good.pop("gen_ai.usage.output_tokens"), int)
    assert told_of_good == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": "s",
        "gen_ai.provider.name": "stand-in",
    }
    assert good.status.is_ok
    assert bad.attributes is not None
    assert bad.attributes["error.type"] == "switch_error"
    assert not bad.status.is_ok
    told = "".join(span.to_json() for span in mine)
    assert "private words" not in told
    assert "secret-token" not in told


def test_nothing_is_imported_while_traces_are_off() -> None:
    check = (
        "import operator_svc.app, sys; "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
