"""The records of the tables, as the stores hand them out: frozen, and the same on both engines.

The fields of a table's record are its columns, in their order; a test compares them with
both engines' catalogs. Times are aware and in UTC.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = Any
"""A value that JSON can hold; stored as jsonb, or as JSON text in SQLite."""

DEFAULT_USER = "local"
"""The user of a caller that names none."""
MAX_ID = 2**63 - 1
"""The highest id that a row can have."""
MAX_MESSAGE_CHARS = 32_000
MAX_REPLY_CHARS = 200_000
MAX_REPLY_TOOL_CALLS, MAX_REPLY_TOOL_CALL_BYTES = 256, 2**20
"""Tool calls that are kept of those that an engine makes in one reply, and their bytes together."""


class Role(enum.StrEnum):
    """The speaker of a message."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class ReplyStatus(enum.StrEnum):
    """The state of a message; only a reply is ever anything but ``complete``."""

    STREAMING = "streaming"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class TaskStatus(enum.StrEnum):
    """The state of a browser task; all but the first two are last ones."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


class ToolCallStatus(enum.StrEnum):
    """The state of a recorded tool call."""

    PENDING = "pending"
    OK = "ok"
    ERROR = "error"


JWT_PREFIX = "jwt:"
"""The beginning of the names of callers by signed tokens, before their users."""


class Caller(msgspec.Struct, frozen=True):
    """A caller: the name of the token, its role, and the user it is confined to (or None)."""

    name: str = "default"
    role: str = "operator"
    user_id: str | None = None


class SignedCaller(Caller, frozen=True):
    """A caller by a signed token: until ``expires_at`` (seconds since 1970), and while the key
    with these members is trusted."""

    expires_at: float = 0.0
    key: tuple[tuple[str, str], ...] = ()


class Record(msgspec.Struct, frozen=True, kw_only=False):
    """A row of a query."""


class Session(Record, frozen=True):
    """One conversation. ``last_seq`` is the number of its newest event."""

    id: int
    session_id: str
    epoch: str
    user_id: str
    source: str
    last_seq: int
    message_count: int
    metadata: Json
    created_at: datetime
    updated_at: datetime
    active_at: datetime


class DatabaseHistory(Record, frozen=True):
    """The history of commits that the database is on: its id, and the server's name for it.
    A process said so last at ``seen_at``."""

    id: str
    server: str
    seen_at: datetime


class Message(Record, frozen=True):
    """One message; a reply is one with ``reply_to``. ``owner`` is the pod that writes it, and
    ``attempt`` the repeated call that waits for it last, where there was one."""

    id: int
    session_id: str
    role: str
    content: str
    status: str
    reply_to: int | None
    owner: str | None
    cancel_requested: bool
    metadata: Json
    created_at: datetime
    finished_at: datetime | None
    attempt: str | None


class Event(Record, frozen=True):
    """A durable fact of a session. The text of a message is not stored a second time."""

    session_id: str
    seq: int
    event: str
    ts: datetime
    message_id: int | None
    data: Json


class ReplyChunk(Record, frozen=True):
    """A piece of a reply that is being written, from ``offset`` code points on."""

    reply_id: int
    offset: int
    content: str


class ChatKey(Record, frozen=True):
    """An idempotency key, and what it stands for. ``scope`` is the user that it counts for.

    ``repeated`` says that a call made it which was not the first one of its intent.
    """

    scope: str
    key: str
    body_hash: bytes
    session_id: str
    message_id: int
    reply_id: int
    created_at: datetime
    repeated: bool


class SessionKey(Record, frozen=True):
    """An idempotency key of a session that was made without a chat."""

    scope: str
    key: str
    body_hash: bytes
    session_id: str
    created_at: datetime


class SearchEntry(Record, frozen=True):
    """The words of a finished message, for the search; a tsvector on PostgreSQL."""

    message_id: int
    session_id: str
    words: str


class SearchQueued(Record, frozen=True):
    """A finished message that waits for its words; ``claimed_until`` keeps other pods from it."""

    message_id: int
    claimed_until: datetime | None


class SearchBackfill(Record, frozen=True):
    """Messages with ids under ``before_id`` are older than the search and not in its queue yet."""

    before_id: int


class Schema(Record, frozen=True):
    """The last migration that the oldest code knows which the schema serves."""

    serves_from: str


class Pod(Record, frozen=True):
    """A running process and how long its lease holds."""

    pod_id: str
    started_at: datetime
    lease_until: datetime
    backend_pid: int | None
    backend_start: datetime | None
    renewed_at: datetime | None


class Backend(Record, frozen=True):
    """A session of PostgreSQL: its process id there, and when it began, since ids come again."""

    pid: int
    started_at: datetime


class ToolCall(Record, frozen=True):
    """A tool call that belongs to a message."""

    id: int
    message_id: int
    tool_name: str
    status: str
    duration_ms: int | None
    arguments: Json
    result: Json
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class BrowserTask(Record, frozen=True):
    """A page to be opened, and what came of it. The screenshot is read on its own.

    ``attempts`` counts the tries that failed by the browser's fault or its owner's; in
    ``deaths`` of them the browser died while it had the page open.
    """

    id: int
    task_id: str
    session_id: str | None
    user_id: str
    url: str
    status: str
    options: Json
    owner: str | None
    attempts: int
    deaths: int
    not_before: datetime
    cancel_requested: bool
    result: Json
    error: str | None
    duration_ms: int | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    screenshot_etag: str | None


class Screenshot(Record, frozen=True):
    """The picture of a browser task, a PNG."""

    task_id: str
    screenshot: bytes
    screenshot_etag: str


class SwitchAdjustment(Record, frozen=True):
    """An adjustment of Switch's configuration; ``owner`` is the pod that works on it now."""

    id: int
    session_id: str | None
    message_id: int | None
    before_config: Json
    after_config: Json
    reason: str
    applied: bool
    applied_at: datetime | None
    reverted_at: datetime | None
    error: str | None
    owner: str | None
    created_at: datetime


class SwitchFeedback(Record, frozen=True):
    """Feedback on an engine. It is forwarded to Switch, or given up when Switch refuses it.

    ``posted`` is true for what a client says, false for what a reply gives by itself and for what
    was adopted, None where an older version has stored it.
    """

    id: int
    session_id: str | None
    message_id: int | None
    engine: str
    success: bool
    latency_ms: int | None
    tokens_used: int
    error_message: str | None
    owner: str | None
    attempts: int
    not_before: datetime
    forwarded_at: datetime | None
    given_up_at: datetime | None
    created_at: datetime
    posted: bool | None


class FeedbackHour(Record, frozen=True):
    """Feedback of one hour, counted by engine and rounded latency (-1: none, or no success)."""

    hour: datetime
    engine: str
    latency_ms: int
    calls: int
    successes: int
    tokens: int


class FeedbackChange(Record, frozen=True):
    """A change of an hour's count that is not counted yet; its latency is not rounded."""

    id: int
    hour: datetime
    engine: str
    latency_ms: int
    calls: int
    successes: int
    tokens: int


class UsageDay(Record, frozen=True):
    """Tokens of a day's replies (``YYYY-MM-DD``, UTC), by name of the token, user and model."""

    day: str
    token: str
    user_id: str
    model: str
    replies: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class UsageChange(Record, frozen=True):
    """The tokens of a reply that are not counted yet."""

    id: int
    day: str
    token: str
    user_id: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Adopted(Record, frozen=True):
    """A row brought in from a legacy database: where it came from and what it became."""

    source: str
    table_name: str
    old_id: str
    new_id: str
