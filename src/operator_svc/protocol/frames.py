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
"""Bytes of a frame that a client may send, and of one that it gets unless a reply's whole text
stands in it (docs/websocket.md)."""
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


class Auth(ClientFrame, frozen=True, kw_only=True, tag="auth"):
    """Brings the token where no header could."""

    token: Annotated[str, Meta(max_length=4096)]


class ChatFrame(ClientFrame, frozen=True, kw_only=True, tag="chat"):
    """Asks Switch, as ``POST /operator/chat`` does."""

    message: Text | None = None
    client_message_id: KeyText | None = None
    context_summary: Summary | None = None
    metadata: Metadata | None = None
    provider_hint: Hint | None = None


class Cancel(ClientFrame, frozen=True, kw_only=True, tag="cancel"):
    """Stops a reply."""

    reply_id: RowId


class Resume(ClientFrame, frozen=True, kw_only=True, tag="resume"):
    """Asks for the events after ``after``, and for what follows."""

    after: Seq
    epoch: Epoch | None = None


class ClientPing(ClientFrame, frozen=True, kw_only=True, tag="ping"):
    """Asks for a ``pong``."""

    ts: float | int | None = None


class ClientPong(ClientFrame, frozen=True, kw_only=True, tag="pong"):
    """Answers a ping of the server; nothing needs to."""

    ts: float | int | None = None


CLIENT_FRAMES = (Auth, ChatFrame, Cancel, Resume, ClientPing, ClientPong)


class ServerFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A frame of the server."""


class Ready(ServerFrame, frozen=True, kw_only=True, tag="ready"):
    """The first frame after authentication. ``epoch`` is null while there is no session yet."""

    session_id: SessionId
    seq: int
    epoch: str | None
    version: str
    heartbeat_s: float


class ErrorInfo(msgspec.Struct, frozen=True):
    """An error: its code, what is wrong, and whether trying again may help."""

    error: Code
    detail: str
    retryable: bool
    errors: list[dict[str, str]] | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET


class Result(ServerFrame, frozen=True, kw_only=True, tag="result"):
    """The answer to a client's frame that has an id."""

    id: FrameId | None
    ok: bool
    data: Any | UnsetType = UNSET
    error: ErrorInfo | UnsetType = UNSET


class EventFrame(ServerFrame, frozen=True, kw_only=True, tag="event"):
    """A durable event. ``session.deleted`` has no ``seq``: the log is gone with the session."""

    event: EventName
    session_id: str
    ts: datetime
    data: Any
    seq: int | UnsetType = UNSET


class Delta(ServerFrame, frozen=True, kw_only=True, tag="delta"):
    """A piece of a reply, from ``offset`` to ``end`` in code points."""

    reply_id: int
    offset: int
    end: int
    content: str
    kind: TextKind = "text"


class Snapshot(ServerFrame, frozen=True, kw_only=True, tag="reply.snapshot"):
    """The text so far of a reply that is being written; it replaces what the client has."""

    reply_id: int
    kind: TextKind
    text: str
    end: int


class Resumed(ServerFrame, frozen=True, kw_only=True, tag="resumed"):
    """All events from ``after`` to ``seq`` have been replayed; what follows is live."""

    after: int
    seq: int


class SessionState(msgspec.Struct, frozen=True):
    """The newest messages of a session."""

    messages: list[MessageView]
    next_before: int | None


class Resync(ServerFrame, frozen=True, kw_only=True, tag="resync"):
    """Replaying was not possible: this is the state to start from, with as many of the newest
    messages as fit into 512 KiB."""

    seq: int
    epoch: str | None
    snapshot: SessionState


class Draining(ServerFrame, frozen=True, kw_only=True, tag="draining"):
    """This process is about to stop: reconnect in so many milliseconds."""

    reconnect_in_ms: int


class Ping(ServerFrame, frozen=True, kw_only=True, tag="ping"):
    """Heartbeat."""


class Pong(ServerFrame, frozen=True, kw_only=True, tag="pong"):
    """The answer to a ping, with its ``ts``."""

    ts: float | int | UnsetType | None = UNSET
    id: FrameId | UnsetType = UNSET


class ErrorFrame(ServerFrame, frozen=True, kw_only=True, tag="error"):
    """A frame that could not be read, or a failure that belongs to no frame."""

    error: Code
    detail: str


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
