"""The structs of answers, bodies, frames and events.

Written by ``make docs`` from the published documents; edits are lost.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

import msgspec


class AdjustmentAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An adjustment with what old clients read of it."""

    id: int
    """The adjustment's id."""
    session_id: str | None
    """The session that it was made in."""
    message_id: int | None
    """The message that it was made for."""
    before_config: Any
    """The configuration that held before; what a revert sends."""
    after_config: Any
    """The configuration that is to hold; what applying sends."""
    reason: str
    """The reason, for people."""
    applied: bool
    """True while it is applied."""
    applied_at: datetime | None
    """The time at which it was last applied."""
    reverted_at: datetime | None
    """The time at which it was last reverted."""
    error: str | None
    """The reason why it was not applied or reverted the last time."""
    created_at: datetime
    """The time at which it was stored."""
    adjustment_id: int
    """The same as ``id``, for older clients."""
    status: str = "ok"
    """Always ``ok``, for older clients."""


class AdjustmentBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An adjustment of Switch; ``before_config`` left out is read from Switch."""

    after_config: dict[str, Any]
    """The configuration that is to hold: ``mode``, ``default_model``, ``preload_model`` are
    applied.
    """
    reason: str
    """The reason, for people."""
    before_config: dict[str, Any] | None = None
    """The configuration that held before; read from Switch where it is left out."""
    session_id: str | None = None
    """The session that it was made in."""
    message_id: int | None = None
    """The message that it was made for."""


class AdjustmentList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of adjustments, newest first."""

    adjustments: list[AdjustmentView]
    """The adjustments, newest first."""
    next_cursor: str | None
    """The ``cursor`` that asks for the next page; null at the end."""


class AdjustmentView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An adjustment of Switch. ``error`` is why it was not applied or reverted the last
    time.
    """

    id: int
    """The adjustment's id."""
    session_id: str | None
    """The session that it was made in."""
    message_id: int | None
    """The message that it was made for."""
    before_config: Any
    """The configuration that held before; what a revert sends."""
    after_config: Any
    """The configuration that is to hold; what applying sends."""
    reason: str
    """The reason, for people."""
    applied: bool
    """True while it is applied."""
    applied_at: datetime | None
    """The time at which it was last applied."""
    reverted_at: datetime | None
    """The time at which it was last reverted."""
    error: str | None
    """The reason why it was not applied or reverted the last time."""
    created_at: datetime
    """The time at which it was stored."""


class AllowedTools(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tools to choose from."""

    mode: AllowedToolsMode
    """``required`` where one of them must be called."""
    tools: list[dict[str, Any]]
    """The tools, each by its name."""


AllowedToolsMode: TypeAlias = str
"""One of ``auto``, ``required``; a newer Operator may have more."""


class AssistantMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The reply; ``content`` is null where there are tool calls alone."""

    role: str = "assistant"
    """Always ``assistant``."""
    content: str | None
    """The text."""
    refusal: str | None = None
    """Always null."""
    reasoning_content: str | None = None
    """The model's reasoning, where it gives any."""
    tool_calls: list[dict[str, Any]] | None = None
    """Functions that the model asks for."""


Availability: TypeAlias = str
"""One of ``degraded``, ``ok``, ``unavailable``; a newer Operator may have more."""


class BrowserTaskBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of ``POST /operator/browser/task``: where it belongs, how long the caller
    waits, and the page's fields as the browser service takes them.
    """

    url: str
    """The address of the page."""
    session_id: str | None = None
    """The session that the task belongs to."""
    user_id: str | None = None
    """The user that it belongs to."""
    wait: float | None = None
    """Seconds that the call waits for the task's end; 30 if not given."""
    timeout_ms: int | None = None
    """Milliseconds that the page may take."""
    wait_until: WaitUntil | None = None
    """The state of loading at which the page counts as there."""
    full_page: bool | None = None
    """True for a screenshot of the whole page instead of the window."""
    viewport: Viewport | None = None
    """The window's size."""
    script: str | None = None
    """A JavaScript expression, evaluated in the page."""
    text_limit: int | None = None
    """Code points of the page's text that are kept."""


class BrowserTaskFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task without its large parts: the data of its events (with times as text)."""

    task_id: str
    """The task's id."""
    session_id: str | None
    """The session that the task belongs to."""
    url: str
    """The address of the page."""
    status: TaskStatus
    """The task's state."""
    attempts: int = 0
    """Times that it was begun."""
    title: str | None = None
    """The page's title."""
    text_snippet: str | None = None
    """The beginning of the page's text."""
    final_url: str | None = None
    """The address after all redirects."""
    http_status: int | None = None
    """The HTTP status of the page."""
    screenshot_path: str | None = None
    """The path of the screenshot."""
    error: str | None = None
    """The reason of a failure."""
    duration_ms: int | None = None
    """Milliseconds that the page took."""
    created_at: datetime | None = None
    """The time at which it was stored."""
    started_at: datetime | None = None
    """The time at which it was last begun."""
    completed_at: datetime | None = None
    """The time at which it ended."""


class BrowserTaskItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task in a list: what its events say of it, and its place in the queue."""

    task_id: str
    """The task's id."""
    session_id: str | None
    """The session that the task belongs to."""
    url: str
    """The address of the page."""
    status: TaskStatus
    """The task's state."""
    attempts: int = 0
    """Times that it was begun."""
    title: str | None = None
    """The page's title."""
    text_snippet: str | None = None
    """The beginning of the page's text."""
    final_url: str | None = None
    """The address after all redirects."""
    http_status: int | None = None
    """The HTTP status of the page."""
    screenshot_path: str | None = None
    """The path of the screenshot."""
    error: str | None = None
    """The reason of a failure."""
    duration_ms: int | None = None
    """Milliseconds that the page took."""
    created_at: datetime | None = None
    """The time at which it was stored."""
    started_at: datetime | None = None
    """The time at which it was last begun."""
    completed_at: datetime | None = None
    """The time at which it ended."""
    position: int | None = None
    """Its place among its user's waiting tasks, 1 being the next; null where it does not
    wait.
    """


class BrowserTaskList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of tasks, newest first; ``next_cursor`` asks for the next one, null at the
    end.
    """

    tasks: list[BrowserTaskItem]
    """The tasks, newest first."""
    next_cursor: str | None
    """The ``cursor`` that asks for the next page; null at the end."""


class BrowserTaskView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A browser task. ``result`` is null until it has ended, and where it was cancelled;
    ``position`` is its place among its user's waiting tasks, 1 being the next; users
    take turns. The flat fields after ``result`` repeat what is in it, for older clients.
    """

    task_id: str
    """The task's id."""
    status: TaskStatus
    """The task's state."""
    url: str
    """The address of the page."""
    session_id: str | None
    """The session that the task belongs to."""
    result: TaskResult | None
    """The result of the page."""
    screenshot_path: str | None
    """The path of the screenshot."""
    text_snippet: str | None
    """The beginning of the page's text."""
    error_message: str | None
    """The reason of a failure."""
    created_at: datetime
    """The time at which it was stored."""
    completed_at: datetime | None
    """The time at which it ended."""
    started_at: datetime | None
    """The time at which it was last begun."""
    user_id: str
    """The user that it belongs to."""
    attempts: int
    """Times that it was begun."""
    position: int | None
    """Its place among its user's waiting tasks, 1 being the next."""


class CalledFunction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function that was called."""

    name: str
    """The function's name."""
    arguments: str
    """The function's arguments, as JSON."""


class CalledTool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call that an assistant's message made."""

    id: str
    """The call's id."""
    type: str = "function"
    """The kind of tool."""
    function: CalledFunction | None = None
    """The function, where it is one."""


CallerRole: TypeAlias = str
"""One of ``client``, ``operator``; a newer Operator may have more."""


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of a chat; ``response`` and ``reply`` are the same text."""

    session_id: str
    """The session's id."""
    response: str
    """The text of the reply."""
    reply: str
    """The same as ``response``."""
    message_id: int
    """The message's id."""
    reply_id: int
    """The reply's id."""
    tool_calls: list[ToolCallView]
    """The tool calls of the reply."""
    metadata: dict[str, Any]
    """``provider``, ``finish_reason``, ``usage`` and, of a failure, ``error`` and
    ``detail``.
    """


class ChatBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of ``POST /operator/chat``: ``message``, or ``messages`` whose last one by
    the user is the message.
    """

    message: str | None = None
    """The message."""
    messages: list[Turn] | None = None
    """The conversation, where the client keeps it; instead of ``message``."""
    session_id: str | None = None
    """The session; a new one if not given."""
    user_id: str | None = None
    """The user of a new session."""
    context_summary: str | None = None
    """A summary of what was said elsewhere, for the engine."""
    metadata: dict[str, Any] | None = None
    """``provider_hint`` in it counts where the field of that name is not given;
    ``regenerate`` is the id of a message that gets another reply, instead of a new one.
    At most 64 KiB as JSON.
    """
    provider_hint: str | None = None
    """The engine to prefer."""
    client_message_id: str | None = None
    """An idempotency key: a chat with the same key is made once."""
    stream: bool | None = None
    """True for a stream of events, as ``Accept: text/event-stream`` asks for too."""


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole answer; ``id`` has the id of the reply, ``created`` is in seconds."""

    id: str
    """``chatcmpl-`` and the id of the reply."""
    object: str = "chat.completion"
    """The kind of object."""
    created: int
    """The time of the reply, in seconds since 1970."""
    model: str
    """The model that was asked for."""
    choices: list[Choice]
    """The one choice."""
    usage: Usage
    """Tokens that were used."""


class ChatCompletionBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a call for a completion. Fields that are not known travel to the engine."""

    messages: list[MessageParam]
    """The conversation; its last message of the user is the one to answer."""
    model: str | None = None
    """The model; ``operator`` leaves the choice to the upstream."""
    stream: bool | None = None
    """True for a stream of chunks."""
    stream_options: StreamOptions | None = None
    """Options of the stream."""
    n: int | None = None
    """Choices to give; only 1."""
    metadata: dict[str, Any] | None = None
    """Metadata of the message; ``session_id`` in it names the session."""
    store: bool | None = None
    """False for a session that ends with the call."""
    background: bool | None = None
    """True for a reply that continues if the client disconnects."""
    tools: list[CompletionTool] | None = None
    """Tools that the model may call."""
    tool_choice: CompletionToolChoice | ChosenTool | None = None
    """The tools that it must call."""
    parallel_tool_calls: bool | None = None
    """False to permit only one tool call at a time."""
    response_format: ResponseFormat | None = None
    """The form of the text."""
    temperature: float | None = None
    """The randomness of the reply."""
    top_p: float | None = None
    """The probability mass that tokens are taken from."""
    presence_penalty: float | None = None
    """The penalty of tokens that were there before."""
    frequency_penalty: float | None = None
    """The penalty of tokens by how often they were there before."""
    max_tokens: int | None = None
    """The most tokens of the reply."""
    max_completion_tokens: int | None = None
    """The most tokens of the reply, with those of reasoning."""
    stop: str | list[str] | None = None
    """Texts at which the reply ends."""
    seed: int | None = None
    """A number for which the reply is to be the same each time."""
    logprobs: bool | None = None
    """True where the likeliness of tokens is asked for."""
    top_logprobs: int | None = None
    """The number of most likely tokens to return at each position."""
    logit_bias: dict[str, float] | None = None
    """The likeliness that is added to tokens."""
    reasoning_effort: str | None = None
    """The effort that reasoning may take."""
    verbosity: str | None = None
    """The length of the text."""
    service_tier: str | None = None
    """The upstream's class of service."""
    user: str | None = None
    """The upstream's name for the end user."""


class ChatPending(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of a chat whose reply is still being written, and when it began."""

    session_id: str
    """The session's id."""
    message_id: int
    """The message's id."""
    reply_id: int
    """The reply's id."""
    created_at: datetime
    """The time at which the reply began."""
    status: str = "streaming"
    """Always ``streaming``."""


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The one choice of an answer."""

    index: int = 0
    """Always 0."""
    message: AssistantMessage
    """The reply."""
    finish_reason: str
    """The reason why the model ended."""
    logprobs: Any = None
    """Always null."""


class ChosenFunction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function that is chosen."""

    name: str
    """The function's name."""


class ChosenTool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tool to call, or the tools to choose from."""

    type: str
    """The kind of choice."""
    function: ChosenFunction | None = None
    """The one function to call."""
    allowed_tools: AllowedTools | None = None
    """The functions to choose from."""


class CliTool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command line tool, put together from all ``sources`` that name it. A number that no
    source gives is left out.
    """

    name: str
    """The tool's name."""
    available: bool | None
    """True where it can be used."""
    version: str | None
    """The tool's version."""
    type: str | None
    """The kind of tool."""
    status: str | None
    """The state, in the source's own word."""
    rate_limit_daily: float | None = None
    """Calls a day that are allowed."""
    updated_at: str | None
    """The time of the source's last news of it."""
    sources: list[str]
    """The sources that name it."""


class CompletionFunction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function that the model may call."""

    name: str
    """The function's name."""
    description: str | None = None
    """The function's purpose, for the model."""
    parameters: dict[str, Any] | None = None
    """The parameters, as JSON Schema."""
    strict: bool | None = None
    """True where the arguments must fit the parameters."""


CompletionRole: TypeAlias = str
"""One of ``assistant``, ``developer``, ``system``, ``tool``, ``user``; a newer Operator
may have more.
"""


class CompletionTokensDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of the reply that were reasoning."""

    reasoning_tokens: int
    """Tokens of reasoning."""


class CompletionTool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool that the model may call; the upstream decides which types it accepts."""

    type: str
    """The kind of tool."""
    function: CompletionFunction | None = None
    """The function, where it is one."""


CompletionToolChoice: TypeAlias = str
"""One of ``auto``, ``none``, ``required``; a newer Operator may have more."""


class ContentPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of a message's content; the upstream decides which types it accepts."""

    type: str
    """The kind of part; each has a field of its own."""
    text: str | None = None
    """The text."""
    refusal: str | None = None
    """The text of a refusal."""
    image_url: ImageUrl | None = None
    """The address of an image."""
    input_audio: dict[str, Any] | None = None
    """A sound and its format."""
    file: dict[str, Any] | None = None
    """A file, by its id or its content."""


class ConversationBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body that makes a conversation."""

    items: list[InputItem] | None = None
    """Items to begin with."""
    metadata: dict[str, str] | None = None
    """Metadata of the session."""


class ConversationDeleted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation that was deleted."""

    id: str
    """``conv_`` and the session's id."""
    object: str = "conversation.deleted"
    """The kind of object."""
    deleted: bool = True
    """Always true."""


class ConversationId(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation, named by its id."""

    id: str
    """``conv_`` and the session's id."""


class ConversationOf(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The conversation that a response belongs to."""

    id: str
    """``conv_`` and the session's id."""


class ConversationUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body that replaces a conversation's metadata."""

    metadata: dict[str, str] | None
    """Metadata in place of what there was."""


class ConversationView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation, which is a session."""

    id: str
    """``conv_`` and the session's id."""
    object: str = "conversation"
    """The kind of object."""
    created_at: int
    """The time at which it was made, in seconds since 1970."""
    metadata: dict[str, str]
    """Metadata of the session, as far as it is text."""


class Dashboard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Shub by its own account. ``shub_health`` is its word; ``degraded`` means that a part
    is missing, and ``error`` says why it is not ``ok``.
    """

    status: Availability
    """The state of the answer."""
    shub_health: str | None
    """Shub's own word for its state."""
    version: str | None
    """Shub's version."""
    uptime_seconds: float | None
    """Seconds since Shub was started."""
    active_sessions: int | None
    """Sessions that are open."""
    projects: list[Any] | None
    """The projects, as Shub reports them."""
    resources: ShubResources
    """Resources that Shub uses."""
    parts: ShubParts
    """Shub's parts."""
    jobs: ShubJobs
    """Shub's batch jobs."""
    error: str | None
    """The reason why it is not ``ok``."""
    sources: dict[str, SourceView]
    """The calls that this was made of, by name."""


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
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


class EngineRanking(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Engines, best first, by the feedback of the last ``window`` seconds."""

    engines: list[EngineView]
    """The engines, best first."""
    recommend: Recommendation | None
    """The adjustment that is recommended; null where there is none."""
    recommend_error: Unknown | None
    """The reason why nothing can be recommended; null where it can."""
    window: int
    """Seconds of feedback that were counted."""


class EngineView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An engine and its feedback. Latencies are of successes only; null without any.
    ``score`` is from 0 to 1 (formula in docs/system.md).
    """

    engine: str
    """The engine's name."""
    calls: int
    """Feedback that it has."""
    success_rate: float
    """The part of the calls that succeeded, from 0 to 1."""
    latency_p50_ms: float | None
    """The median latency, in milliseconds."""
    latency_p95_ms: float | None
    """The latency that 95 of 100 calls stay below, in milliseconds."""
    tokens: int
    """Tokens that it used in all."""
    score: float
    """Its rank's number, from 0 to 1; more is better."""


class ErrorKind(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error code: its status and meaning, and whether trying again may help."""

    error: str
    """The error's code."""
    status: int
    """The HTTP status."""
    title: str
    """The kind of failure, for people."""
    retryable: bool
    """True where trying again may help."""


class EventList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Events of a session after a number; ``next_after`` asks for more, null at the end."""

    session_id: str
    """The session's id."""
    epoch: str
    """The session's epoch: numbers of events count within it alone."""
    seq: int
    """The number of the session's last event."""
    events: list[EventView]
    """The events, oldest first."""
    next_after: int | None
    """The ``after`` that asks for more; null at the end."""


EventName: TypeAlias = str
"""One of ``browser_task.cancelled``, ``browser_task.completed``,
``browser_task.failed``, ``browser_task.queued``, ``browser_task.started``,
``message.created``, ``message.deleted``, ``reply.cancelled``, ``reply.completed``,
``reply.failed``, ``reply.interrupted``, ``reply.started``, ``session.created``,
``session.deleted``, ``switch_adjustment.applied``, ``switch_adjustment.failed``,
``switch_adjustment.recorded``, ``switch_adjustment.reverted``,
``switch_feedback.recorded``, ``tool_call.recorded``; a newer Operator may have more.
"""


class EventView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A durable event, as the websocket's frame has it."""

    seq: int
    """The event's number within the session, without gaps."""
    event: EventName
    """The event's name."""
    session_id: str
    """The session's id."""
    ts: datetime
    """The time of the event."""
    data: Any
    """The event's own data."""


class FeedbackAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Stored feedback. ``engine`` is the one that wrote the reply, whatever the body named;
    ``forwarded_at`` is null until Switch receives it, at most once per reply.
    """

    id: int
    """The feedback's id."""
    session_id: str | None
    """The session that it is about."""
    message_id: int | None
    """The reply that it is about."""
    engine: str
    """The engine's name."""
    success: bool
    """True where the engine did what was asked."""
    latency_ms: int | None
    """Milliseconds that the engine took."""
    tokens_used: int
    """Tokens that the engine used."""
    error_message: str | None
    """The reason of a failure."""
    forwarded_at: datetime | None
    """The time at which Switch received it."""
    created_at: datetime
    """The time at which it was stored."""
    status: str = "recorded"
    """Always ``recorded``."""


class FeedbackBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Feedback on the engine of the reply ``message_id``: a second one replaces the first.
    Without a reply it needs the role ``operator``, and counts for ``engine``. The
    published UI says ``error_msg``. Feedback without a latency counts for the success
    rate alone.
    """

    engine: str
    """The engine's name."""
    success: bool
    """True where the engine did what was asked."""
    latency_ms: float | None = None
    """Milliseconds that the engine took."""
    tokens_used: int | None = None
    """Tokens that the engine used."""
    error_message: str | None = None
    """The reason of a failure."""
    error_msg: str | None = None
    """The published UI's name for ``error_message``, which takes precedence."""
    session_id: str | None = None
    """The session that it is about."""
    message_id: int | None = None
    """The reply that it is about."""


class FeedbackFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Feedback on an engine."""

    id: int
    """The feedback's id."""
    session_id: str | None
    """The session that it is about."""
    message_id: int | None
    """The reply that it is about."""
    engine: str
    """The engine's name."""
    success: bool
    """True where the engine did what was asked."""
    latency_ms: int | None
    """Milliseconds that the engine took."""
    tokens_used: int
    """Tokens that the engine used."""
    error_message: str | None
    """The reason of a failure."""
    forwarded_at: datetime | None
    """The time at which Switch received it."""
    created_at: datetime
    """The time at which it was stored."""


class FunctionTool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function that the model may call."""

    name: str
    """The function's name."""
    description: str | None = None
    """The function's purpose, for the model."""
    parameters: dict[str, Any] | None = None
    """The parameters, as JSON Schema."""
    strict: bool | None = None
    """True where the arguments must fit the parameters."""


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """This process, as it says itself: ``status`` is ok, degraded while NATS is away (other
    processes' news come later), or draining when it is about to stop.
    """

    status: HealthStatus
    """The state of this process."""
    module: str = "operator"
    """The module's name."""
    version: str = "0.1.0"
    """The module's version."""
    uptime_seconds: int
    """Seconds since this process was started."""


HealthStatus: TypeAlias = str
"""One of ``degraded``, ``draining``, ``ok``; a newer Operator may have more."""


class History(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of a session's messages, oldest first; ``next_before`` asks for older ones."""

    session_id: str
    """The session's id."""
    user_id: str
    """The user that it belongs to."""
    source: str
    """The way that it came by: web, api or another."""
    created_at: datetime
    """The time at which it was stored."""
    updated_at: datetime
    """The time of its last event."""
    message_count: int
    """Messages and replies that it has."""
    messages: list[MessageView]
    """The messages, oldest first."""
    next_before: int | None
    """The ``before`` that asks for older messages; null where there are none."""


class ImageUrl(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The address of an image."""

    url: str
    """The address, or the image itself as a ``data:`` URL."""
    detail: str | None = None
    """The detail in which the image is to be seen."""


class IncompleteDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The reason why a response is incomplete."""

    reason: str
    """``max_output_tokens``, or ``content_filter``."""


class InputItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An item of the input; one that has no type is a message. A reference names an item of
    a response, by its id.
    """

    type: InputItemType = "message"
    """The kind of item."""
    id: str | None = None
    """The id of the item that a reference names."""
    role: InputRole | None = None
    """The speaker of a message."""
    content: str | list[InputPart] | None = None
    """The text of a message, or its parts; the text of a reasoning item."""
    call_id: str | None = None
    """The function call's id."""
    name: str | None = None
    """The function's name."""
    arguments: str | None = None
    """The function's arguments, as JSON."""
    output: str | list[InputPart] | None = None
    """The function's result."""
    summary: list[SummaryPart] | None = None
    """The parts of a reasoning item's summary."""
    encrypted_content: str | None = None
    """The text of a reasoning item, encrypted by who made it."""


InputItemType: TypeAlias = str
"""One of ``function_call``, ``function_call_output``, ``item_reference``, ``message``,
``reasoning``; a newer Operator may have more.
"""


class InputPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of a message's content."""

    type: InputPartType
    """The kind of part."""
    text: str | None = None
    """The text."""
    refusal: str | None = None
    """The text of a refusal."""
    image_url: str | None = None
    """The address of an image, or its data."""
    detail: str | None = None
    """The detail in which the image is to be seen."""
    file_id: str | None = None
    """The id of a file."""
    file_data: str | None = None
    """The file's content, in base64."""
    file_url: str | None = None
    """The address of a file."""
    filename: str | None = None
    """The file's name."""


InputPartType: TypeAlias = str
"""One of ``input_file``, ``input_image``, ``input_text``, ``output_text``,
``reasoning_text``, ``refusal``, ``text``; a newer Operator may have more.
"""


InputRole: TypeAlias = str
"""One of ``assistant``, ``developer``, ``system``, ``user``; a newer Operator may have
more.
"""


class InputTokensDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of the input that a cache held."""

    cached_tokens: int = 0
    """Tokens that were read from a cache."""
    cache_write_tokens: int = 0
    """Tokens that were written to a cache."""


class InterfaceChatAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of a chat to VX11's newer interface; ``degraded`` where it is not whole."""

    session_id: str
    """The session's id."""
    response: str
    """The text of the reply."""
    reply: str
    """The same as ``response``."""
    message_id: int
    """The message's id."""
    reply_id: int
    """The reply's id."""
    tool_calls: list[ToolCallView]
    """The tool calls of the reply."""
    metadata: dict[str, Any]
    """``provider``, ``finish_reason``, ``usage`` and, of a failure, ``error`` and
    ``detail``.
    """
    degraded: bool
    """True where the reply is not whole."""
    provider_used: str | None
    """The engine that wrote the reply."""


class JsonSchemaFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The form of the text, as JSON Schema."""

    name: str
    """The name of the form."""
    description: str | None = None
    """The form's purpose, for the model."""
    schema: dict[str, Any] | None = None
    """The JSON Schema."""
    strict: bool | None = None
    """True where the text must fit the schema."""


class LocalModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model, put together from all ``sources`` that name it. It is ``available`` unless a
    source says otherwise; ``active`` and ``warm`` are null where Switch does not say,
    and ``size_mb`` is left out where no source gives it.
    """

    name: str
    """The model's name."""
    available: bool
    """True where it can be used."""
    size_mb: float | None = None
    """Megabytes of the model."""
    category: str | None
    """The kind of model."""
    status: str | None
    """The state, in the source's own word."""
    compatibility: Any
    """The platforms that it runs on, as the source reports them."""
    active: bool | None
    """True where Switch uses it now."""
    warm: bool | None
    """True where it is loaded."""
    sources: list[str]
    """The sources that name it."""


class Me(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The caller: the name of its token, its role, and the user it is bound to, if any."""

    name: str
    """The token's name."""
    role: CallerRole
    """The token's role."""
    user_id: str | None
    """The user that the token is bound to."""


class MessageCreated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message is stored."""

    message_id: int
    """The message's id."""
    role: MessageRole
    """The speaker."""
    content: str
    """The text."""
    status: str
    """Always ``complete``."""
    metadata: dict[str, Any]
    """The metadata that the client sent, and its ``client_message_id``."""
    timestamp: datetime
    """The time at which it was stored."""


class MessageDeleted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message or a reply was deleted. The log shows this event also in place of earlier
    events about it.
    """

    message_id: int
    """The message's id."""


class MessageParam(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of the conversation that a client brings."""

    role: CompletionRole
    """The speaker."""
    content: str | list[ContentPart] | None = None
    """The text, or its parts."""
    name: str | None = None
    """The speaker's name."""
    refusal: str | None = None
    """The text of a refusal, of an assistant's message."""
    tool_calls: list[CalledTool] | None = None
    """Tool calls that an assistant's message made."""
    tool_call_id: str | None = None
    """The call that a tool's message answers."""
    function_call: CalledFunction | None = None
    """The older form of a tool call."""
    audio: dict[str, Any] | None = None
    """The id of an earlier spoken reply."""


MessageRole: TypeAlias = str
"""One of ``assistant``, ``system``, ``tool``, ``user``; a newer Operator may have more."""


MessageStatus: TypeAlias = str
"""One of ``cancelled``, ``complete``, ``failed``, ``interrupted``, ``streaming``; a
newer Operator may have more.
"""


class MessageView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message in the history. The text of a running reply is the part stored so far; a
    failed reply has its code in ``metadata.error``. If it has more tool calls than fit,
    ``tool_calls_next`` is the ``cursor`` of the next ones in its own list.
    """

    id: int
    """The message's id."""
    role: MessageRole
    """The speaker."""
    content: str
    """The text."""
    status: MessageStatus
    """The message's state; only replies are ever anything but ``complete``."""
    timestamp: datetime
    """The time at which it was stored."""
    metadata: dict[str, Any]
    """A user's message: the metadata that the client sent. A reply: ``provider``,
    ``finish_reason``, ``usage`` and, of a failure, ``error`` and ``detail``.
    """
    tool_calls: list[ToolCallView]
    """The tool calls of the message."""
    reply_to: int | None = None
    """The message that a reply answers."""
    tool_calls_next: str | None = None
    """The ``cursor`` of the tool calls that do not stand here."""


class Model(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model that may be asked for; ``created`` is when Operator first saw it, in seconds."""

    id: str
    """The model's name."""
    object: str = "model"
    """The kind of object."""
    created: int
    """The time at which it was first seen, in seconds since 1970."""
    owned_by: str = "operator"
    """The owner's name."""


class ModelList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All models, never none."""

    object: str = "list"
    """The kind of object."""
    data: list[Model]
    """The models."""


ModuleStatus: TypeAlias = str
"""One of ``circuit_open``, ``error``, ``ok``, ``timeout``, ``unknown``; a newer
Operator may have more.
"""


class ModuleView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A module as it was found at ``checked_at``; ``latency_ms`` is null where it was not
    asked by Operator itself.
    """

    status: ModuleStatus
    """The module's state."""
    latency_ms: float | None
    """Milliseconds that its answer took."""
    checked_at: datetime
    """The time at which it was asked."""
    version: str | None = None
    """The module's version."""
    error: str | None = None
    """The reason why it is not ``ok``."""


class NewItems(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body that adds items."""

    items: list[InputItem]
    """Items to add."""


Order: TypeAlias = str
"""One of ``asc``, ``desc``; a newer Operator may have more."""


class OutputTokensDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of the output that were reasoning."""

    reasoning_tokens: int = 0
    """Tokens of reasoning."""


class Overview(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All modules of VX11, by the gateway or by each one's own word (``source``)."""

    status: SystemStatus
    """The state of all of them."""
    healthy_modules: int
    """Modules that are ``ok``."""
    total_modules: int
    """Modules that there are."""
    modules: dict[str, ModuleView]
    """The modules by name."""
    source: OverviewSource
    """The source of the answer."""


OverviewSource: TypeAlias = str
"""One of ``direct``, ``tentaculo_link``; a newer Operator may have more."""


class Probe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The good answer to a probe."""

    status: str
    """Always ``ok``, or ``ready``."""


class PromptTokensDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of the prompt that a cache held."""

    cached_tokens: int
    """Tokens that were read from a cache."""


class ReasoningOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Options of the model's reasoning."""

    effort: str | None = None
    """The effort that reasoning may take."""
    summary: str | None = None
    """The kind of summary of the reasoning."""


class Recommendation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An adjustment that feedback speaks for: a body for ``POST
    /operator/switch/adjustment``. ``before_config`` is left out where Switch does not
    say what it uses.
    """

    before_config: dict[str, Any] | None = None
    """The configuration that holds now."""
    after_config: dict[str, Any]
    """The configuration that is recommended."""
    reason: str
    """The reason, for people."""


class ReplyEnded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reply ended: ``content`` is its whole text and replaces what deltas gave;
    ``length`` counts code points; ``error`` is the code of a failure.
    """

    reply_id: int
    """The reply's id."""
    message_id: int | None
    """The message that it answers."""
    status: ReplyEnding
    """The way that it ended."""
    content: str
    """The whole text."""
    length: int
    """The code points of the text."""
    metadata: dict[str, Any]
    """``provider``, ``finish_reason``, ``usage`` and, of a failure, ``error`` and
    ``detail``.
    """
    error: str | None = None
    """The error's code, where it failed."""


ReplyEnding: TypeAlias = str
"""One of ``cancelled``, ``complete``, ``failed``, ``interrupted``; a newer Operator may
have more.
"""


class ReplyStarted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reply to ``message_id`` is being written."""

    reply_id: int
    """The reply's id."""
    message_id: int | None
    """The message that it answers."""
    status: str
    """Always ``streaming``."""


class ReplyView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reply in its current state. ``end`` is its length in code points."""

    reply_id: int
    """The reply's id."""
    message_id: int | None
    """The message that it answers."""
    session_id: str
    """The session's id."""
    status: MessageStatus
    """The reply's state."""
    content: str
    """The text so far."""
    end: int
    """The code points of the text."""
    metadata: dict[str, Any]
    """``provider``, ``finish_reason``, ``usage`` and, of a failure, ``error`` and
    ``detail``.
    """
    created_at: datetime
    """The time at which it began."""
    finished_at: datetime | None
    """The time at which it ended."""


class Resources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tools and models of Hermes and Switch, merged by name; which source gave what, and
    which failed. A list is null where no source that knows it answered.
    """

    status: Availability
    """The state of the answer."""
    cli_tools: list[CliTool] | None
    """The command line tools."""
    local_models: list[LocalModel] | None
    """The models."""
    max_tokens: int | None = None
    """Tokens that may be used."""
    available_tokens: int | None = None
    """Tokens that are left."""
    sources: dict[str, SourceView]
    """The calls that this was made of, by name."""


class ResponseBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a call for a response. Fields that are not known travel to the engine."""

    input: str | list[InputItem]
    """The text to answer, or items."""
    model: str | None = None
    """The model; ``operator`` leaves the choice to the upstream."""
    instructions: str | None = None
    """A system message for this call alone."""
    previous_response_id: str | None = None
    """The response whose session is continued."""
    conversation: str | ConversationId | None = None
    """The conversation that the response belongs to."""
    stream: bool | None = None
    """True for a stream of events."""
    stream_options: dict[str, Any] | None = None
    """Options of the stream."""
    background: bool | None = None
    """True to respond at once and write the reply in the background."""
    store: bool | None = None
    """False for a response that is deleted with its end."""
    include: list[str] | None = None
    """Further fields to answer; none has an effect."""
    metadata: dict[str, str] | None = None
    """Metadata of the message."""
    tools: list[FunctionTool] | None = None
    """Functions that the model may call."""
    tool_choice: ToolChoiceName | ToolChoice | None = None
    """The functions that it must call."""
    parallel_tool_calls: bool | None = None
    """False to permit only one tool call at a time."""
    max_tool_calls: int | None = None
    """The most calls of functions."""
    max_output_tokens: int | None = None
    """The most tokens of the reply."""
    temperature: float | None = None
    """The randomness of the reply."""
    top_p: float | None = None
    """The probability mass that tokens are taken from."""
    presence_penalty: float | None = None
    """The penalty of tokens that were there before."""
    frequency_penalty: float | None = None
    """The penalty of tokens by how often they were there before."""
    top_logprobs: int | None = None
    """The number of most likely tokens to return at each position."""
    reasoning: ReasoningOptions | None = None
    """Options of the model's reasoning."""
    text: TextOptions | None = None
    """Options of the text."""
    truncation: Truncation | None = None
    """The treatment of an input that is too long."""
    service_tier: str | None = None
    """The upstream's class of service."""
    user: str | None = None
    """The upstream's name for the end user."""
    safety_identifier: str | None = None
    """The upstream's id for the end user."""
    prompt_cache_key: str | None = None
    """The upstream's key of its cache of prompts."""


class ResponseDeleted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A response that was deleted."""

    id: str
    """``resp_`` and the id of the reply."""
    object: str = "response.deleted"
    """The kind of object."""
    deleted: bool = True
    """Always true."""


class ResponseFailure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The reason why a response failed."""

    code: str
    """The error's code."""
    message: str
    """The failure, for people."""


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The form of the text."""

    type: str
    """The kind of format."""
    json_schema: JsonSchemaFormat | None = None
    """The form of the text, as JSON Schema, with its name."""


class ResponseItems(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of items; ``last_id`` asks for the next one."""

    object: str = "list"
    """The kind of object."""
    data: list[dict[str, Any]]
    """The items."""
    first_id: str | None
    """The id of the first one."""
    last_id: str | None
    """The id of the last one, which ``after`` takes."""
    has_more: bool
    """True where there are more."""


ResponseStatus: TypeAlias = str
"""One of ``cancelled``, ``completed``, ``failed``, ``in_progress``, ``incomplete``; a
newer Operator may have more.
"""


class ResponseUsage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens, as the upstream counted them; 0 where it did not."""

    input_tokens: int
    """Tokens of the input."""
    input_tokens_details: InputTokensDetails = msgspec.field(
        default_factory=lambda: InputTokensDetails(cached_tokens=0, cache_write_tokens=0)
    )
    """Of these, those of a cache."""
    output_tokens: int
    """Tokens of the output."""
    output_tokens_details: OutputTokensDetails = msgspec.field(
        default_factory=lambda: OutputTokensDetails(reasoning_tokens=0)
    )
    """Of these, those of reasoning."""
    total_tokens: int
    """Tokens of both."""


class ResponseView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A response: a reply, and what it was asked with. ``id`` has the id of the reply, that
    of ``conversation`` the session's; times are in seconds.
    """

    id: str
    """``resp_`` and the id of the reply."""
    object: str = "response"
    """The kind of object."""
    created_at: int
    """The time at which it began, in seconds since 1970."""
    completed_at: int | None
    """The time at which it ended, in seconds since 1970."""
    status: ResponseStatus
    """The response's state."""
    error: ResponseFailure | None
    """The failure, where it failed."""
    incomplete_details: IncompleteDetails | None
    """The reason, where it is incomplete."""
    model: str
    """The model that was asked for."""
    instructions: str | None
    """The system message of the call."""
    previous_response_id: str | None
    """The response whose session went on."""
    conversation: ConversationOf
    """The session."""
    output: list[dict[str, Any]]
    """The items of the reply."""
    usage: ResponseUsage | None
    """Tokens that were used."""
    metadata: dict[str, Any]
    """Metadata of the message."""
    background: bool
    """True where it went on without its caller."""
    store: bool
    """False where it was deleted with its end."""
    tools: list[dict[str, Any]]
    """Functions that the model might call."""
    tool_choice: Any
    """The functions that it had to call."""
    parallel_tool_calls: bool
    """False where one call at a time was wanted."""
    max_output_tokens: int | None
    """The most tokens of the reply."""
    max_tool_calls: int | None
    """The most calls of functions."""
    temperature: float
    """The randomness of the reply."""
    top_p: float
    """The probability mass that tokens were taken from."""
    presence_penalty: float
    """The penalty of tokens that were there before."""
    frequency_penalty: float
    """The penalty of tokens by how often they were there before."""
    top_logprobs: int
    """The number of most likely tokens to return at each position."""
    reasoning: dict[str, Any]
    """Options of the model's reasoning."""
    text: dict[str, Any]
    """Options of the text."""
    truncation: str
    """The treatment of an input that is too long."""
    service_tier: str
    """The upstream's class of service."""
    safety_identifier: str | None
    """The upstream's id for the end user."""
    prompt_cache_key: str | None
    """The upstream's key of its cache of prompts."""
    user: str | None
    """The upstream's name for the end user."""


class Resync(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Replaying was not possible: this is the state to start from, with as many of the
    newest messages as fit into 512 KiB.
    """

    seq: int
    """The number of the last event that the state has."""
    epoch: str | None
    """The session's epoch: numbers of events count within it alone."""
    snapshot: SessionState
    """The state."""


class SessionCreated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session was made; ``source`` is web, api or another way in, and ``epoch`` what a
    client that was there before it resumes with.
    """

    session_id: str
    """The session's id."""
    epoch: str
    """The session's epoch: numbers of events count within it alone."""
    user_id: str
    """The user that it belongs to."""
    source: str
    """The way that it came by: web, api or another."""


class SessionDeleted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The session is gone with all that belonged to it, its events too."""

    session_id: str
    """The session's id."""


class SessionList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of sessions; ``next_cursor`` asks for the next one, null at the end."""

    sessions: list[SessionView]
    """The sessions, the last used first."""
    next_cursor: str | None
    """The ``cursor`` that asks for the next page; null at the end."""


class SessionState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest messages of a session."""

    messages: list[MessageView]
    """The newest messages, oldest first."""
    next_before: int | None
    """The ``before`` that asks for older messages; null where there are none."""


class SessionView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session in the list of sessions."""

    session_id: str
    """The session's id."""
    user_id: str
    """The user that it belongs to."""
    source: str
    """The way that it came by: web, api or another."""
    created_at: datetime
    """The time at which it was stored."""
    updated_at: datetime
    """The time of its last event."""
    message_count: int
    """Messages and replies that it has."""
    metadata: dict[str, Any]
    """Metadata of the session, such as that of its conversation below ``/v1``."""
    preview: str | None = None
    """The beginning of its first message of a user, one line of 120 characters at most.
    Only in the list; absent where there is no such message, or no text in it.
    """


class ShubJobs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Shub's batch jobs."""

    active: int | None
    """Jobs that run."""
    completed: int | None
    """Jobs that are done."""
    failed: int | None
    """Jobs that failed."""
    queued: int | None
    """Jobs that wait."""


class ShubParts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Shub's parts, and whether they are ready."""

    ready: bool | None
    """True where Shub is ready."""
    dsp_ready: bool | None
    """True where its signal processing is ready."""
    fx_ready: bool | None
    """True where its effects are ready."""
    reaper_ready: bool | None
    """True where REAPER is ready."""
    vx11_bridge_ready: bool | None
    """True where its bridge to VX11 is ready."""


class ShubResources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Resources that Shub uses: percent of processors, megabytes."""

    cpu_percent: float | None
    """Percent of the processors."""
    memory_mb: float | None
    """Megabytes of memory."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The text so far of a reply that is being written; it replaces what the client has."""

    reply_id: int
    """The reply's id."""
    kind: TextKind
    """The text that it is."""
    text: str
    """The text so far."""
    end: int
    """The code points of the text."""


SourceStatus: TypeAlias = str
"""One of ``circuit_open``, ``error``, ``ok``, ``timeout``; a newer Operator may have
more.
"""


class SourceView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the calls that an answer is made of: its outcome, and why it failed."""

    status: SourceStatus
    """The outcome of the call."""
    error: str | None = None
    """The error's code."""
    detail: str | None = None
    """The failure, for people."""


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Options of a stream."""

    include_usage: bool | None = None
    """True for one more chunk, with the tokens that were used."""


class SummaryPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of a reasoning item's summary."""

    text: str
    """The text."""


SystemStatus: TypeAlias = str
"""One of ``degraded``, ``down``, ``ok``; a newer Operator may have more."""


class TaskResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of a page. ``status`` is the page's: ok, timeout, error or blocked;
    ``timestamp`` is the task's end; ``text_snippet`` the beginning of ``text``.
    """

    status: str
    """The outcome of the page."""
    url: str
    """The address that was asked for."""
    title: str
    """The page's title."""
    text_snippet: str
    """The beginning of the text."""
    screenshot_path: str | None
    """The path of the screenshot."""
    error: str | None
    """The reason of a failure."""
    timestamp: datetime | None
    """The time at which the task ended."""
    duration_ms: int | None
    """Milliseconds that the page took."""
    final_url: str
    """The address after all redirects."""
    http_status: int | None
    """The HTTP status of the page."""
    text: str
    """The page's text."""
    links: list[Any]
    """The page's links, each with its address and text."""
    console: list[Any]
    """Lines that the page wrote to its console."""
    script_result: Any
    """The value of the script."""


TaskStatus: TypeAlias = str
"""One of ``blocked``, ``cancelled``, ``completed``, ``failed``, ``pending``,
``running``, ``timeout``; a newer Operator may have more.
"""


class TextFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The form of the text; ``schema`` is JSON Schema."""

    type: TextFormatType = "text"
    """The kind of format."""
    name: str | None = None
    """The format's name."""
    schema: dict[str, Any] | None = None
    """The form of the text, as JSON Schema."""
    description: str | None = None
    """The format's purpose, for the model."""
    strict: bool | None = None
    """True where the text must fit the schema."""


TextFormatType: TypeAlias = str
"""One of ``json_object``, ``json_schema``, ``text``; a newer Operator may have more."""


TextKind: TypeAlias = str
"""One of ``reasoning``, ``text``; a newer Operator may have more."""


class TextOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Options of the text."""

    format: TextFormat | None = None
    """The form of the text."""
    verbosity: Verbosity | None = None
    """The length of the text."""


class ToolCallBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call of a message; with ``tool_call_id`` the end of a pending one.
    ``duration_ms`` is in milliseconds.
    """

    message_id: int | None = None
    """The message that the call belongs to."""
    tool_call_id: int | None = None
    """The pending call that this ends."""
    tool_name: str | None = None
    """The tool's name."""
    status: ToolCallStatus | None = None
    """The call's state; ``pending`` if not given."""
    duration_ms: float | None = None
    """Milliseconds that it took."""
    arguments: Any = None
    """The arguments, at most 256 KiB as JSON."""
    result: Any = None
    """The result, at most 256 KiB as JSON."""
    error: str | None = None
    """The reason of a failure."""


class ToolCallFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call without its arguments and result."""

    id: int
    """The tool call's id."""
    message_id: int
    """The message that it belongs to."""
    tool_name: str
    """The tool's name."""
    status: ToolCallStatus
    """The call's state."""
    duration_ms: int | None
    """Milliseconds that it took."""
    error: str | None
    """The reason of a failure."""
    created_at: datetime
    """The time at which it was stored."""
    finished_at: datetime | None
    """The time at which it ended."""


class ToolCallList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of a message's tool calls, oldest first."""

    tool_calls: list[ToolCallView]
    """The tool calls, oldest first."""
    next_cursor: str | None
    """The ``cursor`` that asks for the next page; null at the end."""


ToolCallStatus: TypeAlias = str
"""One of ``error``, ``ok``, ``pending``; a newer Operator may have more."""


class ToolCallView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A recorded tool call."""

    id: int
    """The tool call's id."""
    message_id: int
    """The message that it belongs to."""
    tool_name: str
    """The tool's name."""
    status: ToolCallStatus
    """The call's state."""
    duration_ms: int | None
    """Milliseconds that it took."""
    arguments: Any
    """The arguments."""
    result: Any
    """The result."""
    error: str | None
    """The reason of a failure."""
    created_at: datetime
    """The time at which it was stored."""
    finished_at: datetime | None
    """The time at which it ended."""


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The one function to call, or the functions to choose from."""

    type: ToolChoiceType
    """The kind of choice."""
    name: str | None = None
    """The one function to call."""
    mode: ToolChoiceMode = "auto"
    """``required`` where one of them must be called."""
    tools: list[dict[str, Any]] = []
    """The functions to choose from."""


ToolChoiceMode: TypeAlias = str
"""One of ``auto``, ``required``; a newer Operator may have more."""


ToolChoiceName: TypeAlias = str
"""One of ``auto``, ``none``, ``required``; a newer Operator may have more."""


ToolChoiceType: TypeAlias = str
"""One of ``allowed_tools``, ``function``; a newer Operator may have more."""


Truncation: TypeAlias = str
"""One of ``auto``, ``disabled``; a newer Operator may have more."""


class Turn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message of a conversation that the client keeps itself."""

    role: str
    """The speaker."""
    content: str
    """The text."""


class UiChatBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body that ``DefaultChatTransport`` posts; ``id`` is the session."""

    id: str
    """The session's id."""
    messages: list[UiMessageParam] = []
    """The conversation; its last message is the one to answer."""
    trigger: UiTrigger = "submit-message"
    """The reason of the call."""
    message_id: str | None = msgspec.field(default=None, name="messageId")
    """The message that gets another reply, or whose place the last one takes."""


class UiMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stored message as the client shows it."""

    id: str
    """The message's id."""
    role: str
    """The speaker."""
    parts: list[dict[str, Any]]
    """The parts of the message."""
    metadata: dict[str, Any] | None = None
    """The reply's state, where it is not complete."""


class UiMessageParam(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of the client's."""

    role: UiRole
    """The speaker."""
    parts: list[UiPart]
    """The parts of the message."""
    id: str = ""
    """The client's id of the message, which is its idempotency key."""


class UiPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of a message; those of text and files are read."""

    type: str
    """The kind of part."""
    text: str = ""
    """The text of a part of text."""
    url: str = ""
    """The address of a file, or its content as a ``data:`` URL."""
    media_type: str = msgspec.field(default="", name="mediaType")
    """The type of a file."""
    filename: str | None = None
    """The name of a file."""


UiRole: TypeAlias = str
"""One of ``assistant``, ``system``, ``user``; a newer Operator may have more."""


UiTrigger: TypeAlias = str
"""One of ``regenerate-message``, ``submit-message``; a newer Operator may have more."""


class Unknown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The reason why something is not known."""

    error: str
    """The error's code."""
    detail: str
    """The failure, for people."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens, as the upstream counted them; 0 where it did not, and no details where it
    gave none.
    """

    prompt_tokens: int
    """Tokens of the prompt."""
    completion_tokens: int
    """Tokens of the reply."""
    total_tokens: int
    """Tokens of both."""
    prompt_tokens_details: PromptTokensDetails | None = None
    """Of the prompt's tokens, those of a cache."""
    completion_tokens_details: CompletionTokensDetails | None = None
    """Of the reply's tokens, those of reasoning."""


UsageDimension: TypeAlias = str
"""One of ``day``, ``model``, ``token``, ``user``; a newer Operator may have more."""


class UsageList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of usage; ``next_cursor`` asks for the next one. Both days are in, in UTC."""

    by: UsageDimension
    """The meaning of the keys."""
    from_: str = msgspec.field(name="from")
    """The first day."""
    to: str
    """The last day."""
    usage: list[UsageView]
    """The usage, in the order of its keys."""
    next_cursor: str | None
    """The cursor of the next page; null at the end."""


class UsageView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Replies and their tokens, as the upstream counted them. ``key`` is a day, the name of
    a token, a user or a model.
    """

    key: str
    """A day (``YYYY-MM-DD``), the name of a token, a user or a model."""
    replies: int
    """Replies that have ended, and whose tokens the upstream counted."""
    prompt_tokens: int
    """Tokens that were sent to the upstream."""
    completion_tokens: int
    """Tokens that it wrote."""
    total_tokens: int
    """Both, as the upstream counted them."""


Verbosity: TypeAlias = str
"""One of ``high``, ``low``, ``medium``; a newer Operator may have more."""


class Viewport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The window's size in CSS pixels."""

    width: int = 1280
    """Width in CSS pixels."""
    height: int = 720
    """Height in CSS pixels."""


WaitUntil: TypeAlias = str
"""One of ``commit``, ``domcontentloaded``, ``load``, ``networkidle``; a newer Operator
may have more.
"""


EventData: TypeAlias = (
    AdjustmentView
    | BrowserTaskFact
    | FeedbackFact
    | MessageCreated
    | MessageDeleted
    | ReplyEnded
    | ReplyStarted
    | SessionCreated
    | SessionDeleted
    | ToolCallFact
)

EVENT_DATA: dict[str, type[EventData]] = {
    "session.created": SessionCreated,
    "message.created": MessageCreated,
    "message.deleted": MessageDeleted,
    "reply.started": ReplyStarted,
    "reply.cancelled": ReplyEnded,
    "reply.completed": ReplyEnded,
    "reply.failed": ReplyEnded,
    "reply.interrupted": ReplyEnded,
    "session.deleted": SessionDeleted,
    "tool_call.recorded": ToolCallFact,
    "browser_task.queued": BrowserTaskFact,
    "browser_task.started": BrowserTaskFact,
    "browser_task.completed": BrowserTaskFact,
    "browser_task.failed": BrowserTaskFact,
    "browser_task.cancelled": BrowserTaskFact,
    "switch_adjustment.recorded": AdjustmentView,
    "switch_adjustment.applied": AdjustmentView,
    "switch_adjustment.reverted": AdjustmentView,
    "switch_adjustment.failed": AdjustmentView,
    "switch_feedback.recorded": FeedbackFact,
}

CLOSE_REASONS = {
    1000: "done",
    1009: "a frame is larger than allowed",
    4000: "this process stops; come back",
    4001: "too much waits for this client; come back and resume",
    4002: "nothing came from this client for too long",
    4003: "what was shown may not be what is stored now; come back at once",
    4005: "too many frames; come back more slowly",
    4006: "a fault of Operator's; come back",
    4500: "the first frame did not bring a token",
    4501: "the token is wrong, or the session another user's",
    4502: "the token did not come in time",
    4503: "20 unreadable frames in a row",
    4504: "the session was deleted",
    4007: "this process is full; come back later",
    4505: "too many connections",
}
