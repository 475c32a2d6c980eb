"""A client's view of its session, kept as ``docs/api.md`` tells clients to keep it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Frame = dict[str, Any]


def _fail(problem: str) -> None:
    raise AssertionError(problem)


class ClientView:
    """Takes frames, and checks what the server promises about them: events without a gap, deltas
    that continue the text, and nothing of a reply after its last event.

    ``on_problem`` is told of a broken promise, instead of failing the test at once.
    """

    def __init__(self, on_problem: Callable[[str], None] = _fail) -> None:
        self.seq: int | None = None
        self.epoch: str | None = None
        self.texts: dict[int, str] = {}
        self.thoughts: dict[int, str] = {}
        self.events: list[Frame] = []
        self.last_events: dict[int, Frame] = {}
        """The last event of each reply that has ended."""
        self.resyncs = 0
        self.before_resync = 0
        """Number of events that came before the last resync."""
        self.whole_by_deltas = 0
        """Replies whose text was complete before their last event brought it."""
        self._on_problem = on_problem

    @property
    def seqs(self) -> list[int]:
        """The numbers of the events, in the order in which they came."""
        return [event["seq"] for event in self.events if "seq" in event]

    @property
    def endings(self) -> dict[int, str]:
        """The name of the last event of each reply that has ended."""
        return {reply_id: event["event"] for reply_id, event in self.last_events.items()}

    def take(self, frame: Frame) -> None:
        """Note what a frame says."""
        kind = frame["type"]
        if kind == "ready":
            # Another epoch is taken from the resync that follows, if it comes.
            if self.epoch is None:
                self.epoch = frame["epoch"]
            if self.seq is None:
                self.seq = frame["seq"]
        elif kind == "event":
            if frame["event"] == "session.created":
                self.epoch = frame["data"]["epoch"]
            self._event(frame)
        elif kind == "delta":
            self._delta(frame)
        elif kind == "reply.snapshot":
            self._snapshot(frame)
        elif kind == "resync":
            self.resyncs += 1
            self.before_resync = len(self.events)
            self.seq, self.epoch = frame["seq"], frame["epoch"]
            self.last_events.clear()
            self.thoughts.clear()
            self.texts = {
                message["id"]: message["content"]
                for message in frame["snapshot"]["messages"]
                if message["role"] == "assistant"
            }

    def expect_replay(self, after: int) -> None:
        """Events after this one will come (again)."""
        self.seq = after
        self.last_events.clear()

    def keep(self, other: ClientView) -> None:
        """Go on from what another connection of the same client had."""
        self.seq, self.epoch = other.seq, other.epoch
        self.texts, self.thoughts = dict(other.texts), dict(other.thoughts)
        self.last_events = dict(other.last_events)

    def _expect(self, kept: bool, problem: str) -> None:
        if not kept:
            self._on_problem(problem)

    def _texts(self, frame: Frame) -> dict[int, str]:
        return self.texts if frame["kind"] == "text" else self.thoughts

    def _event(self, frame: Frame) -> None:
        self.events.append(frame)
        seq = frame.get("seq")
        if seq is None:
            return
        if self.seq is not None:  # None: a stream that shows nothing but one reply
            self._expect(seq == self.seq + 1, f"event {seq} follows on {self.seq}")
        self.seq = seq
        data = frame["data"]
        if frame["event"].startswith("reply.") and "content" in data:
            reply_id, text = data["reply_id"], data["content"]
            self._expect(reply_id not in self.last_events, f"a second last event of {reply_id}")
            self._expect(data["length"] == len(text), f"the length of {reply_id} is wrong")
            self.whole_by_deltas += self.texts.get(reply_id) == text
            self.last_events[reply_id] = frame
            self.texts[reply_id] = text

    def _delta(self, frame: Frame) -> None:
        reply_id, texts = frame["reply_id"], self._texts(frame)
        text = texts.get(reply_id, "")
        self._expect(reply_id not in self.last_events, f"a delta of {reply_id} after its end")
        self._expect(
            frame["offset"] == len(text),
            f"a delta of {reply_id} at {frame['offset']}, where {len(text)} was due",
        )
        texts[reply_id] = text + frame["content"]
        self._expect(frame["end"] == len(texts[reply_id]), f"a delta of {reply_id} ends elsewhere")

    def _snapshot(self, frame: Frame) -> None:
        reply_id, text = frame["reply_id"], frame["text"]
        self._expect(reply_id not in self.last_events, f"a snapshot of {reply_id} after its end")
        self._expect(frame["end"] == len(text), f"a snapshot of {reply_id} ends elsewhere")
        self._texts(frame)[reply_id] = text
