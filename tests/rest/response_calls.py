"""Calls for responses, each answer and event of which is held to the published schemas."""

from __future__ import annotations

import json
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.rest import open_responses
from tests.rest.rest_service import Service

PATH = "/v1/responses"
WEATHER = {
    "type": "function",
    "name": "standin_tool",
    "description": "the weather",
    "parameters": {"type": "object", "properties": {}},
}
HEART = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
SLOW = "x [[rate=40]] [[tokens=400]]"


def message(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def checked(response: dict[str, Any]) -> dict[str, Any]:
    """A response that is as both schemas have it: that of Open Responses, and of OpenAI's SDK."""
    open_responses.check("response", response)
    Response.model_validate(response, strict=False)
    return response


async def create(service: Service, asked: Any = "hello", **fields: Any) -> dict[str, Any]:
    answer = await service.post(PATH, {"input": asked, **fields})
    body: dict[str, Any] = await answer.json()
    assert answer.status == 200, body
    return checked(body)


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream, each as both schemas have it."""
    events = []
    for block in text.strip().split("\n\n"):
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        event: dict[str, Any] = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        open_responses.check("event", event)
        if event["type"] != "error":
            EVENT.validate_python(event)
        events.append(event)
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(set(numbers))
    return events


async def streamed(service: Service, asked: Any = "hello", **fields: Any) -> list[dict[str, Any]]:
    answer = await service.post(PATH, {"input": asked, "stream": True, **fields})
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    events = events_of(await answer.text())
    open_responses.check_stream(events)
    return events


async def replayed(service: Service, identity: str, query: str = "") -> list[dict[str, Any]]:
    answer = await service.get(f"{PATH}/{identity}?stream=true{query}")
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    return events_of(await answer.text())


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
