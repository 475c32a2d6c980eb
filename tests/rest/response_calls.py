"""Calls for responses, each answer and event of which is held to the published schemas."""

from __future__ import annotations

import json
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

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

REQUIRED = {
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model",
    "previous_response_id", "instructions", "output", "error", "tools", "tool_choice",
    "truncation", "parallel_tool_calls", "text", "top_p", "presence_penalty",
    "frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage",
    "max_output_tokens", "max_tool_calls", "store", "background", "service_tier", "metadata",
    "safety_identifier", "prompt_cache_key",
}  # fmt: skip
"""The required fields of ResponseResource, in the schema of Open Responses (2026-04-24)."""


def message(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def checked(response: dict[str, Any]) -> dict[str, Any]:
    """A response that is as both schemas have it."""
    assert set(response) >= REQUIRED
    for field in ("top_p", "temperature", "presence_penalty", "frequency_penalty"):
        assert isinstance(response[field], int | float)
    for field in ("created_at", "completed_at"):
        assert isinstance(response[field], int | None)
    Response.model_validate(response, strict=False)
    return response


async def create(service: Service, asked: Any = "hello", **fields: Any) -> dict[str, Any]:
    answer = await service.post(PATH, {"input": asked, **fields})
    body: dict[str, Any] = await answer.json()
    assert answer.status == 200, body
    return checked(body)


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream, each as the schema has it."""
    events = []
    for block in text.strip().split("\n\n"):
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        event: dict[str, Any] = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        if event["type"] != "error":
            EVENT.validate_python(event)
        if "response" in event:
            checked(event["response"])
        events.append(event)
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(set(numbers))
    return events


async def streamed(service: Service, asked: Any = "hello", **fields: Any) -> list[dict[str, Any]]:
    answer = await service.post(PATH, {"input": asked, "stream": True, **fields})
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    return events_of(await answer.text())


async def replayed(service: Service, identity: str, query: str = "") -> list[dict[str, Any]]:
    answer = await service.get(f"{PATH}/{identity}?stream=true{query}")
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    return events_of(await answer.text())


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
