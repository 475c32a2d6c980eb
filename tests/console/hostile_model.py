"""A model whose every word is hostile: reasoning, text, tool calls and its own name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


@asynccontextmanager
async def hostile_model(text: str) -> AsyncIterator[str]:
    """The address of a server of OpenAI's chat completions that says ``text`` wherever it can."""
    call = {"index": 0, "id": text, "type": "function"}
    function = {"name": text, "arguments": json.dumps({text: text})}

    async def complete(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        deltas: list[dict[str, Any]] = [
            {"reasoning_content": text},
            {"content": f"{text}\n\n```{text}\n{text}\n```\n\n| {text} |\n| --- |\n| {text} |\n"},
            {"tool_calls": [{**call, "function": function}]},
        ]
        for delta in deltas:
            chunk = {"model": text, "choices": [{"index": 0, "delta": delta}]}
            await answer.write(f"data: {json.dumps(chunk)}\n\n".encode())
        end = {"model": text, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        await answer.write(f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode())
        return answer

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")
