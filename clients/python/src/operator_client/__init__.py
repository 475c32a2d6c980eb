"""A typed client of Operator, for asyncio.

    async with OperatorClient("http://127.0.0.1:8011", token) as client:
        async with client.conversation("my-session") as conversation:
            reply = await conversation.ask("Hello!")
            async for piece in reply:
                print(piece, end="")

A conversation holds one websocket. When that is lost it reconnects by itself, resumes where it was,
and sends unanswered requests again under the same key, so nothing is asked twice.
"""

from __future__ import annotations

from operator_client.client import OperatorClient
from operator_client.conversation import Conversation
from operator_client.errors import ClientError
from operator_client.event_stream import ServerSentEvent
from operator_client.replies import Reply
from operator_client.watch import Event, Watch

__version__ = "0.1.0"

__all__ = [
    "ClientError",
    "Conversation",
    "Event",
    "OperatorClient",
    "Reply",
    "ServerSentEvent",
    "Watch",
]
