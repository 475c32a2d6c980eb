"""Examples of the published documents, all of one conversation: instances of the very structs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from operator_svc import __version__
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import (
    browser,
    chat,
    event_data,
    frames,
    problems,
    sessions,
    switch,
    system,
    tool_calls,
    usage,
)

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 3, 4, 7, 123456, tzinfo=UTC)
EPOCH = "0f5f6f0a-0b0c-4d0e-8f10-111213141516"
_TASK_ID = "7d1f0d6c5b4a49388271605f4e3d2c1b"
_METADATA = {
    "status": "ok", "provider": "hermes", "decision": "local", "latency_ms": 812,
    "tokens_used": 34, "streamed": True,
}  # fmt: skip
_TEXT = "Nine modules are running."
_IDS = {"session_id": "s-1", "message_id": 41, "reply_id": 42}
_STARTED = {"reply_id": 42, "message_id": 41, "status": "streaming"}

TOOL_CALL = tool_calls.ToolCallView(
    7, 42, "list_modules", "ok", 120, {"all": True}, ["switch", "hermes"], None, AT, LATER
)
TOOL_CALLS = tool_calls.ToolCallList([TOOL_CALL], None)

CHAT_ANSWER = chat.ChatAnswer("s-1", _TEXT, _TEXT, 41, 42, [], _METADATA)
INTERFACE_CHAT_ANSWER = chat.InterfaceChatAnswer(
    **msgspec.structs.asdict(CHAT_ANSWER), degraded=False, provider_used="stand-in"
)
CHAT_PENDING = chat.ChatPending("s-1", 41, 42, AT)
REPLY = chat.ReplyView(42, 41, "s-1", "complete", _TEXT, len(_TEXT), _METADATA, AT, LATER)

_MESSAGES = [
    sessions.MessageView(41, "user", "What is running?", "complete", AT, {}, []),
    sessions.MessageView(42, "assistant", _TEXT, "complete", AT, _METADATA, [TOOL_CALL], 41),
]
SESSIONS = sessions.SessionList(
    [sessions.SessionView("s-1", "local", "api", AT, LATER, 2, {}, "What is running?")], None
)
HISTORY = sessions.History("s-1", "local", "api", AT, LATER, 2, _MESSAGES, None)
EVENTS = sessions.EventList(
    "s-1", EPOCH, 4, [sessions.EventView(3, "reply.started", "s-1", AT, _STARTED)], 3
)

_FACT = browser.BrowserTaskFact(
    _TASK_ID, "s-1", "https://example.org/", "completed", 1, "Example Domain", "Example Domain",
    "https://example.org/", 200, f"/operator/browser/task/{_TASK_ID}/screenshot", None, 640, AT,
    AT, LATER,
)  # fmt: skip
_RESULT = browser.TaskResult(
    "ok", _FACT.url, "Example Domain", "Example Domain", _FACT.screenshot_path, None, LATER, 640,
    _FACT.url, 200, "Example Domain", [], [], None,
)  # fmt: skip
TASK = browser.BrowserTaskView(
    _TASK_ID, "completed", _FACT.url, "s-1", _RESULT, _FACT.screenshot_path, "Example Domain",
    None, AT, LATER, AT, "local", 1, None,
)  # fmt: skip
TASKS = browser.BrowserTaskList([browser.BrowserTaskItem(**msgspec.structs.asdict(_FACT))], None)

_ADJUSTMENT: dict[str, Any] = {
    "id": 3, "session_id": "s-1", "message_id": None, "before_config": {"mode": "BALANCED"},
    "after_config": {"mode": "ECO"}, "reason": "the laptop runs on its battery", "applied": True,
    "applied_at": LATER, "reverted_at": None, "error": None, "created_at": AT,
}  # fmt: skip
ADJUSTMENT = switch.AdjustmentAnswer(adjustment_id=3, **_ADJUSTMENT)
ADJUSTMENTS = switch.AdjustmentList([switch.AdjustmentView(**_ADJUSTMENT)], None)

_FEEDBACK: dict[str, Any] = {
    "id": 9, "session_id": "s-1", "message_id": 42, "engine": "hermes", "success": True,
    "latency_ms": 812, "tokens_used": 34, "error_message": None, "forwarded_at": None,
    "created_at": AT,
}  # fmt: skip
FEEDBACK = switch.FeedbackAnswer(**_FEEDBACK)
ENGINES = switch.EngineRanking(
    [
        switch.EngineView(
            engine="hermes", calls=12, success_rate=0.75, latency_p50_ms=800, latency_p95_ms=1900,
            tokens=4100, score=0.71,
        )
    ], None, None, 86400,
)  # fmt: skip

USAGE = usage.UsageList(
    by="day",
    from_day="2026-11-01",
    to_day="2026-11-30",
    usage=[usage.UsageView("2026-11-26", 12, 4100, 900, 5000)],
    next_cursor=None,
)

_OK = system.SourceView(status="ok")
OVERVIEW = system.Overview(
    status="degraded", healthy_modules=1, total_modules=2, source="direct",
    modules={
        "switch": system.ModuleView(status="ok", latency_ms=3.2, checked_at=AT),
        "madre": system.ModuleView(status="timeout", latency_ms=1000, checked_at=AT),
    },
)  # fmt: skip
DASHBOARD = system.Dashboard(
    status="ok", shub_health="operational", version="1.0", uptime_seconds=3600,
    active_sessions=None, projects=None, resources=system.ShubResources(None, 512),
    parts=system.ShubParts(True, True, True, False, True),
    jobs=system.ShubJobs(0, 4, 0, 0), error=None, sources={"status": _OK},
)  # fmt: skip
RESOURCES = system.Resources(
    status="ok", cli_tools=None, local_models=None,
    sources={"hermes.list": _OK},
)  # fmt: skip
HEALTH = system.Health(status="ok", uptime_seconds=4711)
PROBE = system.Probe("ok")
ERROR_KIND = problems.kind_of(ErrorCode.SESSION_NOT_FOUND)

FRAMES: tuple[msgspec.Struct, ...] = (
    frames.Auth(token="3c59dc048e8850243be8079a5c74d079"),  # noqa: S106 - nobody's token
    frames.ChatFrame(id=1, message="What is running?", client_message_id="a1b2"),
    frames.Cancel(id=2, reply_id=42),
    frames.Resume(id=3, after=17, epoch=EPOCH),
    frames.ClientPing(ts=1767323045678),
    frames.ClientPong(ts=1767323045678),
    frames.Ready(session_id="s-1", seq=4, epoch=EPOCH, version=__version__, heartbeat_s=25.0),
    frames.Result(id=1, ok=True, data=_IDS),
    frames.EventFrame(event="reply.started", session_id="s-1", ts=AT, seq=3, data=_STARTED),
    frames.Delta(reply_id=42, offset=0, end=5, content="Nine "),
    frames.Snapshot(reply_id=42, kind="text", text="Nine modules", end=12),
    frames.Resumed(after=17, seq=21),
    frames.Resync(seq=400, epoch=EPOCH, snapshot=frames.SessionState(_MESSAGES, 41)),
    frames.Draining(reconnect_in_ms=750),
    frames.Ping(),
    frames.Pong(ts=1767323045678),
    frames.ErrorFrame(error="invalid_json", detail="the frame is not valid JSON"),
)
"""One of each frame."""
EVENT_DATA: tuple[msgspec.Struct, ...] = (
    event_data.SessionCreated(session_id="s-1", epoch=EPOCH, user_id="local", source="api"),
    event_data.SessionDeleted(session_id="s-1"),
    event_data.MessageCreated(
        message_id=41, role="user", content="What is running?", status="complete", metadata={},
        timestamp=AT,
    ),
    event_data.MessageDeleted(message_id=42),
    event_data.ReplyStarted(reply_id=42, message_id=41, status="streaming"),
    event_data.ReplyEnded(
        reply_id=42, message_id=41, status="complete", content=_TEXT, length=len(_TEXT),
        metadata=_METADATA,
    ),
    event_data.ToolCallFact(
        id=7, message_id=42, tool_name="list_modules", status="ok", duration_ms=120, error=None,
        created_at=AT, finished_at=LATER,
    ),
    _FACT,
    ADJUSTMENTS.adjustments[0],
    switch.FeedbackFact(**_FEEDBACK),
)  # fmt: skip
"""The data of one of each kind of event."""


def shown(example: msgspec.Struct) -> dict[str, Any]:
    """An example as plain data; a client leaves out the fields that it has no use for."""
    plain: dict[str, Any] = msgspec.to_builtins(example)
    if isinstance(example, frames.ClientFrame) or type(example).__name__.endswith("Body"):
        return {name: value for name, value in plain.items() if value is not None}
    return plain


def problem(code: ErrorCode) -> dict[str, Any]:
    """A problem with this code."""
    errors = None
    if code is ErrorCode.VALIDATION_ERROR:
        errors = [{"field": "message", "reason": "it is missing"}]
    error = OperatorError(code, code.summary[0].lower() + code.summary[1:], errors=errors)
    return problems.body_of(error, "6f1c0e9b2d00002a")
