"""``/asyncapi.json``: AsyncAPI 3.0 of the websocket, made from the structs of its frames."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from operator_svc import __version__
from operator_svc.protocol import event_data, headers, ids
from operator_svc.protocol.frames import (
    CLIENT_FRAMES,
    MAX_FRAME,
    SERVER_FRAMES,
    SUBPROTOCOL,
    CloseCode,
    EventFrame,
)
from operator_svc.rest.docs import examples
from operator_svc.rest.docs.schemas import REF, name_enums, schema_of, schemas_of

_EXAMPLES = {type(example): example for example in (*examples.FRAMES, *examples.EVENT_DATA)}

_RULES = (
    "A client keeps one text a reply and kind. It appends a `delta` whose `offset` equals its "
    "last `end`, and otherwise ignores it and sends `resume`. `reply.snapshot` and a reply's last "
    "event replace that text. Events are numbered without a gap (`seq`); unknown ones, and "
    "unknown fields, are to be ignored. `resume` with the last `seq` and the session's `epoch` "
    "brings what was missed, or `resync` a state to start from. Offsets count Unicode code points."
)


def document(server: str = "") -> dict[str, Any]:
    """The document; ``server`` is the address that clients use, where it is known."""
    parts = urlsplit(server or "http://localhost:8011")
    events = _event_schemas()
    messages = _messages()
    made = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Operator's websocket",
            "version": __version__,
            "description": "One session as it goes on. The same frames are the data of the "
            f"event streams in /openapi.json.\n\n{_RULES}",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "operator": {
                "host": parts.netloc,
                "protocol": "wss" if parts.scheme == "https" else "ws",
                "security": [
                    {"$ref": f"#/components/securitySchemes/{name}"}
                    for name in ("header", "subprotocol", "frame")
                ],
            }
        },
        "channels": {"session": _channel(messages)},
        "operations": {
            "clientFrames": _operation("receive", "What a client sends.", CLIENT_FRAMES),
            "serverFrames": _operation("send", "What the server sends.", SERVER_FRAMES),
            "events": {
                "action": "send",
                "channel": {"$ref": "#/channels/session"},
                "summary": "Durable events; each is a frame of the type `event`.",
                "messages": [_in_channel(name) for name in event_data.EVENT_DATA],
            },
        },
        "components": {
            "schemas": schemas_of(_EXAMPLES) | events,
            "messages": messages,
            "securitySchemes": _security(),
        },
        "x-close-codes": {str(code.value): code.reason for code in CloseCode},
    }
    name_enums(made)
    return made


def _channel(messages: dict[str, Any]) -> dict[str, Any]:
    query = {
        "type": "object",
        "properties": {
            "after": {
                "description": "The `seq` after which the session's events are sent.",
                "type": "integer",
                "minimum": 0,
            },
            "epoch": {
                "description": "The `epoch` that it belongs to.",
                "type": "string",
                "maxLength": 64,
            },
        },
    }
    return {
        "address": "/ws/{session_id}",
        "description": f"Subprotocol `{SUBPROTOCOL}`. Frames are JSON text objects, at most "
        f"{MAX_FRAME} bytes from a client. A session that does not exist yet may be watched; "
        "`/ws` and `/ws/` open a new one, whose id `ready` tells. "
        "`?after=&epoch=` resumes at once.",
        "parameters": {
            "session_id": {"description": f"A session's id, {_pattern()}.", "examples": ["s-1"]}
        },
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "query": query, "bindingVersion": "0.1.0"}},
    }


def _pattern() -> str:
    return str(schema_of(ids.SessionId)["pattern"])


def type_of(frame: type[msgspec.Struct]) -> str:
    """The ``type`` of a frame."""
    return str(frame.__struct_config__.tag)


def name_of(frame: type[msgspec.Struct]) -> str:
    """The name of a frame's message: ``client.chat``, ``server.ready``."""
    return f"{'client' if frame in CLIENT_FRAMES else 'server'}.{type_of(frame)}"


def _messages() -> dict[str, Any]:
    frames = {
        name_of(frame): {
            "name": type_of(frame),
            "summary": _text(frame),
            "payload": schema_of(frame),
            "examples": [{"payload": _example(frame)}],
        }
        for frame in (*CLIENT_FRAMES, *SERVER_FRAMES)
    }
    return frames | {name: _event(name, struct) for name, struct in event_data.EVENT_DATA.items()}


def _example(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return examples.shown(_EXAMPLES[kind])


def _event(name: str, data: type[msgspec.Struct]) -> dict[str, Any]:
    example = {**_example(EventFrame), "event": name, "data": _example(data)}
    if name == "session.deleted":
        del example["seq"]
    return {
        "name": "event",
        "title": name,
        "summary": _text(data),
        "payload": {"$ref": REF.format(name=event_schema_name(name))},
        "examples": [{"payload": example}],
    }


def event_schema_name(event: str) -> str:
    """The name of an event's schema: ``ReplyCompletedEvent`` and the like."""
    return "".join(word.title() for word in re.split(r"[._]", event)) + "Event"


def _event_schemas() -> dict[str, Any]:
    """A schema for the frame of each event: that of all of them, with its name and its data."""
    frame = schemas_of({EventFrame: None})[EventFrame.__name__]
    event, data = (frame["properties"][name]["description"] for name in ("event", "data"))
    return {
        event_schema_name(name): {
            **frame,
            "title": event_schema_name(name),
            "description": _text(struct),
            "properties": frame["properties"]
            | {
                "event": {"description": event, "const": name},
                "data": {"description": data, **schema_of(struct)},
            },
        }
        for name, struct in event_data.EVENT_DATA.items()
    }


def _text(struct: type[msgspec.Struct]) -> str:
    return " ".join((struct.__doc__ or "").split()).replace("``", "`")


def _operation(action: str, summary: str, frames: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/session"},
        "summary": summary,
        "messages": [_in_channel(name_of(frame)) for frame in frames],
    }


def _in_channel(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/session/messages/{name}"}


def _security() -> dict[str, Any]:
    return {
        "header": {
            "type": "httpApiKey",
            "in": "header",
            "name": headers.TOKEN,
            "description": "A wrong one is refused before the upgrade (403).",
        },
        "subprotocol": {
            "type": "httpApiKey",
            "in": "header",
            "name": "Sec-WebSocket-Protocol",
            "description": f"`{SUBPROTOCOL}, token.<base64url of the token, without =>`, for "
            "browsers. A wrong one closes with 4501.",
        },
        "frame": {
            "type": "apiKey",
            "in": "user",
            "description": "The first frame, `auth`, where neither header brings a token.",
        },
    }
