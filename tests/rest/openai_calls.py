"""Calls in OpenAI's protocol, by its own SDK and byte by byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI

from tests.rest.rest_service import TOKEN, Service, running

PATH = "/v1/chat/completions"


HELLO = [{"role": "user", "content": "hello"}]


TALK = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "one"},
    {"role": "user", "content": "second"},
]


PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]


WEATHER = {
    "type": "function",
    "function": {"name": "standin_tool", "parameters": {"type": "object", "properties": {}}},
}


@asynccontextmanager
async def sdk(service: Service, **options: Any) -> AsyncIterator[Any]:
    """OpenAI's own client; untyped, since its types want its own dicts."""
    url = f"{service.url}/v1"
    async with AsyncOpenAI(**{"base_url": url, "api_key": TOKEN, **options}) as client:
        yield client


def says(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


async def completion(service: Service, body: dict[str, Any], **kwargs: Any) -> Any:
    return await service.post(PATH, {"messages": HELLO, **body}, **kwargs)


async def chunks(service: Service, headers: Any = None, **body: Any) -> list[Any]:
    """The data of a stream's events."""
    response = await completion(service, {"stream": True, **body}, headers=headers or {})
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    text = await response.text()
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def stored(service: Service, session_id: str) -> list[dict[str, Any]]:
    response = await service.get(f"/operator/session/{session_id}")
    assert response.status == 200
    messages: list[dict[str, Any]] = (await response.json())["messages"]
    return messages


def sent(service: Service) -> dict[str, Any]:
    """The body of the last chat that the upstream was asked."""
    body: dict[str, Any] = service.switch.recent[-1]
    return body


REPEATED = {"x-stainless-retry-count": "1"}


@asynccontextmanager
async def two_processes(
    url: str, bus_url: str, **settings: Any
) -> AsyncIterator[tuple[Service, Service]]:
    """Two services on one database, one bus and one Switch."""
    settings["bus_url"] = bus_url
    async with (
        running(url, **settings) as one,
        running(url, switch_url=one.switch.url, **settings) as other,
    ):
        yield one, other
