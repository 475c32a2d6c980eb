"""The calls of Operator over HTTP.

Written by ``make docs`` from the published documents; edits are lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, overload

from operator_client.connection import Call, ClientConnection, new_key, segment, streamed
from operator_client.event_stream import ServerSentEvent
from operator_client.models import (
    AdjustmentAnswer,
    AdjustmentBody,
    AdjustmentList,
    BrowserTaskBody,
    BrowserTaskList,
    BrowserTaskView,
    ChatAnswer,
    ChatBody,
    ChatCompletion,
    ChatCompletionBody,
    ChatPending,
    ConversationBody,
    ConversationDeleted,
    ConversationUpdate,
    ConversationView,
    Dashboard,
    EngineRanking,
    ErrorKind,
    EventList,
    FeedbackAnswer,
    FeedbackBody,
    Health,
    History,
    InterfaceChatAnswer,
    Model,
    ModelList,
    NewItems,
    Order,
    Overview,
    Probe,
    ReplyView,
    Resources,
    ResponseBody,
    ResponseDeleted,
    ResponseItems,
    ResponseView,
    SessionList,
    TaskStatus,
    ToolCallBody,
    ToolCallList,
    ToolCallView,
    UiChatBody,
    UiMessage,
    UsageDimension,
    UsageList,
)


class Calls:
    """All calls of ``/openapi.json``, by the names of their operations. They raise ClientError."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @overload
    async def chat(
        self,
        body: ChatBody | Mapping[str, Any],
        *,
        prefer: None = None,
        idempotency_key: str | None = None,
    ) -> ChatAnswer: ...

    @overload
    async def chat(
        self, body: ChatBody | Mapping[str, Any], *, prefer: str, idempotency_key: str | None = None
    ) -> ChatAnswer | ChatPending: ...

    async def chat(
        self,
        body: ChatBody | Mapping[str, Any],
        *,
        prefer: str | None = None,
        idempotency_key: str | None = None,
    ) -> ChatAnswer | ChatPending:
        """Send a message and get the reply.

        Both are kept in the session. Give ``message``, or ``messages`` whose last one by the
        user is the message. A client that disconnects loses nothing: the reply goes on and
        is in the history. Fields may also be given in the query; the body takes precedence.

        ``prefer``: ``wait=N`` answers after N seconds at the latest, ``respond-async`` at
        once (RFC 7240).
        ``idempotency_key``: The same as ``client_message_id``, which wins: a call with the
        same key is made once.
        """
        return await self._connection.call_either(
            {202: ChatPending},
            Call(
                "POST",
                "/operator/chat",
                headers={"Prefer": prefer, "Idempotency-Key": idempotency_key or new_key()},
                body=body,
            ),
            otherwise=ChatAnswer,
        )

    def chat_stream(
        self,
        body: ChatBody | Mapping[str, Any],
        *,
        prefer: str | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """Send a message and get the reply.

        Both are kept in the session. Give ``message``, or ``messages`` whose last one by the
        user is the message. A client that disconnects loses nothing: the reply goes on and
        is in the history. Fields may also be given in the query; the body takes precedence.

        ``prefer``: ``wait=N`` answers after N seconds at the latest, ``respond-async`` at
        once (RFC 7240).
        ``idempotency_key``: The same as ``client_message_id``, which wins: a call with the
        same key is made once.
        """
        return self._connection.events(
            Call(
                "POST",
                "/operator/chat",
                headers={"Prefer": prefer, "Idempotency-Key": idempotency_key or new_key()},
                body=streamed(body),
            )
        )

    @overload
    async def chat_with_interface(
        self,
        body: ChatBody | Mapping[str, Any],
        *,
        prefer: None = None,
        idempotency_key: str | None = None,
    ) -> InterfaceChatAnswer: ...

    @overload
    async def chat_with_interface(
        self, body: ChatBody | Mapping[str, Any], *, prefer: str, idempotency_key: str | None = None
    ) -> InterfaceChatAnswer | ChatPending: ...

    async def chat_with_interface(
        self,
        body: ChatBody | Mapping[str, Any],
        *,
        prefer: str | None = None,
        idempotency_key: str | None = None,
    ) -> InterfaceChatAnswer | ChatPending:
        """Send a message and get the reply, as VX11's newer interface does.

        The same call; its answer also tells who answered, and whether the reply is not
        whole. Fields may also be given in the query; the body takes precedence.

        ``prefer``: ``wait=N`` answers after N seconds at the latest, ``respond-async`` at
        once (RFC 7240).
        ``idempotency_key``: The same as ``client_message_id``, which wins: a call with the
        same key is made once.
        """
        return await self._connection.call_either(
            {202: ChatPending},
            Call(
                "POST",
                "/operator/api/chat",
                headers={"Prefer": prefer, "Idempotency-Key": idempotency_key or new_key()},
                body=body,
            ),
            otherwise=InterfaceChatAnswer,
        )

    def chat_with_interface_stream(
        self,
        body: ChatBody | Mapping[str, Any],
        *,
        prefer: str | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """Send a message and get the reply, as VX11's newer interface does.

        The same call; its answer also tells who answered, and whether the reply is not
        whole. Fields may also be given in the query; the body takes precedence.

        ``prefer``: ``wait=N`` answers after N seconds at the latest, ``respond-async`` at
        once (RFC 7240).
        ``idempotency_key``: The same as ``client_message_id``, which wins: a call with the
        same key is made once.
        """
        return self._connection.events(
            Call(
                "POST",
                "/operator/api/chat",
                headers={"Prefer": prefer, "Idempotency-Key": idempotency_key or new_key()},
                body=streamed(body),
            )
        )

    async def get_session(
        self, session_id: str, *, limit: int | None = None, before: int | None = None
    ) -> History:
        """Get the history of a session.

        ``limit``: Records of a page; 200 if not given. It also ends at 4 MiB of stored
        content.
        ``before``: Only messages before this one.
        """
        return await self._connection.call(
            History,
            Call(
                "GET",
                f"/operator/session/{segment(session_id)}",
                query={"limit": limit, "before": before},
            ),
        )

    async def delete_session(self, session_id: str) -> None:
        """Delete a session and all that belongs to it."""
        await self._connection.content(
            Call("DELETE", f"/operator/session/{segment(session_id)}", media="")
        )

    async def list_sessions(
        self,
        *,
        user_id: str | None = None,
        q: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> SessionList:
        """List sessions, newest first.

        ``user_id``: Only records of this user.
        ``q``: Only sessions with a message that has all these words; the last may be a
        beginning.
        ``limit``: Records of a page; 50 if not given. It also ends at 4 MiB of stored
        content.
        ``cursor``: The place where the page begins: ``next_cursor`` of the page before.
        """
        return await self._connection.call(
            SessionList,
            Call(
                "GET",
                "/operator/sessions",
                query={"user_id": user_id, "q": q, "limit": limit, "cursor": cursor},
            ),
        )

    def export_session(self, session_id: str) -> AsyncIterator[Any]:
        """Export a whole session, as JSON Lines.

        The first line is the session (``"type": "session"``), then each message.
        """
        return self._connection.records(
            Call(
                "GET",
                f"/operator/session/{segment(session_id)}/export",
                media="application/x-ndjson",
            )
        )

    async def get_session_events(
        self,
        session_id: str,
        *,
        after: int | None = None,
        limit: int | None = None,
        epoch: str | None = None,
    ) -> EventList:
        """Get the events of a session.

        With ``Accept: text/event-stream`` the response continues live, like the websocket
        (/asyncapi.json). ``Last-Event-ID`` or ``after``, with ``epoch``, set the place to
        resume from.

        ``after``: Only events after this number.
        ``limit``: Records of a page; 100 if not given. It also ends at 4 MiB of stored
        content.
        ``epoch``: The epoch of the session in which ``after`` is a number.
        """
        return await self._connection.call(
            EventList,
            Call(
                "GET",
                f"/operator/session/{segment(session_id)}/events",
                query={"after": after, "limit": limit, "epoch": epoch},
            ),
        )

    def get_session_events_stream(
        self,
        session_id: str,
        *,
        after: int | None = None,
        limit: int | None = None,
        epoch: str | None = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """Get the events of a session.

        With ``Accept: text/event-stream`` the response continues live, like the websocket
        (/asyncapi.json). ``Last-Event-ID`` or ``after``, with ``epoch``, set the place to
        resume from.

        ``after``: Only events after this number.
        ``limit``: Records of a page; 100 if not given. It also ends at 4 MiB of stored
        content.
        ``epoch``: The epoch of the session in which ``after`` is a number.
        """
        return self._connection.events(
            Call(
                "GET",
                f"/operator/session/{segment(session_id)}/events",
                query={"after": after, "limit": limit, "epoch": epoch},
            )
        )

    async def get_reply(self, reply_id: int) -> ReplyView:
        """Get a reply in its current state."""
        return await self._connection.call(
            ReplyView, Call("GET", f"/operator/reply/{segment(reply_id)}")
        )

    async def cancel_reply(self, reply_id: int) -> ReplyView:
        """Stop a reply, whichever process writes it."""
        return await self._connection.call(
            ReplyView, Call("POST", f"/operator/reply/{segment(reply_id)}/cancel")
        )

    async def add_browser_task(
        self, body: BrowserTaskBody | Mapping[str, Any], *, prefer: str | None = None
    ) -> BrowserTaskView:
        """Open a page in the browser.

        The task is stored at once, and runs when its turn comes. ``Prefer`` overrides
        ``wait``. Fields may also be given in the query; the body takes precedence.

        ``prefer``: ``wait=N`` answers after N seconds at the latest, ``respond-async`` at
        once (RFC 7240).
        """
        return await self._connection.call(
            BrowserTaskView,
            Call(
                "POST", "/operator/browser/task", headers={"Prefer": prefer}, body=body, again=False
            ),
        )

    async def get_browser_task(self, task_id: str) -> BrowserTaskView:
        """Get a browser task in its current state."""
        return await self._connection.call(
            BrowserTaskView, Call("GET", f"/operator/browser/task/{segment(task_id)}")
        )

    async def cancel_browser_task(self, task_id: str) -> BrowserTaskView:
        """Stop a browser task, whichever process runs it."""
        return await self._connection.call(
            BrowserTaskView, Call("POST", f"/operator/browser/task/{segment(task_id)}/cancel")
        )

    async def list_browser_tasks(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        status: TaskStatus | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> BrowserTaskList:
        """List browser tasks, newest first.

        ``session_id``: Only records of this session.
        ``user_id``: Only records of this user.
        ``status``: Only tasks in this state.
        ``limit``: Records of a page; 50 if not given. It also ends at 4 MiB of stored
        content.
        ``cursor``: The place where the page begins: ``next_cursor`` of the page before.
        """
        return await self._connection.call(
            BrowserTaskList,
            Call(
                "GET",
                "/operator/browser/tasks",
                query={
                    "session_id": session_id,
                    "user_id": user_id,
                    "status": status,
                    "limit": limit,
                    "cursor": cursor,
                },
            ),
        )

    async def get_screenshot(self, task_id: str) -> bytes:
        """Get the screenshot of a page.

        404 if the task has no screenshot, or none yet.
        """
        return await self._connection.content(
            Call("GET", f"/operator/browser/task/{segment(task_id)}/screenshot", media="image/png")
        )

    async def add_tool_call(self, body: ToolCallBody | Mapping[str, Any]) -> ToolCallView:
        """Record a tool call, or the end of one.

        With ``tool_call_id`` a pending call is finished. Fields may also be given in the
        query; the body takes precedence.
        """
        return await self._connection.call(
            ToolCallView, Call("POST", "/operator/tool/call", body=body, again=False)
        )

    async def list_tool_calls(
        self, message_id: int, *, limit: int | None = None, cursor: str | None = None
    ) -> ToolCallList:
        """List the tool calls of a message, oldest first.

        ``limit``: Records of a page; 50 if not given. It also ends at 4 MiB of stored
        content.
        ``cursor``: The place where the page begins: ``next_cursor`` of the page before.
        """
        return await self._connection.call(
            ToolCallList,
            Call(
                "GET",
                f"/operator/message/{segment(message_id)}/tool-calls",
                query={"limit": limit, "cursor": cursor},
            ),
        )

    async def add_adjustment(self, body: AdjustmentBody | Mapping[str, Any]) -> AdjustmentAnswer:
        """Record an adjustment of Switch.

        Nothing is done to Switch before it is applied. Fields may also be given in the
        query; the body takes precedence.
        """
        return await self._connection.call(
            AdjustmentAnswer, Call("POST", "/operator/switch/adjustment", body=body, again=False)
        )

    async def apply_adjustment(self, adjustment_id: int) -> AdjustmentAnswer:
        """Apply an adjustment."""
        return await self._connection.call(
            AdjustmentAnswer,
            Call(
                "POST", f"/operator/switch/adjustment/{segment(adjustment_id)}/apply", again=False
            ),
        )

    async def revert_adjustment(self, adjustment_id: int) -> AdjustmentAnswer:
        """Revert an adjustment: restore the configuration from before it."""
        return await self._connection.call(
            AdjustmentAnswer,
            Call(
                "POST", f"/operator/switch/adjustment/{segment(adjustment_id)}/revert", again=False
            ),
        )

    async def list_adjustments(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        applied: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AdjustmentList:
        """List adjustments of Switch, newest first.

        ``session_id``: Only records of this session.
        ``user_id``: Only records of this user.
        ``applied``: Only adjustments that are applied (``true``) or are not (``false``).
        ``limit``: Records of a page; 50 if not given. It also ends at 4 MiB of stored
        content.
        ``cursor``: The place where the page begins: ``next_cursor`` of the page before.
        """
        return await self._connection.call(
            AdjustmentList,
            Call(
                "GET",
                "/operator/switch/adjustments",
                query={
                    "session_id": session_id,
                    "user_id": user_id,
                    "applied": applied,
                    "limit": limit,
                    "cursor": cursor,
                },
            ),
        )

    async def add_feedback(self, body: FeedbackBody | Mapping[str, Any]) -> FeedbackAnswer:
        """Give feedback on the engine of a reply.

        A second one replaces the first. Without ``message_id`` it counts for ``engine``, and
        needs the role operator. Fields may also be given in the query; the body takes
        precedence.
        """
        return await self._connection.call(
            FeedbackAnswer, Call("POST", "/operator/switch/feedback", body=body, again=False)
        )

    async def list_engines(self, *, window: int | None = None) -> EngineRanking:
        """List engines, best first.

        ``window``: Age in seconds up to which feedback counts.
        """
        return await self._connection.call(
            EngineRanking, Call("GET", "/operator/switch/engines", query={"window": window})
        )

    async def get_overview(
        self,
    ) -> Overview:
        """Get the state of all modules of VX11."""
        return await self._connection.call(Overview, Call("GET", "/operator/vx11/overview"))

    async def get_dashboard(
        self,
    ) -> Dashboard:
        """Get the dashboard of Shub."""
        return await self._connection.call(Dashboard, Call("GET", "/operator/shub/dashboard"))

    async def get_resources(
        self,
    ) -> Resources:
        """List tools and models."""
        return await self._connection.call(Resources, Call("GET", "/operator/resources"))

    async def get_usage(
        self,
        *,
        from_: str | None = None,
        to: str | None = None,
        by: UsageDimension | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> UsageList:
        """Sum the tokens that replies used.

        The upstream's own counts, of replies that have ended. The role operator sees all of
        them, a token bound to a user those of that user, and any other token its own.
        Ordered by ``key``.

        ``from_``: The first day, in UTC; 30 days up to the last one if not given.
        ``to``: The last day, in UTC; today if not given.
        ``by``: The dimension of the counts.
        ``limit``: Keys of a page; 1000 if not given.
        ``cursor``: The place where the page begins: ``next_cursor`` of the page before.
        """
        return await self._connection.call(
            UsageList,
            Call(
                "GET",
                "/operator/usage",
                query={"from": from_, "to": to, "by": by, "limit": limit, "cursor": cursor},
            ),
        )

    async def list_models(
        self,
    ) -> ModelList:
        """List the models.

        The first one, ``operator``, leaves the choice to the upstream; the others are those
        that it lists. While it is away the last known list is given.
        """
        return await self._connection.call(ModelList, Call("GET", "/v1/models"))

    async def get_model(self, model: str) -> Model:
        """Get a model."""
        return await self._connection.call(Model, Call("GET", f"/v1/models/{segment(model)}"))

    async def create_chat_completion(
        self,
        body: ChatCompletionBody | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        x_operator_session: str | None = None,
        x_operator_user: str | None = None,
        x_operator_background: bool | None = None,
    ) -> ChatCompletion:
        """Create a chat completion.

        The last message of the user is kept, with its reply, in the session that the header
        or ``metadata.session_id`` names, else in one of its own. A caller that leaves stops
        the reply.

        ``idempotency_key``: The same as ``client_message_id``, which wins: a call with the
        same key is made once.
        ``x_operator_session``: The session that keeps the chat.
        ``x_operator_user``: The owner of the session, where the token has none.
        ``x_operator_background``: The reply goes on when its caller leaves.
        """
        return await self._connection.call(
            ChatCompletion,
            Call(
                "POST",
                "/v1/chat/completions",
                headers={
                    "Idempotency-Key": idempotency_key or new_key(),
                    "X-Operator-Session": x_operator_session,
                    "X-Operator-User": x_operator_user,
                    "X-Operator-Background": x_operator_background,
                },
                body=body,
            ),
        )

    def create_chat_completion_stream(
        self,
        body: ChatCompletionBody | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        x_operator_session: str | None = None,
        x_operator_user: str | None = None,
        x_operator_background: bool | None = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """Create a chat completion.

        The last message of the user is kept, with its reply, in the session that the header
        or ``metadata.session_id`` names, else in one of its own. A caller that leaves stops
        the reply.

        ``idempotency_key``: The same as ``client_message_id``, which wins: a call with the
        same key is made once.
        ``x_operator_session``: The session that keeps the chat.
        ``x_operator_user``: The owner of the session, where the token has none.
        ``x_operator_background``: The reply goes on when its caller leaves.
        """
        return self._connection.events(
            Call(
                "POST",
                "/v1/chat/completions",
                headers={
                    "Idempotency-Key": idempotency_key or new_key(),
                    "X-Operator-Session": x_operator_session,
                    "X-Operator-User": x_operator_user,
                    "X-Operator-Background": x_operator_background,
                },
                body=streamed(body),
            )
        )

    async def create_response(
        self, body: ResponseBody | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> ResponseView:
        """Create a response.

        It is kept in the conversation that ``conversation`` names, or in that of
        ``previous_response_id``, else in one of its own. A caller that leaves stops it,
        unless ``background`` is true: then the call answers at once.

        ``idempotency_key``: The same as ``client_message_id``, which wins: a call with the
        same key is made once.
        """
        return await self._connection.call(
            ResponseView,
            Call(
                "POST",
                "/v1/responses",
                headers={"Idempotency-Key": idempotency_key or new_key()},
                body=body,
            ),
        )

    def create_response_stream(
        self, body: ResponseBody | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> AsyncIterator[ServerSentEvent]:
        """Create a response.

        It is kept in the conversation that ``conversation`` names, or in that of
        ``previous_response_id``, else in one of its own. A caller that leaves stops it,
        unless ``background`` is true: then the call answers at once.

        ``idempotency_key``: The same as ``client_message_id``, which wins: a call with the
        same key is made once.
        """
        return self._connection.events(
            Call(
                "POST",
                "/v1/responses",
                headers={"Idempotency-Key": idempotency_key or new_key()},
                body=streamed(body),
            )
        )

    async def get_response(
        self, response_id: str, *, starting_after: int | None = None
    ) -> ResponseView:
        """Get a response in its current state, or stream it, whichever process writes it.

        A response can be streamed any number of times; disconnecting does not stop it.

        ``starting_after``: The ``sequence_number`` after which the events begin.
        """
        return await self._connection.call(
            ResponseView,
            Call(
                "GET",
                f"/v1/responses/{segment(response_id)}",
                query={"starting_after": starting_after},
            ),
        )

    def get_response_stream(
        self, response_id: str, *, starting_after: int | None = None
    ) -> AsyncIterator[ServerSentEvent]:
        """Get a response in its current state, or stream it, whichever process writes it.

        A response can be streamed any number of times; disconnecting does not stop it.

        ``starting_after``: The ``sequence_number`` after which the events begin.
        """
        return self._connection.events(
            Call(
                "GET",
                f"/v1/responses/{segment(response_id)}",
                query={"starting_after": starting_after, "stream": True},
            )
        )

    async def delete_response(self, response_id: str) -> ResponseDeleted:
        """Stop and delete a response, and its input if no other response answers it."""
        return await self._connection.call(
            ResponseDeleted, Call("DELETE", f"/v1/responses/{segment(response_id)}")
        )

    async def cancel_response(self, response_id: str) -> ResponseView:
        """Stop a response, whichever process writes it; one that has ended stays as it is."""
        return await self._connection.call(
            ResponseView, Call("POST", f"/v1/responses/{segment(response_id)}/cancel")
        )

    async def list_input_items(
        self,
        response_id: str,
        *,
        after: str | None = None,
        limit: int | None = None,
        order: Order | None = None,
    ) -> ResponseItems:
        """List the items that a response was asked with.

        ``after``: The id of the item before.
        ``limit``: Items of a page.
        ``order``: ``desc``, the newest first, or ``asc``.
        """
        return await self._connection.call(
            ResponseItems,
            Call(
                "GET",
                f"/v1/responses/{segment(response_id)}/input_items",
                query={"after": after, "limit": limit, "order": order},
            ),
        )

    async def create_conversation(
        self, body: ConversationBody | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> ConversationView:
        """Create a conversation, which is a session, with ``items`` to begin with.

        A retry returns the one that the call before it has made, if that was not answered.

        ``idempotency_key``: The same as ``client_message_id``, which wins: a call with the
        same key is made once.
        """
        return await self._connection.call(
            ConversationView,
            Call(
                "POST",
                "/v1/conversations",
                headers={"Idempotency-Key": idempotency_key or new_key()},
                body=body,
            ),
        )

    async def get_conversation(self, conversation_id: str) -> ConversationView:
        """Get a conversation; every session is one."""
        return await self._connection.call(
            ConversationView, Call("GET", f"/v1/conversations/{segment(conversation_id)}")
        )

    async def update_conversation(
        self, conversation_id: str, body: ConversationUpdate | Mapping[str, Any]
    ) -> ConversationView:
        """Replace the metadata of a conversation."""
        return await self._connection.call(
            ConversationView,
            Call("POST", f"/v1/conversations/{segment(conversation_id)}", body=body, again=False),
        )

    async def delete_conversation(self, conversation_id: str) -> ConversationDeleted:
        """Delete a conversation with all that belongs to it."""
        return await self._connection.call(
            ConversationDeleted, Call("DELETE", f"/v1/conversations/{segment(conversation_id)}")
        )

    async def create_conversation_items(
        self,
        conversation_id: str,
        body: NewItems | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> ResponseItems:
        """Add items to a conversation, without requesting a reply. A retry adds them once.

        ``idempotency_key``: The same as ``client_message_id``, which wins: a call with the
        same key is made once.
        """
        return await self._connection.call(
            ResponseItems,
            Call(
                "POST",
                f"/v1/conversations/{segment(conversation_id)}/items",
                headers={"Idempotency-Key": idempotency_key or new_key()},
                body=body,
            ),
        )

    async def list_conversation_items(
        self,
        conversation_id: str,
        *,
        after: str | None = None,
        limit: int | None = None,
        order: Order | None = None,
    ) -> ResponseItems:
        """List the items of a conversation: messages, and calls of tools with their results.

        ``after``: The id of the item before.
        ``limit``: Items of a page.
        ``order``: ``desc``, the newest first, or ``asc``.
        """
        return await self._connection.call(
            ResponseItems,
            Call(
                "GET",
                f"/v1/conversations/{segment(conversation_id)}/items",
                query={"after": after, "limit": limit, "order": order},
            ),
        )

    async def get_conversation_item(self, conversation_id: str, item_id: str) -> dict[str, Any]:
        """Get an item of a conversation."""
        return await self._connection.call(
            dict[str, Any],
            Call("GET", f"/v1/conversations/{segment(conversation_id)}/items/{segment(item_id)}"),
        )

    async def delete_conversation_item(
        self, conversation_id: str, item_id: str
    ) -> ConversationView:
        """Delete an item with the message that it belongs to, and all replies to that."""
        return await self._connection.call(
            ConversationView,
            Call(
                "DELETE", f"/v1/conversations/{segment(conversation_id)}/items/{segment(item_id)}"
            ),
        )

    def send_ui_message(
        self, body: UiChatBody | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> AsyncIterator[ServerSentEvent]:
        """Send a message, from the AI SDK.

        The last message is kept, and the history is the session's own. One that takes the
        place of another, which ``messageId`` names, ends the history there: what came after
        is deleted. Leaving does not stop the reply: ``GET /ai/chat/{session_id}/stream``
        shows it again from its start. Fields may also be given in the query; the body takes
        precedence.

        ``idempotency_key``: The same as ``client_message_id``, which wins: a call with the
        same key is made once.
        """
        return self._connection.events(
            Call(
                "POST",
                "/ai/chat",
                headers={"Idempotency-Key": idempotency_key or new_key()},
                body=body,
            )
        )

    def resume_ui_stream(self, session_id: str) -> AsyncIterator[ServerSentEvent]:
        """Show the reply that is being written, from its start."""
        return self._connection.events(Call("GET", f"/ai/chat/{segment(session_id)}/stream"))

    async def stop_ui_reply(self, session_id: str) -> None:
        """Stop the reply that is being written; its text so far is kept."""
        await self._connection.content(
            Call("POST", f"/ai/chat/{segment(session_id)}/stop", media="")
        )

    async def list_ui_messages(
        self, session_id: str, *, before: int | None = None
    ) -> list[UiMessage]:
        """Read a session's newest messages as the AI SDK has them.

        Of several replies to a message the newest is given. Where there are older messages,
        the header ``Link`` has the address of the page before (``rel="next"``).

        ``before``: Only messages before this one.
        """
        return await self._connection.call(
            list[UiMessage],
            Call("GET", f"/ai/chat/{segment(session_id)}/messages", query={"before": before}),
        )

    async def get_health(
        self,
    ) -> Health:
        """Get the health of this process."""
        return await self._connection.call(Health, Call("GET", "/health"))

    async def get_liveness(
        self,
    ) -> Probe:
        """Check that the process is alive."""
        return await self._connection.call(Probe, Call("GET", "/health/live"))

    async def get_readiness(
        self,
    ) -> Probe:
        """Check that the process can serve."""
        return await self._connection.call(Probe, Call("GET", "/health/ready"))

    async def get_metrics(
        self,
    ) -> str:
        """Get the metrics, for Prometheus."""
        return (
            await self._connection.content(Call("GET", "/metrics", media="text/plain"))
        ).decode()

    async def get_openapi(
        self,
    ) -> dict[str, Any]:
        """Get the OpenAPI document, which is this one."""
        return await self._connection.call(dict[str, Any], Call("GET", "/openapi.json"))

    async def get_asyncapi(
        self,
    ) -> dict[str, Any]:
        """Get the AsyncAPI document, which describes the websocket."""
        return await self._connection.call(dict[str, Any], Call("GET", "/asyncapi.json"))

    async def get_docs(
        self,
    ) -> str:
        """Show both documents as a page, with a form to try each call."""
        return (await self._connection.content(Call("GET", "/docs", media="text/html"))).decode()

    async def get_error_kind(self, code: str) -> ErrorKind:
        """Explain an error code."""
        return await self._connection.call(ErrorKind, Call("GET", f"/errors/{segment(code)}"))
