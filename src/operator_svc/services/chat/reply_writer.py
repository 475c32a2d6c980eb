"""Replies while they are being written, by this pod.

A reply belongs to the service, not to the client that asked. Its pod shows each piece at once,
stores new text every tick, and ends it with one write that only the owner can make. Whoever else
wants it to stop says so in the database; whoever finds its owner gone ends it as interrupted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from typing import Any, Protocol, TypeAlias

import structlog

from operator_svc import telemetry, tracing
from operator_svc.background import TaskOwner
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import MAX_REPLY_CHARS, Json, ReplyChunk, ReplyStatus
from operator_svc.peers.chat_types import Done, Part, Prompt, Reasoning, Text, ToolCallPart
from operator_svc.protocol import events as names
from operator_svc.services.lease import Lease
from operator_svc.services.live.feed import LiveEvent, ReplyStream
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.messages import Feedback, MessageStore, Started, last_event
from operator_svc.stores.reply_chunks import ReplyChunkStore

log = structlog.get_logger(__name__)

FINISH_RETRY_MAX = 2.0
"""Longest pause, in seconds, between attempts to store the end of a reply."""
PATIENCE = 5.0
"""Seconds after which those who wait for a reply are told that its end can't be stored."""


Prepare: TypeAlias = Callable[[], Awaitable[Prompt]]


class Chatting(Protocol):
    """Switch, as far as a reply needs it."""

    def chat(self, prompt: Prompt) -> AsyncGenerator[list[Part], None]:
        """The reply's parts, a list for each read, the last one ending with Done."""


class ToolCallRecorder(Protocol):
    """Keeps the tool calls that Switch streams."""

    async def record_streamed(self, session_id: str, reply_id: int, call: ToolCallPart) -> None:
        """Store one as a record of its reply."""


class Outcome:
    """What is known of a reply's end."""

    __slots__ = ("content", "metadata", "status")

    def __init__(self, status: ReplyStatus, content: str, metadata: dict[str, Any]) -> None:
        self.status = status
        self.content = content
        self.metadata = metadata


class RunningReply:
    """A reply that this process writes."""

    def __init__(self, started: Started, stream: ReplyStream) -> None:
        self.session_id = stream.session_id
        self.reply_id = started.reply_id
        self.message_id = started.message_id
        self.stream = stream
        self.stored_end = 0
        self.chunked = False
        self.stop: ReplyStatus | None = None
        self.lost = False
        self.reading = False
        self.called_tools = False
        self.first_token_s: float | None = None
        self.switch_s = 0.0
        self.begun = time.perf_counter()
        self.done: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        """End the call to Switch; a reply that has not begun to read sees by itself that it
        need not (a task that is cancelled before its first step would never run at all)."""
        if self.reading and self.task is not None:
            self.task.cancel()

    def lose(self) -> None:
        """Somebody else owns the reply now: write nothing more of it."""
        if not self.lost:
            self.lost = True
            if self.task is not None and (self.reading or self.stop is not None):
                self.task.cancel()

    def resolve(self, outcome: Outcome | None) -> None:
        """Tell those who wait; None where this process does not know how it ended."""
        if not self.done.done():
            self.done.set_result(outcome)

    def fail(self, error: OperatorError) -> None:
        """Tell those who wait that the end can't be told."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # nobody has to wait


class ReplyWriter:
    """The replies of this pod."""

    def __init__(
        self,
        switch: Chatting,
        messages: MessageStore,
        chunks: ReplyChunkStore,
        hub: SessionHub,
        lease: Lease,
        tasks: TaskOwner,
        *,
        auto_feedback: bool,
    ) -> None:
        self._switch = switch
        self._messages = messages
        self._chunks = chunks
        self._hub = hub
        self._lease = lease
        self._tasks = tasks
        self._auto_feedback = auto_feedback
        self._running: dict[int, RunningReply] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.tool_calls: ToolCallRecorder | None = None
        lease.on_loss(self.abandon_all)

    def __len__(self) -> int:
        return len(self._running)

    def get(self, reply_id: int) -> RunningReply | None:
        """The reply, if this process writes it."""
        return self._running.get(reply_id)

    def sessions(self) -> set[str]:
        """The sessions with a reply that this process writes."""
        return {running.session_id for running in self._running.values()}

    @property
    def ids(self) -> Collection[int]:
        """The replies that this process writes."""
        return self._running.keys()

    # Starting and stopping.

    def run(self, session_id: str, started: Started, prepare: Prepare) -> RunningReply:
        """Begin to write a reply that is stored as begun; ``prepare`` makes its prompt."""
        stream = self._hub.begin(session_id, started.reply_id)
        running = RunningReply(started, stream)
        self._running[started.reply_id] = running
        self._idle.clear()
        telemetry.REPLIES_RUNNING.inc()
        running.task = self._tasks.start(self._run(running, prepare), f"reply-{started.reply_id}")
        return running

    def cancel(self, running: RunningReply, status: ReplyStatus) -> None:
        """Stop a reply of this process, keeping what there is of it."""
        if running.stop is None and not running.lost:
            running.stop = status
            running.leave()

    def abandon_all(self) -> None:
        """The lease is lost: stop all calls and write nothing more."""
        if self._running:
            log.error("replies abandoned", replies=len(self._running))
        for running in self._running.values():
            running.lose()

    def lose_session(self, session_id: str) -> None:
        """A session was deleted: stop its calls and write nothing more."""
        for running in self._running.values():
            if running.session_id == session_id:
                running.lose()

    def interrupt_all(self) -> None:
        """End what still runs, with the text that there is."""
        for running in list(self._running.values()):
            self.cancel(running, ReplyStatus.INTERRUPTED)

    async def idle(self) -> None:
        """Wait until no reply runs."""
        await self._idle.wait()

    # A reply's life.

    async def _run(self, running: RunningReply, prepare: Prepare) -> None:
        pod_id = self._lease.pod_id
        structlog.contextvars.bind_contextvars(
            session_id=running.session_id, reply_id=running.reply_id
        )
        try:
            status, metadata = await self._read_until_stopped(running, prepare)
            if not running.lost:
                # From here on nothing but losing the lease stops it.
                running.stop = status
                await self._finish(running, pod_id, status, metadata)
        except asyncio.CancelledError:
            if not running.lost:
                raise
        finally:
            self._forget(running)

    async def _read_until_stopped(
        self, running: RunningReply, prepare: Prepare
    ) -> tuple[ReplyStatus, dict[str, Any]]:
        if running.stop is None and not running.lost:
            running.reading = True
            try:
                return await self._read(running, prepare)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if running.stop is None or running.lost or task is None:
                    raise
                task.uncancel()
            finally:
                running.reading = False
        status = running.stop or ReplyStatus.INTERRUPTED
        metadata = {"status": str(status)}
        if status is ReplyStatus.INTERRUPTED:
            metadata["error"] = str(ErrorCode.REPLY_INTERRUPTED)
        return status, metadata

    def _forget(self, running: RunningReply) -> None:
        running.resolve(None)
        self._hub.finish(running.stream)
        del self._running[running.reply_id]
        telemetry.REPLIES_RUNNING.dec()
        if not self._running:
            self._idle.set()

    async def _read(
        self, running: RunningReply, prepare: Prepare
    ) -> tuple[ReplyStatus, dict[str, Any]]:
        begun = time.perf_counter()
        try:
            prompt = await prepare()
            with tracing.span(
                "chat",
                "client",
                gen_ai__operation__name="chat",
                gen_ai__conversation__id=running.session_id,
            ) as span:
                done = await self._follow(running, prompt, begun)
                span.set(
                    gen_ai__provider__name=done.provider,
                    gen_ai__usage__output_tokens=done.tokens_used,
                )
        except OperatorError as error:
            log.warning("reply failed", error=str(error.code), detail=error.detail)
            metadata: dict[str, Any] = {"status": "failed", "error": str(error.code)}
            if isinstance(provider := error.extra.get("provider"), str):
                metadata["provider"] = provider
            return ReplyStatus.FAILED, metadata
        except Exception:
            log.exception("reply failed for a reason of our own")
            return ReplyStatus.FAILED, {
                "status": "failed",
                "error": str(ErrorCode.INTERNAL_ERROR),
            }
        finally:
            running.switch_s = time.perf_counter() - begun
            telemetry.SWITCH_SECONDS.observe(running.switch_s)
        return ReplyStatus.COMPLETE, _metadata(done, running.switch_s)

    async def _follow(self, running: RunningReply, prompt: Prompt, begun: float) -> Done:
        """Show what Switch sends as it comes; what it says at the end."""
        done: Done | None = None
        stream = running.stream
        async with aclosing(self._switch.chat(prompt)) as upstream:
            async for parts in upstream:
                if running.first_token_s is None:
                    running.first_token_s = time.perf_counter() - begun
                    telemetry.TIME_TO_FIRST_TOKEN_SECONDS.observe(running.first_token_s)
                if len(parts) > 1:
                    parts = _joined(parts)
                for part in parts:
                    if type(part) is Text:
                        _show(stream, part.content)
                    elif isinstance(part, Done):
                        done = part
                    else:
                        await self._take(running, part)
        assert done is not None, "a stream ends with Done or raises"
        return done

    async def _take(self, running: RunningReply, part: Part) -> None:
        stream = running.stream
        if isinstance(part, Reasoning):
            room = MAX_REPLY_CHARS - stream.ends["reasoning"]
            if room > 0:
                stream.append("reasoning", part.content[:room])
        elif isinstance(part, ToolCallPart) and self.tool_calls is not None:
            running.called_tools = True
            await self.tool_calls.record_streamed(running.session_id, running.reply_id, part)

    async def _finish(
        self, running: RunningReply, pod_id: str, status: ReplyStatus, metadata: dict[str, Any]
    ) -> None:
        content = running.stream.text()
        pause = 0.05
        failing_since: float | None = None
        while True:
            try:
                ended = await self._messages.finish(
                    session_id=running.session_id,
                    reply_id=running.reply_id,
                    pod_id=pod_id,
                    status=status,
                    content=content,
                    metadata=metadata,
                    feedback=self._feedback(running, status, metadata),
                    chunked=running.chunked,
                )
                break
            except OperatorError as error:
                now = time.monotonic()
                failing_since = failing_since or now
                log.warning("a reply's end could not be stored yet", error=str(error.code))
                if now - failing_since > PATIENCE:
                    running.fail(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, FINISH_RETRY_MAX)
        if ended is None:
            # Another pod ended it, or an attempt that seemed to fail was stored.
            self._hub.refresh((running.session_id,))
            return
        telemetry.REPLIES.labels(str(status)).inc()
        telemetry.CHAT_OVERHEAD_SECONDS.observe(
            max(time.perf_counter() - running.begun - running.switch_s, 0.0)
        )
        event = LiveEvent.make(
            running.session_id,
            ended.last_seq,
            last_event(status),
            ended.ts,
            names.reply_ended(running.reply_id, running.message_id, str(status), content, metadata),
        )
        self._hub.publish(running.session_id, event)
        for send_queue in list(running.stream.watchers):
            send_queue.frame(event.frame, event.seq)
        running.resolve(Outcome(status, content, metadata))

    def _feedback(
        self, running: RunningReply, status: ReplyStatus, metadata: dict[str, Any]
    ) -> Feedback | None:
        engine = metadata.get("provider")
        if not self._auto_feedback or not engine:
            return None
        if status not in (ReplyStatus.COMPLETE, ReplyStatus.FAILED):
            return None
        latency = metadata.get("latency_ms")
        return Feedback(
            engine=engine[:200],
            success=status is ReplyStatus.COMPLETE,
            latency_ms=round(running.switch_s * 1000 if latency is None else latency),
            tokens_used=metadata.get("tokens_used") or 0,
            error_message=metadata.get("error"),
        )

    # Every tick.

    async def store_text(self) -> None:
        """Store the new text of all replies in one write, and stop those that are not ours."""
        chunks: list[ReplyChunk] = []
        taken: list[RunningReply] = []
        for running in self._running.values():
            stream = running.stream
            if stream.ends["text"] == running.stored_end or running.lost:
                continue
            chunks.append(
                ReplyChunk(
                    running.reply_id, running.stored_end, stream.text_from(running.stored_end)
                )
            )
            taken.append(running)
            running.chunked = True
        if not chunks:
            return
        ends = await self._chunks.append(self._lease.pod_id, chunks)
        for running in taken:
            end = ends.get(running.reply_id)
            if end is not None:
                if end != running.stored_end:
                    running.stored_end = end
                    self._hub.notify_pods(running.session_id)
            elif running.reply_id in self._running and running.stop is None:
                log.warning("a reply was ended by another pod", reply_id=running.reply_id)
                running.lose()

    async def look_around(self) -> None:
        """Stop the replies that somebody on another pod asked to stop, ended or deleted."""
        mine = [running for running in self._running.values() if running.reading]
        if not mine:
            return
        owned = {r.reply_id: r for r in await self._messages.of_pod(self._lease.pod_id)}
        for running in mine:
            reply = owned.get(running.reply_id)
            if reply is not None and reply.cancel_requested:
                self.cancel(running, ReplyStatus.CANCELLED)
            elif reply is None and running.reading:
                running.lose()


def _joined(parts: list[Part]) -> list[Part]:
    """``parts`` with pieces of text that came in one read, side by side, as one piece: each
    piece is a frame to every reader."""
    joined: list[Part] = []
    text: list[str] = []
    for part in parts:
        if type(part) is Text:
            text.append(part.content)
            continue
        if text:
            joined.append(Text("".join(text)))
            text.clear()
        joined.append(part)
    if text:
        joined.append(Text("".join(text)))
    return joined


def _show(stream: ReplyStream, content: str) -> None:
    """Show a piece of the text; raises OperatorError(reply_too_large) with what fits shown."""
    room = MAX_REPLY_CHARS - stream.ends["text"]
    if len(content) <= room:
        stream.append("text", content)
        return
    stream.append("text", content[:room])
    raise OperatorError(
        ErrorCode.REPLY_TOO_LARGE, f"the reply has more than {MAX_REPLY_CHARS} characters"
    )


def _metadata(done: Done, elapsed_s: float) -> dict[str, Json]:
    latency = done.latency_ms if done.latency_ms is not None else elapsed_s * 1000
    metadata: dict[str, Json] = {
        "status": "ok",
        "provider": done.provider,
        "decision": done.decision,
        "latency_ms": round(latency),
        "tokens_used": done.tokens_used,
        "streamed": done.streamed,
    }
    if done.reasoning is not None:
        metadata["reasoning"] = done.reasoning[:2000]
    if done.tokens_used:
        telemetry.TOKENS.inc(done.tokens_used)
    return metadata
