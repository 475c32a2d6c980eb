"""Rows that the queries of messages and replies give back, and the parts that their writes take."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from operator_svc.models import Json, Record
from operator_svc.protocol.intents import Renewal


class ListedMessage(Record, frozen=True):
    """A message, as far as a history shows it."""

    id: int
    role: str
    content: str
    status: str
    reply_to: int | None
    metadata: Json
    created_at: datetime


class Exchange(Record, frozen=True):
    """A user's message, and the reply to it that counts: the newest complete one, else the
    newest that has text. In an adopted session it is the assistant's message after it. ``answer``
    is None for an item of a conversation, whose ``role`` is any; it counts half, for it is one
    message. ``asked`` and ``replied`` are what the message and the reply keep for the engine
    beside the text, as far as a history sends it again."""

    question: str
    answer: str | None
    role: str = "user"
    asked: Json = None
    replied: Json = None


class Started(Record, frozen=True):
    """A reply that was begun. ``last_seq`` is the number of its ``reply.started`` event.

    ``exchanges`` are the last ones of the session, newest first, each with its ``question``,
    ``answer`` and ``role``; None where the write did not ask.
    """

    message_id: int
    reply_id: int
    last_seq: int
    epoch: str
    exchanges: list[Exchange] | None
    ts: datetime


class Recent(NamedTuple):
    """The last exchanges of a session, newest first, as they were at its event ``last_seq``."""

    epoch: str
    last_seq: int
    exchanges: list[Exchange]

    def are_before(self, started: Started) -> bool:
        """True where nothing came between them and a chat that was begun with two events."""
        return started.last_seq == self.last_seq + 2 and started.epoch == self.epoch


class Ended(Record, frozen=True):
    """A reply that was ended, and the number and time of the event that says so."""

    last_seq: int
    ts: datetime


class DeletedMessage(Record, frozen=True):
    """The event of a message that was deleted."""

    session_id: str
    seq: int
    data: Json
    ts: datetime


class Streaming(Record, frozen=True):
    """A reply that is being written, and the pod that writes it."""

    reply_id: int
    session_id: str
    owner: str
    begun_at: datetime


class Owned(Record, frozen=True):
    """A reply that a pod owns, and a request to stop it."""

    reply_id: int
    begun_at: datetime
    cancel_requested: bool


class Key(msgspec.Struct, frozen=True):
    """An idempotency key: it counts within its scope, for one body."""

    scope: str
    key: str
    body_hash: bytes
    renewal: Renewal | None = None

    def is_of(self, body_hash: bytes) -> bool:
        """True where the hash of a stored chat is of the same body. The key of an intent says so
        itself; other versions of Operator have other hashes."""
        return self.renewal is not None or self.body_hash == body_hash


class TokenUsage(msgspec.Struct, frozen=True):
    """The tokens of a reply, stored together with its end; whom and what they count for."""

    token: str
    user_id: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Feedback(msgspec.Struct, frozen=True):
    """Feedback on the engine of a reply, stored together with the reply's end. Where it is not to
    be forwarded, it is stored as given up."""

    engine: str
    success: bool
    latency_ms: int
    tokens_used: int
    error_message: str | None
    forward: bool = True
