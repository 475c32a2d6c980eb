"""What the published document says of each call; a test compares it with the router.

The types are those that decode the requests and encode the answers.
"""

from __future__ import annotations

from operator_svc.errors import ErrorCode as E
from operator_svc.models import TaskStatus
from operator_svc.protocol import browser, problems, system
from operator_svc.protocol.chat import ChatAnswer, ChatBody, ChatPending, ReplyView
from operator_svc.protocol.ids import Epoch, RowId, Seq
from operator_svc.protocol.sessions import EventList, History, SessionList
from operator_svc.protocol.switch import (
    AdjustmentAnswer,
    AdjustmentBody,
    AdjustmentList,
    EngineRanking,
    FeedbackAnswer,
    FeedbackBody,
)
from operator_svc.protocol.tool_calls import ToolCallBody, ToolCallList, ToolCallView
from operator_svc.rest.docs.described import (
    BAD_BODY,
    BAD_QUERY,
    CURSOR,
    EVENTS,
    FROM_QUERY,
    KEY,
    NDJSON,
    OF_SESSION,
    OF_USER,
    PNG,
    PREFER,
    SWITCH_FAILS,
    Answer,
    Operation,
    Parameter,
    json,
    limit,
)
from operator_svc.rest.handlers import browser_tasks as browser_rest
from operator_svc.rest.handlers import health, sessions, switch, tool_calls

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/operator/chat",
        tag="chat",
        summary="Ask Switch",
        detail="Keeps the message and the reply. Give `message`, or `messages` whose last one by "
        "the user is the message. A client that gives up loses nothing: the reply goes on and is "
        f"in the history. {FROM_QUERY}",
        parameters=(PREFER, KEY),
        body=ChatBody,
        answers={
            200: Answer(
                meaning="The whole reply, or its events where `stream` or `Accept` asks for them.",
                content={"application/json": ChatAnswer, EVENTS: None},
                headers=("Preference-Applied",),
            ),
            202: json(
                ChatPending, "The reply is still written.", "Location", "Preference-Applied"
            ),
        },
        errors=(*BAD_BODY, E.INVALID_PARAMETER, E.SESSION_NOT_FOUND, E.MESSAGE_NOT_FOUND,
                E.CONFLICT, *SWITCH_FAILS, E.REPLY_TOO_LARGE, E.REPLY_INTERRUPTED, E.DRAINING),
    ),
    Operation(
        method="OPTIONS",
        path="/operator/chat",
        tag="chat",
        summary="Look whether one is connected, and the token is right",
        detail="A browser's preflight (with `Origin` and `Access-Control-Request-Method`) needs "
        "no token. Other paths answer OPTIONS alike.",
        answers={204: Answer(meaning="It is.", headers=("Allow",))},
    ),
    Operation(
        method="GET",
        path="/operator/sessions",
        tag="sessions",
        summary="Sessions, newest first",
        parameters=(
            OF_USER,
            Parameter("q", sessions.Words, "Only those where a message has all these words."),
            limit(sessions.SESSIONS_LIMIT, sessions.SESSIONS_MOST),
            CURSOR,
        ),
        answers={200: json(SessionList, "A page of them.")},
        errors=BAD_QUERY,
    ),
    Operation(
        method="GET",
        path="/operator/session/{session_id}",
        tag="sessions",
        summary="The history of a session",
        parameters=(
            limit(sessions.HISTORY_LIMIT, sessions.HISTORY_MOST),
            Parameter("before", RowId, "Only messages before this one."),
        ),
        answers={200: json(History, "The newest page, oldest message first.")},
        errors=(*BAD_QUERY, E.SESSION_NOT_FOUND),
    ),
    Operation(
        method="DELETE",
        path="/operator/session/{session_id}",
        tag="sessions",
        summary="Delete a session and all that belongs to it",
        answers={204: Answer(meaning="It is gone.")},
        errors=(E.SESSION_NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/operator/session/{session_id}/export",
        tag="sessions",
        summary="The whole session, as JSON Lines",
        detail='The first line is the session (`"type": "session"`), then each message.',
        answers={
            200: Answer(
                meaning="One record a line.", content={NDJSON: str},
                headers=("Content-Disposition",),
            )
        },
        errors=(E.SESSION_NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/operator/session/{session_id}/events",
        tag="sessions",
        summary="The events of a session",
        detail="With `Accept: text/event-stream` it goes on live, as the websocket does "
        "(/asyncapi.json): `Last-Event-ID` or `after`, with `epoch`, say where to resume.",
        parameters=(
            Parameter("after", Seq, "Only events after this number."),
            limit(sessions.EVENTS_LIMIT, sessions.EVENTS_MOST),
            Parameter("epoch", Epoch, "The one that `after` belongs to."),
            Parameter("Last-Event-ID", str, "Where a stream broke off.", "header"),
        ),
        answers={
            200: Answer(
                meaning="A page of them, or the stream.",
                content={"application/json": EventList, EVENTS: None},
            )
        },
        errors=(*BAD_QUERY, E.SESSION_NOT_FOUND, E.DRAINING),
    ),
    Operation(
        method="GET",
        path="/operator/reply/{reply_id}",
        tag="replies",
        summary="A reply as it stands",
        answers={200: json(ReplyView, "Its text so far.")},
        errors=(E.REPLY_NOT_FOUND,),
    ),
    Operation(
        method="POST",
        path="/operator/reply/{reply_id}/cancel",
        tag="replies",
        summary="Stop a reply, whichever process writes it",
        answers={200: json(ReplyView, "The reply; one that had ended stays as it was.")},
        errors=(E.REPLY_NOT_FOUND,),
    ),
    Operation(
        method="POST",
        path="/operator/browser/task",
        tag="browser",
        summary="Have a page opened",
        detail=f"`Prefer` takes the place of `wait`. {FROM_QUERY}",
        parameters=(PREFER,),
        body=browser.BrowserTaskBody,
        answers={
            200: json(browser.BrowserTaskView, "The task, ended.", "Preference-Applied"),
            202: json(
                browser.BrowserTaskView, "It has not ended yet.", "Location", "Preference-Applied"
            ),
        },
        errors=(*BAD_BODY, E.SESSION_NOT_FOUND, E.BROWSER_UNAVAILABLE, E.DRAINING),
    ),
    Operation(
        method="GET",
        path="/operator/browser/tasks",
        tag="browser",
        summary="Browser tasks, newest first",
        parameters=(
            OF_SESSION,
            OF_USER,
            Parameter("status", TaskStatus, "Only those in this state."),
            limit(browser_rest.TASKS_LIMIT, browser_rest.TASKS_MOST),
            CURSOR,
        ),
        answers={200: json(browser.BrowserTaskList, "A page of them.")},
        errors=BAD_QUERY,
    ),
    Operation(
        method="GET",
        path="/operator/browser/task/{task_id}",
        tag="browser",
        summary="A browser task as it stands",
        answers={200: json(browser.BrowserTaskView, "The task.")},
        errors=(E.TASK_NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/operator/browser/task/{task_id}/screenshot",
        tag="browser",
        summary="The picture of a page",
        parameters=(Parameter("If-None-Match", str, "The `ETag` that one has.", "header"),),
        answers={
            200: Answer(meaning="The picture.", content={PNG: bytes}, headers=("ETag",)),
            304: Answer(meaning="It is the one that the caller has.", headers=("ETag",)),
        },
        errors=(E.TASK_NOT_FOUND,),
    ),
    Operation(
        method="POST",
        path="/operator/browser/task/{task_id}/cancel",
        tag="browser",
        summary="Stop a browser task",
        answers={200: json(browser.BrowserTaskView, "The task; one that had ended stays.")},
        errors=(E.TASK_NOT_FOUND,),
    ),
    Operation(
        method="POST",
        path="/operator/tool/call",
        tag="tool calls",
        summary="Record a tool call, or the end of one",
        detail=f"With `tool_call_id` a pending call is finished. {FROM_QUERY}",
        body=ToolCallBody,
        answers={201: json(ToolCallView, "The record.")},
        errors=(*BAD_BODY, E.MESSAGE_NOT_FOUND, E.TOOL_CALL_NOT_FOUND, E.CONFLICT),
    ),
    Operation(
        method="GET",
        path="/operator/message/{message_id}/tool-calls",
        tag="tool calls",
        summary="The tool calls of a message, oldest first",
        parameters=(limit(tool_calls.TOOL_CALLS_LIMIT, tool_calls.TOOL_CALLS_MOST), CURSOR),
        answers={200: json(ToolCallList, "A page of them.")},
        errors=(*BAD_QUERY, E.MESSAGE_NOT_FOUND),
    ),
    Operation(
        method="POST",
        path="/operator/switch/adjustment",
        tag="switch",
        summary="Record a change of Switch",
        detail=f"Nothing is done to Switch before it is applied. {FROM_QUERY}",
        body=AdjustmentBody,
        answers={201: json(AdjustmentAnswer, "The record.")},
        errors=(*BAD_BODY, E.SESSION_NOT_FOUND, E.MESSAGE_NOT_FOUND, *SWITCH_FAILS),
    ),
    Operation(
        method="POST",
        path="/operator/switch/adjustment/{adjustment_id}/apply",
        tag="switch",
        summary="Do a change",
        answers={200: json(AdjustmentAnswer, "It is applied.")},
        errors=(E.ADJUSTMENT_NOT_FOUND, E.CONFLICT, *SWITCH_FAILS, E.DRAINING),
    ),
    Operation(
        method="POST",
        path="/operator/switch/adjustment/{adjustment_id}/revert",
        tag="switch",
        summary="Put back what was before a change",
        answers={200: json(AdjustmentAnswer, "It is reverted.")},
        errors=(E.ADJUSTMENT_NOT_FOUND, E.CONFLICT, *SWITCH_FAILS, E.DRAINING),
    ),
    Operation(
        method="GET",
        path="/operator/switch/adjustments",
        tag="switch",
        summary="Changes of Switch, newest first",
        parameters=(
            OF_SESSION,
            Parameter("applied", bool, "Only those that are applied, or are not."),
            limit(switch.ADJUSTMENTS_LIMIT, switch.ADJUSTMENTS_MOST),
            CURSOR,
        ),
        answers={200: json(AdjustmentList, "A page of them.")},
        errors=BAD_QUERY,
    ),
    Operation(
        method="POST",
        path="/operator/switch/feedback",
        tag="switch",
        summary="Say how an engine did",
        detail=FROM_QUERY,
        body=FeedbackBody,
        answers={200: json(FeedbackAnswer, "It is kept; Switch is told later.")},
        errors=(*BAD_BODY, E.SESSION_NOT_FOUND, E.MESSAGE_NOT_FOUND),
    ),
    Operation(
        method="GET",
        path="/operator/switch/engines",
        tag="switch",
        summary="Engines, best first",
        parameters=(Parameter("window", switch.Window, "Seconds of feedback that count."),),
        answers={200: json(EngineRanking, "The ranking.")},
        errors=BAD_QUERY,
    ),
    *(
        Operation(
            method="GET",
            path=path,
            tag="system",
            summary=summary,
            answers={200: json(kind, "What is known.", "Age")},
        )
        for path, summary, kind in (
            ("/operator/vx11/overview", "All modules of VX11", system.Overview),
            ("/operator/shub/dashboard", "Shub, as it tells of itself", system.Dashboard),
            ("/operator/resources", "Tools and models", system.Resources),
        )
    ),
    Operation(
        method="GET",
        path="/health",
        tag="machines",
        summary="That this process answers",
        answers={200: json(health.Health, "It does.")},
        open=True,
    ),
    Operation(
        method="GET",
        path="/health/live",
        tag="machines",
        summary="Whether it is alive",
        answers={200: json(health.Probe, "It is.")},
        open=True,
    ),
    Operation(
        method="GET",
        path="/health/ready",
        tag="machines",
        summary="Whether it can serve",
        answers={200: json(health.Probe, "It can.")},
        errors=(E.DRAINING, E.DATABASE_UNAVAILABLE),
        open=True,
    ),
    *(
        Operation(
            method="GET",
            path=path,
            tag="machines",
            summary=summary,
            answers={200: Answer(meaning=meaning, content=content)},
            errors=errors,
            open=True,
        )
        for path, summary, meaning, content, errors in (
            ("/metrics", "Metrics for Prometheus", "Its text format.", {"text/plain": str}, ()),
            ("/openapi.json", "This document", "OpenAPI 3.1.", {"application/json": dict}, ()),
            ("/asyncapi.json", "The websocket", "AsyncAPI 3.", {"application/json": dict}, ()),
            ("/docs", "Both documents to read", "A page.", {"text/html": str}, ()),
            ("/errors/{code}", "What an error means", "The error.",
             {"application/json": problems.ErrorKind}, (E.NOT_FOUND,)),
        )
    ),
)  # fmt: skip
