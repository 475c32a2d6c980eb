"""Stores the text of replies while they are being written, and their ends."""

from __future__ import annotations

import time
from collections.abc import Iterable

from operator_svc import telemetry
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import ReplyChunk, ReplyStatus
from operator_svc.protocol import events as names
from operator_svc.protocol.openai import usage_of
from operator_svc.protocol.switch import MAX_ENGINE
from operator_svc.services.chat.running_replies import RunningReply
from operator_svc.services.chat.upstream import ReplyOutcome
from operator_svc.services.lease import PodIdentity
from operator_svc.services.live.events import LiveEvent
from operator_svc.services.retry import until_stored
from operator_svc.stores.message_rows import Ended, Feedback, Owned, TokenUsage
from operator_svc.stores.messages import MessageStore, last_event
from operator_svc.stores.reply_chunks import ReplyChunkStore

NO_MODEL = "unknown"
"""The model of a reply whose upstream named none."""
PATIENCE = 5.0
"""Seconds after which callers that wait for a reply learn that its end cannot be stored."""


class ReplyStorage:
    """Writes replies to the database, each only as long as this pod owns it.

    With ``auto_feedback`` a reply's end is stored together with feedback on its engine, which is
    forwarded to Switch with ``forward_feedback``.
    """

    def __init__(
        self,
        messages: MessageStore,
        chunks: ReplyChunkStore,
        lease: PodIdentity,
        *,
        auto_feedback: bool,
        forward_feedback: bool,
    ) -> None:
        self._messages = messages
        self._chunks = chunks
        self._lease = lease
        self._auto_feedback = auto_feedback
        self._forward_feedback = forward_feedback

    async def store_texts(
        self, replies: Iterable[RunningReply]
    ) -> tuple[list[RunningReply], list[RunningReply]]:
        """Store the new text of all replies in one write.

        Returns those of which some was stored, and those that this pod does not own any more.
        Raises OperatorError(database_unavailable).
        """
        chunks: list[ReplyChunk] = []
        taken: list[RunningReply] = []
        for running in replies:
            stream, begin = running.stream, running.stream.stored_end
            if stream.ends["text"] == begin or running.abandoned:
                continue
            chunks.append(ReplyChunk(running.reply_id, begin, stream.text_from(begin)))
            taken.append(running)
            running.chunked = True
        if not chunks:
            return [], []
        begun_at = {running.reply_id: running.begun_at for running in taken}
        ends = await self._chunks.append(self._lease.pod_id, chunks, begun_at)
        stored, refused = [], []
        for running in taken:
            end = ends.get(running.reply_id)
            if end is None:
                refused.append(running)
            elif end != running.stream.stored_end:
                running.stream.mark_stored(end)
                stored.append(running)
        return stored, refused

    async def store_end(
        self, running: RunningReply, pod_id: str, outcome: ReplyOutcome
    ) -> LiveEvent | None:
        """Store a reply's whole text and how it ended, however long that takes; its last event.

        None where it had ended already: another pod did it, or an attempt that seemed to fail.
        """
        content = running.stream.text()
        usage = _usage(running, outcome)
        ended = await self._finish(running, pod_id, outcome, content, usage)
        if ended is None:
            return None
        if usage is not None:
            telemetry.count_tokens(
                usage.token, usage.model, usage.prompt_tokens, usage.completion_tokens
            )
        status, metadata = outcome
        return LiveEvent(
            running.session_id,
            ended.last_seq,
            last_event(status),
            ended.ts,
            names.reply_ended(running.reply_id, running.message_id, str(status), content, metadata),
        )

    async def _finish(
        self,
        running: RunningReply,
        pod_id: str,
        outcome: ReplyOutcome,
        content: str,
        usage: TokenUsage | None,
    ) -> Ended | None:
        begun = time.monotonic()

        async def write() -> Ended | None:
            try:
                return await self._messages.finish(
                    session_id=running.session_id,
                    reply_id=running.reply_id,
                    begun_at=running.begun_at,
                    pod_id=pod_id,
                    status=outcome.status,
                    content=content,
                    metadata=outcome.metadata,
                    feedback=self._feedback(running, outcome),
                    usage=usage,
                    chunked=running.chunked,
                )
            except OperatorError as error:
                if time.monotonic() - begun > PATIENCE:
                    running.fail(error)
                raise

        return await until_stored(write, "end of a reply")

    async def owned(self) -> dict[int, Owned]:
        """The replies that this pod owns, by id. Raises OperatorError(database_unavailable)."""
        return {row.reply_id: row for row in await self._messages.of_pod(self._lease.pod_id)}

    def _feedback(self, running: RunningReply, outcome: ReplyOutcome) -> Feedback | None:
        status, metadata = outcome
        engine = metadata.get("provider")
        if not self._auto_feedback or not engine:
            return None
        if status not in (ReplyStatus.COMPLETE, ReplyStatus.FAILED):
            return None
        if metadata.get("error") == ErrorCode.SWITCH_UNAVAILABLE:  # no engine was asked
            return None
        latency = metadata.get("latency_ms")
        return Feedback(
            engine=engine[:MAX_ENGINE],
            success=status is ReplyStatus.COMPLETE,
            latency_ms=round(running.switch_s * 1000 if latency is None else latency),
            tokens_used=metadata.get("tokens_used") or 0,
            error_message=metadata.get("error"),
            forward=self._forward_feedback,
        )


def _usage(running: RunningReply, outcome: ReplyOutcome) -> TokenUsage | None:
    """The tokens of a reply; None where the upstream did not count them."""
    counted = usage_of(outcome.metadata)
    if not counted.total_tokens:
        return None
    return TokenUsage(
        *running.asker,
        outcome.metadata.get("provider") or NO_MODEL,
        counted.prompt_tokens,
        counted.completion_tokens,
        counted.total_tokens,
    )
