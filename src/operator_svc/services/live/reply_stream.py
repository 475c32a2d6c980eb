"""The text of a reply while it is being written, and the clients that are shown it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from typing import Literal, Protocol

from operator_svc.models import MAX_REPLY_CHARS
from operator_svc.protocol.frames import PIECE_CHARS, Delta, Snapshot, encode
from operator_svc.services.live.send_queue import SendQueue

Kind = Literal["text", "reasoning"]
EARLY_PIECES = 512
"""Pieces kept of a reply whose text before them is missing, and no more text than a reply may have;
the rest is read from the database."""


class LocalReplies(Protocol):
    """The replies that this process writes."""

    def stream_of(self, reply_id: int, begun_at: datetime) -> ReplyStream | None:
        """The stream of the reply that began then; None where another process writes it, or
        nobody any more."""


class TextReader(Protocol):
    """Receives the pieces of a reply as they come, and makes of them what it needs."""

    def piece(self, kind: Kind, offset: int, content: str) -> None:
        """A piece, and the code points before it."""


class ReplyStream:
    """A reply's text so far. Each piece is shown to all clients at once, as one frame, which is
    encoded once and only if somebody takes it.

    Clients are the subscribers of the session's feed, and ``watchers``, who asked for this reply
    alone; ``readers`` take the text and no frames. ``local`` says that this process writes it;
    otherwise the text comes by the bus, or is read from the database. ``begun_at`` tells it from
    one of its id that a switch-over has lost.
    """

    def __init__(self, session_id: str, reply_id: int, begun_at: datetime, *, local: bool) -> None:
        self.session_id = session_id
        self.reply_id = reply_id
        self.begun_at = begun_at
        self.local = local
        self.ends: dict[Kind, int] = {"text": 0, "reasoning": 0}
        self._parts: dict[Kind, list[str]] = {"text": [], "reasoning": []}
        self.stored_end = 0
        """The code point up to which the text is stored."""
        self._early: dict[int, str] = {}
        self._watchers: set[SendQueue] = set()
        self._readers: set[TextReader] = set()
        self._stored_watchers: set[Callable[[], None]] = set()
        self._subscribers: Collection[SendQueue] = ()

    @property
    def empty(self) -> bool:
        """True as long as nothing of it was written."""
        return not (self.ends["text"] or self.ends["reasoning"])

    @property
    def has_gap(self) -> bool:
        """True while pieces wait for others before them."""
        return bool(self._early)

    @property
    def watched_as_stored(self) -> bool:
        """True while somebody is shown no more of it than is stored."""
        return bool(self._stored_watchers)

    def attach(self, subscribers: Collection[SendQueue]) -> None:
        """Show the text to these as well; the collection may change later on."""
        self._subscribers = subscribers

    def detach(self) -> None:
        """Show the text to watchers only."""
        self._subscribers = ()

    def add_watcher(self, send_queue: SendQueue) -> None:
        """Send a client the frame of each new piece from now on."""
        self._watchers.add(send_queue)

    def remove_watcher(self, send_queue: SendQueue) -> None:
        """Send a client no more."""
        self._watchers.discard(send_queue)

    def add_reader(self, reader: TextReader) -> None:
        """Give a reader each new piece from now on."""
        self._readers.add(reader)

    def remove_reader(self, reader: TextReader) -> None:
        """Give a reader no more."""
        self._readers.discard(reader)

    def watch_stored(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever more of the text is stored, until ``unwatch_stored``."""
        self._stored_watchers.add(wake)

    def unwatch_stored(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` no more."""
        self._stored_watchers.discard(wake)

    def mark_stored(self, end: int) -> None:
        """The text is stored up to a code point."""
        self.stored_end = end
        for wake in list(self._stored_watchers):
            wake()

    def take(self, offset: int, content: str) -> None:
        """Add a piece of the text that another process has written; pieces may come late, again and
        in any order. An empty one says that there is text up to there."""
        fits = offset <= self.ends["text"] or (
            len(self._early) < EARLY_PIECES and chars_of(self._early.values()) <= MAX_REPLY_CHARS
        )
        if fits and len(content) >= len(self._early.get(offset, "")):
            self._early[offset] = content
        while self._early and (first := min(self._early)) <= (end := self.ends["text"]):
            new = self._early.pop(first)[end - first :]
            if new:
                self.append("text", new)

    def append(self, kind: Kind, content: str) -> None:
        """Add a piece, and show it; a long one as several pieces."""
        size = len(content)
        if not 0 < size <= PIECE_CHARS:
            for start in range(0, size, PIECE_CHARS):
                self.append(kind, content[start : start + PIECE_CHARS])
            return
        offset = self.ends[kind]
        self.ends[kind] = end = offset + size
        self._parts[kind].append(content)
        if self._readers:
            for reader in list(self._readers):
                reader.piece(kind, offset, content)
        send_queues = [*self._watchers, *self._subscribers]
        if not send_queues:
            return
        delta = Delta(reply_id=self.reply_id, offset=offset, end=end, content=content, kind=kind)
        data = encode(delta)
        for send_queue in send_queues:
            send_queue.delta(delta, data)

    def text(self, kind: Kind = "text") -> str:
        """The text so far."""
        parts = self._parts[kind]
        if len(parts) > 1:
            parts[:] = ["".join(parts)]
        return parts[0] if parts else ""

    def text_from(self, offset: int, kind: Kind = "text") -> str:
        """The text from a number of code points on; cheap where that is near the end."""
        tail: list[str] = []
        start = self.ends[kind]
        for part in reversed(self._parts[kind]):
            if start <= offset:
                break
            start -= len(part)
            tail.append(part)
        return "".join(reversed(tail))[offset - start :]

    def frames(self, kind: Kind, shown: int | None = None) -> Iterator[Snapshot | Delta]:
        """The frames that bring a client from ``shown`` code points to the text as it is now;
        None replaces what it has."""
        end = self.ends[kind]
        if shown is None:
            start, text = 0, self.text(kind)
        else:
            start, text = shown, self.text_from(shown, kind)
        for at in range(start, max(end, start + 1), PIECE_CHARS):
            piece_end = min(at + PIECE_CHARS, end)
            piece = text[at - start : piece_end - start]
            if shown is None and at == 0:
                yield Snapshot(reply_id=self.reply_id, kind=kind, text=piece, end=piece_end)
            else:
                yield Delta(
                    reply_id=self.reply_id, offset=at, end=piece_end, content=piece, kind=kind
                )

    def send_from_start(self, send_queues: Collection[SendQueue]) -> None:
        """Show clients that were just told of the reply what has come of it."""
        for kind in self._parts:
            if send_queues and self.ends[kind]:
                for frame in self.frames(kind, 0):
                    encoded = encode(frame)
                    for send_queue in list(send_queues):
                        send_queue.frame(encoded)

    def send_snapshots(self, send_queues: Collection[SendQueue]) -> None:
        """Bring clients up to now."""
        for kind in self._parts:
            if send_queues and (self.ends[kind] or kind == "text"):
                for frame in self.frames(kind):
                    encoded = encode(frame)
                    for send_queue in list(send_queues):
                        send_queue.frame(encoded)


def chars_of(pieces: Iterable[str]) -> int:
    """The code points of all pieces together."""
    return sum(map(len, pieces))
