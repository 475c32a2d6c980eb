"""The frames of the websocket, which are also the data of server-sent events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from operator_svc.errors import OperatorError
from operator_svc.protocol.chat import Hint, Summary, Text
from operator_svc.protocol.closed_sets import Code
from operator_svc.protocol.events import EventName
from operator_svc.protocol.ids import Epoch, KeyText, RowId, Seq, SessionId
from operator_svc.protocol.sessions import MessageView, Metadata

TextKind = Annotated[Literal["text", "reasoning"], Meta(title="TextKind")]
FrameId = int | Annotated[str, Meta(max_length=200)]
SUBPROTOCOL = "operator.v1"
TOKEN_SUBPROTOCOL = "token."  # noqa: S105 - a prefix, not a token
MAX_FRAME = 512 * 1024
"""Maximum bytes of a frame from a client, and of one to a client unless it has the whole text of a
reply (docs/websocket.md)."""
PIECE_CHARS = 80_000
"""Code points of a text that one frame shows: as JSON six bytes each at most, so that they fit."""


class CloseCode(IntEnum):
    """Close codes, each with its ``reason`` as the documents give it.

    4000 to 4499 ask the client to come back, 4500 to 4999 not to.
    """

    def __new__(cls, code: int, reason: str) -> CloseCode:
        member = int.__new__(cls, code)
        member._value_ = code
        return member

    def __init__(self, code: int, reason: str) -> None:
        self.reason = reason

    DONE = 1000, "done"
    TOO_BIG = 1009, "a frame is larger than allowed"
    DRAINING = 4000, "this process stops; come back"
    TOO_SLOW = 4001, "too much waits for this client; come back and resume"
    DEAD = 4002, "nothing came from this client for too long"
    STATE_CHANGED = 4003, "what was shown may not be what is stored now; come back at once"
    TOO_MANY_FRAMES = 4005, "too many frames; come back more slowly"
    INTERNAL_ERROR = 4006, "a fault of Operator's; come back"
    NOT_AUTHENTICATED = 4500, "the first frame did not bring a token"
    FORBIDDEN = 4501, "the token is wrong, or the session another user's"
    AUTH_TOO_LATE = 4502, "the token did not come in time"
    UNREADABLE = 4503, "20 unreadable frames in a row"
    SESSION_DELETED = 4504, "the session was deleted"
    FULL = 4007, "this process is full; come back later"
    TOO_MANY_CONNECTIONS = 4505, "too many connections"


class ClientFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A frame of a client; ``id`` is repeated by the answer."""

    id: FrameId | None = None
    """Any id of the client's, which the answer repeats."""


class Auth(ClientFrame, frozen=True, kw_only=True, tag="auth"):
    """Brings the token where no header could. Later, a newer signed token (JWT) of the same caller
    keeps the websocket open for as long as that is valid."""

    token: Annotated[str, Meta(max_length=8192)]
    """The token."""


class ChatFrame(ClientFrame, frozen=True, kw_only=True, tag="chat"):
    """Asks Switch, as ``POST /operator/chat`` does."""

    message: Text | None = None
    """The message; may be left out where ``metadata.regenerate`` names one."""
    client_message_id: KeyText | None = None
    """An idempotency key: a chat with the same key is made once."""
    context_summary: Summary | None = None
    """A summary of what was said elsewhere, for the engine."""
    metadata: Metadata | None = None
    """Metadata of the message, at most 64 KiB as JSON."""
    provider_hint: Hint | None = None
    """The engine to prefer."""


class Cancel(ClientFrame, frozen=True, kw_only=True, tag="cancel"):
    """Stops a reply."""

    reply_id: RowId
    """The reply to stop."""


class Resume(ClientFrame, frozen=True, kw_only=True, tag="resume"):
    """Asks for the events after ``after``, and for what follows."""

    after: Seq
    """The ``seq`` of the last event that the client has."""
    epoch: Epoch | None = None
    """The session's ``epoch``, as the client knows it."""


class ClientPing(ClientFrame, frozen=True, kw_only=True, tag="ping"):
    """Asks for a ``pong``."""

    ts: float | int | None = None
    """Any number, which the ``pong`` repeats."""


class ClientPong(ClientFrame, frozen=True, kw_only=True, tag="pong"):
    """Answers a ping of the server; nothing needs to."""

    ts: float | int | None = None
    """The number of the ping."""


CLIENT_FRAMES = (Auth, ChatFrame, Cancel, Resume, ClientPing, ClientPong)


class ServerFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A frame of the server."""


class Ready(ServerFrame, frozen=True, kw_only=True, tag="ready"):
    """The first frame after authentication. ``epoch`` is null while there is no session yet."""

    session_id: SessionId
    """The session's id."""
    seq: int
    """The number of the session's last event."""
    epoch: str | None
    """The session's epoch: numbers of events count within it alone."""
    version: str
    """Operator's version."""
    heartbeat_s: float
    """Seconds between two pings of the server."""


class ErrorInfo(msgspec.Struct, frozen=True):
    """An error: its code, what is wrong, and whether trying again may help."""

    error: Code
    """The error's code."""
    detail: str
    """The failure, for people."""
    retryable: bool
    """True where trying again may help."""
    errors: list[dict[str, str]] | UnsetType = UNSET
    """The fields that are wrong, each with its reason."""
    retry_after: float | UnsetType = UNSET
    """Seconds after which trying again may help."""


class Result(ServerFrame, frozen=True, kw_only=True, tag="result"):
    """The answer to a client's frame that has an id."""

    id: FrameId | None
    """The id of the client's frame."""
    ok: bool
    """True where the frame was carried out."""
    data: Any | UnsetType = UNSET
    """The result; for a chat the ids of its message and reply."""
    error: ErrorInfo | UnsetType = UNSET
    """The failure, where ``ok`` is false."""


class EventFrame(ServerFrame, frozen=True, kw_only=True, tag="event"):
    """A durable event. ``session.deleted`` has no ``seq``: the log is gone with the session."""

    event: EventName
    """The event's name."""
    session_id: str
    """The session's id."""
    ts: datetime
    """The time of the event."""
    data: Any
    """The event's own data."""
    seq: int | UnsetType = UNSET
    """The event's number within the session, without gaps."""


class Delta(ServerFrame, frozen=True, kw_only=True, tag="delta"):
    """A piece of a reply, from ``offset`` to ``end`` in code points."""

    reply_id: int
    """The reply's id."""
    offset: int
    """The code points before this piece."""
    end: int
    """The code points up to the end of this piece."""
    content: str
    """The piece."""
    kind: TextKind = "text"
    """The text that it belongs to."""


class Snapshot(ServerFrame, frozen=True, kw_only=True, tag="reply.snapshot"):
    """The text so far of a reply that is being written; it replaces what the client has."""

    reply_id: int
    """The reply's id."""
    kind: TextKind
    """The text that it is."""
    text: str
    """The text so far."""
    end: int
    """The code points of the text."""


class Resumed(ServerFrame, frozen=True, kw_only=True, tag="resumed"):
    """All events from ``after`` to ``seq`` have been replayed; what follows is live."""

    after: int
    """The number that the client asked for."""
    seq: int
    """The number of the last event that was replayed."""


class SessionState(msgspec.Struct, frozen=True):
    """The newest messages of a session."""

    messages: list[MessageView]
    """The newest messages, oldest first."""
    next_before: int | None
    """The ``before`` that asks for older messages; null where there are none."""


class Resync(ServerFrame, frozen=True, kw_only=True, tag="resync"):
    """Replaying was not possible: this is the state to start from, with as many of the newest
    messages as fit into 512 KiB."""

    seq: int
    """The number of the last event that the state has."""
    epoch: str | None
    """The session's epoch: numbers of events count within it alone."""
    snapshot: SessionState
    """The state."""


class Draining(ServerFrame, frozen=True, kw_only=True, tag="draining"):
    """This process is about to stop: reconnect in so many milliseconds."""

    reconnect_in_ms: int
    """Milliseconds after which to reconnect."""


class Ping(ServerFrame, frozen=True, kw_only=True, tag="ping"):
    """Heartbeat."""


class Pong(ServerFrame, frozen=True, kw_only=True, tag="pong"):
    """The answer to a ping, with its ``ts``."""

    ts: float | int | UnsetType | None = UNSET
    """The number of the ping."""
    id: FrameId | UnsetType = UNSET
    """The id of the ping."""


class ErrorFrame(ServerFrame, frozen=True, kw_only=True, tag="error"):
    """A frame that could not be read, or a failure that belongs to no frame."""

    error: Code
    """The error's code."""
    detail: str
    """The failure, for people."""


SERVER_FRAMES = (
    Ready,
    Result,
    EventFrame,
    Delta,
    Snapshot,
    Resumed,
    Resync,
    Draining,
    Ping,
    Pong,
    ErrorFrame,
)

encode: Callable[[ServerFrame], bytes] = msgspec.json.Encoder().encode
"""The bytes of a frame, JSON."""


def error_info(error: OperatorError) -> ErrorInfo:
    """An error as frames carry it."""
    return ErrorInfo(
        error=str(error.code),
        detail=error.detail,
        retryable=error.code.retryable or error.retry_after is not None,
        errors=error.errors if error.errors else UNSET,
        retry_after=error.retry_after if error.retry_after is not None else UNSET,
    )
