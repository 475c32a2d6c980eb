"""The schema of Open Responses: responses, their items, errors and events.

Written from the facts of its OpenAPI document, version 2026-04-24 (``public/openapi/openapi.json``
of https://github.com/openresponses/openresponses): which fields there are, which of them are
required, their types and values. Its names of schemas stand beside ours; its text is not copied.
Kinds of items and events that Operator never makes (compaction, refusals, annotations)
are left out, so that one of them would be a fault; reasoning is what a client has added.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import jsonschema_rs

Schema: TypeAlias = dict[str, Any]

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
ANY: Schema = {}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def many(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def record(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object; fields that it does not name are allowed, as they are there."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
    }


def by_type(kinds: dict[str, Schema]) -> Schema:
    """One of these objects, as its ``type`` says."""
    return {
        **record({"type": one_of(*kinds)}),
        "allOf": [
            {"if": {"properties": {"type": {"const": kind}}}, "then": schema}
            for kind, schema in kinds.items()
        ],
    }


# Items.

STATUS = one_of("in_progress", "completed", "incomplete")
"""MessageStatus, FunctionCallStatus, FunctionCallOutputStatusEnum."""
LOG_PROBABILITY = record(
    {"token": TEXT, "logprob": NUMBER, "bytes": many(INTEGER), "top_logprobs": many(OBJECT)}
)
OUTPUT_TEXT = record({"text": TEXT, "annotations": many(OBJECT)}, logprobs=many(LOG_PROBABILITY))
INPUT_PARTS = {
    "input_text": record({"text": TEXT}),
    "input_image": record({"image_url": or_null(TEXT), "detail": one_of("low", "high", "auto")}),
    "input_file": record({}, filename=TEXT, file_url=TEXT),
}
PART = by_type({**INPUT_PARTS, "output_text": OUTPUT_TEXT})
ITEM = by_type(
    {
        "message": record(
            {
                "id": TEXT,
                "status": STATUS,
                "role": one_of("user", "assistant", "system", "developer"),
                "content": many(PART),
            },
            phase=one_of("commentary", "final_answer"),
        ),
        "reasoning": record(
            {"id": TEXT, "summary": many(by_type({"summary_text": record({"text": TEXT})}))},
            content=many(by_type({"reasoning_text": record({"text": TEXT})})),
            encrypted_content=TEXT,
        ),
        "function_call": record(
            {"id": TEXT, "call_id": TEXT, "name": TEXT, "arguments": TEXT, "status": STATUS}
        ),
        "function_call_output": record(
            {
                "id": TEXT,
                "call_id": TEXT,
                "output": {"anyOf": [TEXT, many(by_type(INPUT_PARTS))]},
                "status": STATUS,
            }
        ),
    }
)
"""ItemField."""

# Responses.

CHOICE = one_of("none", "auto", "required")
FUNCTION = record({"type": one_of("function")}, name=TEXT)
TOOL_CHOICE = {
    "anyOf": [
        CHOICE,
        FUNCTION,
        record({"type": one_of("allowed_tools"), "tools": many(FUNCTION), "mode": CHOICE}),
    ]
}
FORMAT = by_type(
    {
        "text": OBJECT,
        "json_object": OBJECT,
        # Its schema is null there by a slip of the generator; OpenAI's SDKs want the schema.
        "json_schema": record(
            {"name": TEXT, "description": or_null(TEXT), "schema": OBJECT, "strict": FLAG}
        ),
    }
)
USAGE = record(
    {
        "input_tokens": INTEGER,
        "output_tokens": INTEGER,
        "total_tokens": INTEGER,
        "input_tokens_details": record({"cached_tokens": INTEGER}),
        "output_tokens_details": record({"reasoning_tokens": INTEGER}),
    }
)
TOOL = record(
    {
        "type": one_of("function"),
        "name": TEXT,
        "description": or_null(TEXT),
        "parameters": or_null(OBJECT),
        "strict": or_null(FLAG),
    }
)
RESPONSE = record(
    {
        "id": TEXT,
        "object": one_of("response"),
        "created_at": INTEGER,
        "completed_at": or_null(INTEGER),
        "status": TEXT,
        "incomplete_details": or_null(record({"reason": TEXT})),
        "model": TEXT,
        "previous_response_id": or_null(TEXT),
        "instructions": or_null(TEXT),
        "output": many(ITEM),
        "error": or_null(record({"code": TEXT, "message": TEXT})),
        "tools": many(TOOL),
        "tool_choice": TOOL_CHOICE,
        "truncation": one_of("auto", "disabled"),
        "parallel_tool_calls": FLAG,
        "text": record({"format": FORMAT}, verbosity=one_of("low", "medium", "high")),
        "top_p": NUMBER,
        "presence_penalty": NUMBER,
        "frequency_penalty": NUMBER,
        "top_logprobs": INTEGER,
        "temperature": NUMBER,
        "reasoning": or_null(
            record(
                {
                    "effort": {"enum": ["none", "low", "medium", "high", "xhigh", None]},
                    "summary": {"enum": ["concise", "detailed", "auto", None]},
                }
            )
        ),
        "usage": or_null(USAGE),
        "max_output_tokens": or_null(INTEGER),
        "max_tool_calls": or_null(INTEGER),
        "store": FLAG,
        "background": FLAG,
        "service_tier": TEXT,
        "metadata": ANY,
        "safety_identifier": or_null(TEXT),
        "prompt_cache_key": or_null(TEXT),
    }
)
"""ResponseResource."""
ERROR = record(
    {"type": TEXT, "code": or_null(TEXT), "message": TEXT, "param": or_null(TEXT)},
    headers={"type": "object", "additionalProperties": TEXT},
)
"""ErrorPayload."""

# Events.


def event(**required: Schema) -> Schema:
    return record({"type": TEXT, "sequence_number": INTEGER, **required})


ABOUT = {"item_id": TEXT, "output_index": INTEGER}
IN_PART = {**ABOUT, "content_index": INTEGER}
LOG_PROBABILITIES = record({}, logprobs=many(LOG_PROBABILITY))
STATES = ("created", "queued", "in_progress", "completed", "failed", "incomplete")
EVENT = by_type(
    {
        **{f"response.{state}": event(response=RESPONSE) for state in STATES},
        "response.output_item.added": event(output_index=INTEGER, item=or_null(ITEM)),
        "response.output_item.done": event(output_index=INTEGER, item=or_null(ITEM)),
        "response.content_part.added": event(**IN_PART, part=PART),
        "response.content_part.done": event(**IN_PART, part=PART),
        "response.output_text.delta": {"allOf": [event(**IN_PART, delta=TEXT), LOG_PROBABILITIES]},
        "response.output_text.done": {"allOf": [event(**IN_PART, text=TEXT), LOG_PROBABILITIES]},
        "response.function_call_arguments.delta": event(**ABOUT, delta=TEXT),
        "response.function_call_arguments.done": event(**ABOUT, arguments=TEXT),
        "error": event(error=ERROR),
    }
)

_CHECKS = {
    name: jsonschema_rs.validator_for(schema)
    for name, schema in {
        "response": RESPONSE, "item": ITEM, "event": EVENT, "error": ERROR,
    }.items()
}  # fmt: skip


def faults(name: str, value: Any) -> list[str]:
    """Differences of a ``response``, ``item``, ``event`` or ``error`` from the schema."""
    return [f"{fault.instance_path}: {fault.message}" for fault in _CHECKS[name].iter_errors(value)]


def check(name: str, value: Any) -> None:
    """Fail unless a ``response``, ``item``, ``event`` or ``error`` is as the schema has it."""
    assert faults(name, value) == [], value


def check_stream(events: list[dict[str, Any]]) -> None:
    """Fail unless a whole stream tells what its last response has: each item is added, grows and
    is done once, in its place."""
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] in {f"response.{state}" for state in ("completed", "failed", "incomplete")}
    output = events[-1]["response"]["output"]
    for index, item in enumerate(output):
        told = [event for event in events if event.get("output_index") == index]
        assert told[0]["type"] == "response.output_item.added"
        assert told[0]["item"]["status"] == "in_progress"
        assert told[-1] == {**told[-1], "type": "response.output_item.done", "item": item}
        assert {event["item_id"] for event in told[1:-1]} == {item["id"]}
        grown = "".join(event["delta"] for event in told if "delta" in event)
        text = item["arguments"] if "arguments" in item else item["content"][0]["text"]
        assert grown == text
        (done,) = [event for event in told if "text" in event or "arguments" in event]
        assert done.get("text", done.get("arguments")) == text
    assert {event["output_index"] for event in events if "output_index" in event} == set(
        range(len(output))
    )
