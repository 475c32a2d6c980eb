"""Examples of the published documents: instances of the very structs, so that they fit them."""

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
)
from operator_svc.rest.handlers import health

_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
_LATER = datetime(2026, 1, 2, 3, 4, 7, 123456, tzinfo=UTC)
_EPOCH = "0f5f6f0a-0b0c-4d0e-8f10-111213141516"
_TASK = "7d1f0d6c5b4a49388271605f4e3d2c1b"
_METADATA = {
    "status": "ok", "provider": "hermes", "decision": "local", "latency_ms": 812,
    "tokens_used": 34, "streamed": True,
}  # fmt: skip
_TEXT = "Nine modules are running."
_CALL = tool_calls.ToolCallView(
    7, 42, "list_modules", "ok", 120, {"all": True}, ["switch", "hermes"], None, _AT, _LATER
)
_CHAT = chat.ChatAnswer("s-1", _TEXT, _TEXT, 41, 42, [], _METADATA)
_MESSAGES = [
    sessions.MessageView(41, "user", "What is running?", "complete", _AT, {}, []),
    sessions.MessageView(42, "assistant", _TEXT, "complete", _AT, _METADATA, [_CALL], 41),
]
_FACT = browser.BrowserTaskFact(
    _TASK, "s-1", "https://example.org/", "completed", 1, "Example Domain", "Example Domain",
    "https://example.org/", 200, f"/operator/browser/task/{_TASK}/screenshot", None, 640, _AT,
    _AT, _LATER,
)  # fmt: skip
_RESULT = browser.TaskResult(
    "ok", _FACT.url, "Example Domain", "Example Domain", _FACT.screenshot_path, None, _LATER, 640,
    _FACT.url, 200, "Example Domain", [], [], None,
)  # fmt: skip
_TASK_VIEW = browser.BrowserTaskView(
    _TASK, "completed", _FACT.url, "s-1", _RESULT, _FACT.screenshot_path, "Example Domain", None,
    _AT, _LATER, _AT, "local", 1, None,
)  # fmt: skip
_CHANGE: dict[str, Any] = {
    "id": 3, "session_id": "s-1", "message_id": None, "before_config": {"mode": "BALANCED"},
    "after_config": {"mode": "ECO"}, "reason": "the laptop runs on its battery", "applied": True,
    "applied_at": _LATER, "reverted_at": None, "error": None, "created_at": _AT,
}  # fmt: skip
_FEEDBACK: dict[str, Any] = {
    "id": 9, "session_id": "s-1", "message_id": 42, "engine": "hermes", "success": True,
    "latency_ms": 812, "tokens_used": 34, "error_message": None, "forwarded_at": None,
    "created_at": _AT,
}  # fmt: skip
_OK = system.SourceView(status="ok")

_ALL: tuple[msgspec.Struct, ...] = (
    # Bodies and answers.
    chat.ChatBody(message="What is running?", session_id="s-1", client_message_id="a1b2"),
    _CHAT,
    chat.ChatPending("s-1", 41, 42),
    sessions.SessionList([sessions.SessionView("s-1", "local", "api", _AT, _LATER, 2, {})], None),
    sessions.History("s-1", "local", "api", _AT, _LATER, 2, _MESSAGES, None),
    chat.ReplyView(42, 41, "s-1", "complete", _TEXT, len(_TEXT), _METADATA, _AT, _LATER),
    sessions.EventList(
        "s-1", _EPOCH, 4,
        [sessions.EventView(3, "reply.started", "s-1", _AT,
                          {"reply_id": 42, "message_id": 41, "status": "streaming"})], 3,
    ),
    _CALL,
    browser.BrowserTaskBody(url="https://example.org/", session_id="s-1", wait=10),
    _TASK_VIEW,
    browser.BrowserTaskList([_FACT], None),
    tool_calls.ToolCallBody(message_id=42, tool_name="list_modules", status="pending"),
    tool_calls.ToolCallList([_CALL], None),
    switch.AdjustmentBody(after_config={"mode": "ECO"}, reason="the laptop runs on its battery"),
    switch.AdjustmentAnswer(adjustment_id=3, **_CHANGE),
    switch.AdjustmentList([switch.AdjustmentView(**_CHANGE)], None),
    switch.FeedbackBody(engine="hermes", success=True, latency_ms=812, tokens_used=34),
    switch.FeedbackAnswer(**_FEEDBACK),
    switch.EngineRanking(
        [switch.EngineView(engine="hermes", calls=12, success_rate=0.75, latency_p50_ms=800,
                            latency_p95_ms=1900, tokens=4100, score=0.71)], None, None, 86400,
    ),
    system.Overview(
        status="degraded", healthy_modules=1, total_modules=2, source="direct",
        modules={
            "switch": system.ModuleView(status="ok", latency_ms=3.2, checked_at=_AT),
            "madre": system.ModuleView(status="timeout", latency_ms=1000, checked_at=_AT),
        },
    ),
    system.Dashboard(
        status="ok", shub_health="operational", version="1.0", uptime_seconds=3600,
        active_sessions=None, projects=None, resources=system.ShubResources(None, 512),
        parts=system.ShubParts(True, True, True, False, True),
        jobs=system.ShubJobs(0, 4, 0, 0), error=None, sources={"status": _OK},
    ),
    system.Resources(
        status="ok", cli_tools=None, local_models=None, max_tokens=None, available_tokens=None,
        sources={"hermes.list": _OK},
    ),
    health.Health(status="ok", version=__version__, uptime_seconds=4711),
    health.Probe("ok"),
    problems.kind_of(ErrorCode.SESSION_NOT_FOUND),
    # Frames.
    frames.Auth(token="3c59dc048e8850243be8079a5c74d079"),  # noqa: S106 - nobody's token
    frames.ChatFrame(id=1, message="What is running?", client_message_id="a1b2"),
    frames.Cancel(id=2, reply_id=42),
    frames.Resume(id=3, after=17, epoch=_EPOCH),
    frames.ClientPing(ts=1767323045678),
    frames.ClientPong(ts=1767323045678),
    frames.Ready(session_id="s-1", seq=4, epoch=_EPOCH, version=__version__, heartbeat_s=25.0),
    frames.Result(id=1, ok=True, data={"session_id": "s-1", "message_id": 41, "reply_id": 42}),
    frames.EventFrame(
        event="reply.started", session_id="s-1", ts=_AT, seq=3,
        data={"reply_id": 42, "message_id": 41, "status": "streaming"},
    ),
    frames.Delta(reply_id=42, offset=0, end=5, content="Nine "),
    frames.Snapshot(reply_id=42, kind="text", text="Nine modules", end=12),
    frames.Resumed(after=17, seq=21),
    frames.Resync(seq=400, epoch=_EPOCH, snapshot=frames.SessionState(_MESSAGES, 41)),
    frames.Draining(reconnect_in_ms=750),
    frames.Ping(),
    frames.Pong(ts=1767323045678),
    frames.ErrorFrame(error="invalid_json", detail="the frame is not valid JSON"),
    # The data of events.
    event_data.SessionCreated(session_id="s-1", user_id="local", source="api"),
    event_data.SessionDeleted(session_id="s-1"),
    event_data.MessageCreated(
        message_id=41, role="user", content="What is running?", status="complete", metadata={},
        timestamp=_AT,
    ),
    event_data.ReplyStarted(reply_id=42, message_id=41, status="streaming"),
    event_data.ReplyEnded(
        reply_id=42, message_id=41, status="complete", content=_TEXT, length=len(_TEXT),
        metadata=_METADATA,
    ),
    event_data.ToolCallFact(
        id=7, message_id=42, tool_name="list_modules", status="ok", duration_ms=120, error=None,
        created_at=_AT, finished_at=_LATER,
    ),
    _FACT,
    switch.AdjustmentView(**_CHANGE),
    event_data.FeedbackFact(**_FEEDBACK),
)  # fmt: skip
_BY_STRUCT: dict[Any, msgspec.Struct] = {type(example): example for example in _ALL}


def example_of(kind: Any) -> Any:
    """The example of a struct as plain data; None where there is none."""
    example = _BY_STRUCT.get(kind)
    if example is None:
        return None
    plain = msgspec.to_builtins(example)
    if type(example).__name__.endswith(("Body", "Frame")) or isinstance(
        example, frames.ClientFrame
    ):
        plain = {name: value for name, value in plain.items() if value is not None}
    return plain


def problem_example(code: ErrorCode) -> dict[str, Any]:
    """A problem with this code."""
    errors = None
    if code is ErrorCode.VALIDATION_ERROR:
        errors = [{"field": "message", "reason": "it is missing"}]
    error = OperatorError(code, code.summary[0].lower() + code.summary[1:], errors=errors)
    return problems.body_of(error, "6f1c0e9b2d00002a")
