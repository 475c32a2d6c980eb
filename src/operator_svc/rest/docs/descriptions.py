"""Descriptions in ``/openapi.json`` that belong to no single call."""

from __future__ import annotations

from typing import Any

from operator_svc.protocol import ids

TAGS = {
    "chat": "Messages and the replies to them.",
    "sessions": "Sessions and their histories.",
    "replies": "Replies, running and ended.",
    "browser": "Web pages that a browser opens on behalf of a session.",
    "tool calls": "Records of the tools that a reply used.",
    "switch": "Switch's configuration, and the ranking of its engines.",
    "system": "The other modules of VX11.",
    "openai": "OpenAI's protocol in front of the same chats. Errors have OpenAI's form.",
    "ai sdk": "The AI SDK's stream in front of the same chats.",
    "machines": "Health, metrics and the published documents; they need no token.",
}
PATH_IDS: dict[str, tuple[Any, str]] = {
    "session_id": (ids.SessionId, "The id of a session."),
    "reply_id": (ids.RowId, "The id of a reply, which is a message."),
    "message_id": (ids.RowId, "The id of a message."),
    "adjustment_id": (ids.RowId, "The id of an adjustment of Switch."),
    "task_id": (str, "The id of a browser task."),
    "model": (str, "The name of a model."),
    "response_id": (str, "The id of a response: `resp_` and the id of its reply."),
    "conversation_id": (str, "The id of a conversation: `conv_` and the id of its session."),
    "item_id": (str, "The id of an item of a conversation."),
    "code": (str, "An error code."),
}
STREAMED = {
    "description": "Each event; its data is a frame of /asyncapi.json.",
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The `seq` of a durable event."},
        "data": {
            "description": "A frame, as JSON.",
            "type": "string",
            "contentMediaType": "application/json",
        },
    },
    "required": ["data"],
}
HEADERS = {
    "X-Request-ID": "The id of the request: the one that the client sent, or a new one.",
    "Retry-After": "Seconds to wait before the next attempt.",
    "Allow": "The methods that the path allows.",
    "Link": "The address of the next page (RFC 8288), where there is one.",
    "Location": "The address of the reply or task that has not ended yet.",
    "Preference-Applied": "The preferences of `Prefer` that were applied.",
    "Content-Disposition": "The name of the file.",
    "ETag": "The version of the content, for `If-None-Match`.",
    "Age": "Seconds since the answer was made.",
    "RateLimit": "The rest of each rate limit; left out where none is set.",
    "RateLimit-Policy": "The rate limits that hold for the caller.",
    "x-vercel-ai-ui-message-stream": "The version of the AI SDK's stream.",
    "WWW-Authenticate": "The way to send the token.",
}
FROM_QUERY = "Fields may also be given in the query; the body takes precedence."
"""Said of every call with a body, but for those of OpenAI's protocol, which has no such way."""
