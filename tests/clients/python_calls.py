"""Calls by a client that was generated from ``/openapi.json``: a chat, its history, an error."""

from __future__ import annotations

import os

from generated_client import AuthenticatedClient
from generated_client.api.chat import chat
from generated_client.api.replies import get_reply
from generated_client.api.sessions import get_session
from generated_client.models import ChatAnswer, ChatBody, ErrorCode, History, MessageRole, Problem

with AuthenticatedClient(os.environ["OPERATOR_URL"], os.environ["OPERATOR_TOKEN"]) as client:
    answer = chat.sync(client=client, body=ChatBody(message="hi"))
    assert isinstance(answer, ChatAnswer)
    assert answer.response == "[stand-in] You said: hi"

    history = get_session.sync(answer.session_id, client=client)
    assert isinstance(history, History)
    assert [message.role for message in history.messages] == [
        MessageRole.USER,
        MessageRole.ASSISTANT,
    ]

    missing = get_reply.sync(999, client=client)
    assert isinstance(missing, Problem)
    assert missing.error is ErrorCode.REPLY_NOT_FOUND
