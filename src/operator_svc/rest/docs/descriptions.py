"""Descriptions in ``/openapi.json`` that belong to no single call."""

from __future__ import annotations

from typing import Any

from operator_svc.protocol import ids

TAGS = {
    "chat": "Asking Switch.",
    "sessions": "What was said.",
    "replies": "Replies while they are written, and after.",
    "browser": "Pages that are opened on behalf of a session.",
    "tool calls": "Records of tools that were used.",
    "switch": "Switch's configuration, and how its engines do.",
    "system": "The other modules of VX11.",
    "openai": "OpenAI's protocol in front of the same chats. Errors have OpenAI's form.",
    "ai sdk": "The AI SDK's stream in front of the same chats.",
    "machines": "For probes, scrapers and readers of documents.",
}
PATH_IDS: dict[str, tuple[Any, str]] = {
    "session_id": (ids.SessionId, "A session."),
    "reply_id": (ids.RowId, "A reply, which is a message."),
    "message_id": (ids.RowId, "A message."),
    "adjustment_id": (ids.RowId, "An adjustment of Switch."),
    "task_id": (str, "A browser task; opaque."),
    "model": (str, "A model's name."),
    "response_id": (str, "A response: `resp_` and the id of its reply."),
    "conversation_id": (str, "A conversation: `conv_` and the id of its session."),
    "item_id": (str, "An item of a conversation."),
    "code": (str, "An error's code."),
}
STREAMED = {
    "description": "Each event; its data is a frame of /asyncapi.json.",
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The `seq` of a durable event."},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["data"],
}
HEADERS = {
    "X-Request-ID": "The request's id: the one that it brought, or a new one.",
    "Retry-After": "Whole seconds after which trying again may help.",
    "Allow": "The methods that there are.",
    "Link": "The next page (RFC 8288), where there is one.",
    "Location": "Where to look for what is not ready yet.",
    "Preference-Applied": "What of `Prefer` was followed.",
    "Content-Disposition": "A name for the file.",
    "ETag": "Which picture it is.",
    "Age": "Seconds since it was found out.",
    "RateLimit": "What is left of each limit, where there are some.",
    "RateLimit-Policy": "The limits.",
    "x-vercel-ai-ui-message-stream": "The version of the AI SDK's stream.",
    "WWW-Authenticate": "How to bring the token.",
}
FROM_QUERY = (
    "Fields that the body lacks may stand in the query; where both give one, the body wins."
)
"""Said of every call that takes a body."""
