"""Reads a reply from Switch into its stream."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple, Protocol

import structlog

from operator_svc import telemetry, tracing
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import MAX_REPLY_CHARS, Json, ReplyStatus
from operator_svc.peers.chat_types import (
    ChatError,
    Done,
    Part,
    Prompt,
    Reasoning,
    Text,
    ToolCallPart,
)
from operator_svc.services.chat.running_replies import RunningReply
from operator_svc.services.live.reply_stream import ReplyStream

log = structlog.get_logger(__name__)

TRUNCATED = "tool_calls_truncated"
"""The metadata that says that a reply had more tool calls than are kept."""


class ChatPeer(Protocol):
    """Switch, as far as a reply needs it."""

    def chat(self, prompt: Prompt, show: Callable[[str], bool]) -> AsyncGenerator[list[Part], None]:
        """The reply's parts, a list for each read, the last one ending with Done.

        Text may be given to ``show`` instead, as it comes, and is yielded where that returns False.
        Raises OperatorError.
        """


class ToolCallRecorder(Protocol):
    """Stores the tool calls that Switch streams."""

    async def record_streamed(self, running: RunningReply, call: ToolCallPart) -> None:
        """Store one as a record of its reply, where that has room for it."""


class ReplyOutcome(NamedTuple):
    """The status that a reply ends with, and the metadata that is stored with it."""

    status: ReplyStatus
    metadata: dict[str, Any]


class UpstreamReader:
    """Shows Switch's response while it arrives, and returns the reply's outcome."""

    def __init__(self, switch: ChatPeer, tool_calls: ToolCallRecorder) -> None:
        self._switch = switch
        self._tool_calls = tool_calls

    async def read(self, running: RunningReply, prompt: Prompt) -> ReplyOutcome:
        """Ask Switch and read its answer to the end; failures become the reply's outcome."""
        begun = time.perf_counter()
        try:
            with tracing.span(
                "chat",
                "client",
                gen_ai__operation__name="chat",
                gen_ai__conversation__id=running.session_id,
            ) as span:
                done = await self._read(running, prompt, begun)
                span.set(
                    gen_ai__provider__name=done.provider,
                    gen_ai__usage__output_tokens=done.tokens_used,
                )
        except OperatorError as error:
            log.warning("reply failed", error=str(error.code), detail=error.detail)
            return ReplyOutcome(ReplyStatus.FAILED, _failed(error))
        except Exception:
            log.exception("reply failed inside Operator")
            metadata: dict[str, Json] = {
                "status": "failed",
                "error": str(ErrorCode.INTERNAL_ERROR),
            }
            return ReplyOutcome(ReplyStatus.FAILED, metadata)
        finally:
            running.switch_s = time.perf_counter() - begun
            telemetry.SWITCH_SECONDS.observe(running.switch_s)
        return ReplyOutcome(ReplyStatus.COMPLETE, _complete(done, running.switch_s))

    async def _read(self, running: RunningReply, prompt: Prompt, begun: float) -> Done:
        done: Done | None = None
        first = True
        stream = running.stream
        async with aclosing(self._switch.chat(prompt, partial(_show, stream))) as upstream:
            async for parts in upstream:
                if first:
                    first = False
                    telemetry.TIME_TO_FIRST_TOKEN_SECONDS.observe(time.perf_counter() - begun)
                for part in _joined(parts) if len(parts) > 1 else parts:
                    if type(part) is Text:
                        _append_text(stream, part.content)
                    elif isinstance(part, Done):
                        done = part
                    elif isinstance(part, Reasoning):
                        room = MAX_REPLY_CHARS - stream.ends["reasoning"]
                        if room > 0:
                            stream.append("reasoning", part.content[:room])
                    elif isinstance(part, ToolCallPart):
                        await self._tool_calls.record_streamed(running, part)
        assert done is not None, "a stream ends with Done or raises"
        return done


def _joined(parts: list[Part]) -> list[Part]:
    """``parts`` with neighbouring pieces of text as one piece: each is a frame to every reader."""
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


def _show(stream: ReplyStream, content: str) -> bool:
    """Append text; False where it is more than fits."""
    fits = len(content) <= MAX_REPLY_CHARS - stream.ends["text"]
    if fits:
        stream.append("text", content)
    return fits


def _append_text(stream: ReplyStream, content: str) -> None:
    """Raises OperatorError(reply_too_large) with what fits shown."""
    if _show(stream, content):
        return
    stream.append("text", content[: MAX_REPLY_CHARS - stream.ends["text"]])
    raise OperatorError(
        ErrorCode.REPLY_TOO_LARGE, f"the reply has more than {MAX_REPLY_CHARS} characters"
    )


def _complete(done: Done, elapsed_s: float) -> dict[str, Json]:
    """The metadata of a reply that is complete."""
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
    if done.content_type is not None:
        metadata["content_type"] = done.content_type
    return metadata | _ending(done)


def _failed(error: OperatorError) -> dict[str, Json]:
    """The metadata of a reply that failed; who answered, or was asked for, as far as known."""
    metadata: dict[str, Json] = {
        "status": "failed",
        "error": str(error.code),
        "detail": error.detail,
    }
    if error.retry_after is not None and error.code.status == 503:
        metadata["retry_after"] = error.retry_after
    if isinstance(error, ChatError):
        ending = error.ending
        known = {
            "provider": ending.provider,
            "decision": ending.decision,
            "tokens_used": ending.tokens_used,
        }
        metadata |= {name: value for name, value in known.items() if value is not None}
        metadata |= _ending(ending)
    return metadata


def _ending(done: Done) -> dict[str, Json]:
    """The finish reason of the engine's answer and its counts, as far as it gave them."""
    ending: dict[str, Json] = {}
    if done.finish_reason is not None:
        ending["finish_reason"] = done.finish_reason
    if done.usage:
        ending["usage"] = done.usage
    if done.tool_calls_truncated:
        ending[TRUNCATED] = True
    return ending
