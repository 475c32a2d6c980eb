"""A typed client of Operator.

    async with OperatorClient("http://127.0.0.1:8011", token) as client:
        async with client.conversation("my-session") as conversation:
            reply = await conversation.ask("Hello!")
            async for piece in reply:
                print(piece, end="")

A conversation holds one websocket. When that is lost it reconnects by itself, resumes where it was,
and sends unanswered requests again under the same key, so nothing is asked twice.
"""

from __future__ import annotations

from operator_svc.client.conversation import Conversation
from operator_svc.client.http import OperatorClient
from operator_svc.client.replies import ClientError, Reply

__all__ = ["ClientError", "Conversation", "OperatorClient", "Reply"]
