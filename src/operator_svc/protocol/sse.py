"""Server-sent events, in and out: pure functions of bytes (WHATWG HTML, section 9.2).

The decoder stands on the hottest path of the service, once for each token that Switch sends,
so the form in which nearly all events come (one ``data:`` line each, whole, in one read) is
recognised first; everything else takes the slower way that knows the whole format.
"""

from __future__ import annotations

import re

import msgspec

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventTooLargeError(ValueError):
    """An event (its data so far and the line being read) passed the decoder's bound."""


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One event: ``data`` as it came (lines joined by LF), its name, and the last id seen."""

    data: bytes
    event: str = "message"
    id: str = ""


class Decoder:
    """Turns the bytes of one event stream into events, however they are cut into reads.

    An event that the stream's end leaves unfinished is not given out, as the standard asks,
    unless ``flush`` asks for it. Data is not decoded, so a UTF-8 character that is split between
    two reads needs no care. ``max_event_bytes`` bounds what is kept of an unfinished event.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_data_bytes",
        "_event",
        "_fresh",
        "_id",
        "_idle",
        "_line",
        "_line_bytes",
        "_max",
    )

    def __init__(self, max_event_bytes: int) -> None:
        self._max = max_event_bytes
        self._line: list[bytes] = []  # the unfinished line, as it came
        self._line_bytes = 0
        self._data: list[bytes] = []  # the data lines of the unfinished event
        self._data_bytes = 0
        self._event = ""
        self._id = ""
        self._after_cr = False  # the last byte was CR: an LF that follows belongs to it
        self._fresh = True  # nothing read yet: a byte order mark may come
        self._idle = False  # between two events, with nothing remembered

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that ``chunk`` completes.

        Raises EventTooLargeError; the decoder is of no use after it.
        """
        rows = self.rows(chunk)
        if rows is not None:
            return [ServerSentEvent(row, "message", self._id) for row in rows]
        return self._feed_lines(chunk)

    @property
    def between_events(self) -> bool:
        """True where what follows begins with a new event."""
        return self._idle

    @property
    def held(self) -> int:
        """Bytes that are kept of an unfinished event."""
        return self._data_bytes + self._line_bytes

    def divide(self, chunk: bytes) -> tuple[bytes, bytes, bytes]:
        """``chunk`` as the end of an event that has begun, what stands between, and the begin of
        the next one: all three are to be fed, and what stands between may well be ``rows``."""
        begin = 0 if self._idle else chunk.find(b"\n\n") + 2
        end = chunk.rfind(b"\n\n") + 2
        if end < 2:
            return chunk, b"", b""
        return chunk[:begin], chunk[begin:end], chunk[end:]

    def rows(self, chunk: bytes) -> list[bytes] | None:
        """The data of each event of ``chunk``, where they are nothing but events of one data line
        each, whole and without a name. None where they are not, and ``chunk`` is still to be fed.
        """
        if not self._idle or chunk[:6] != b"data: " or len(chunk) > self._max:
            return None
        if b"\r" not in chunk:
            end = b"\n\n"
        elif chunk.count(b"\r") == chunk.count(b"\n"):
            end = b"\r\n\r\n"
        else:
            return None
        if not chunk.endswith(end):
            return None
        rows = chunk[6 : -len(end)].split(end + b"data: ")
        # Where there is no line end but those between the events, each is one line.
        return rows if chunk.count(b"\n") == 2 * len(rows) else None

    def flush(self) -> ServerSentEvent | None:
        """The event that the stream's end left without its blank line, where there is one.

        It may have been cut: whether it is whole is for the reader of its data to say.
        """
        events: list[ServerSentEvent] = []
        if self._line:
            self._end_line(self._whole_line(b""), events)
        self._end_line(b"", events)
        return events[0] if events else None

    def _feed_lines(self, chunk: bytes) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        if not chunk:
            return events
        if self._after_cr:
            self._after_cr = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        start = 0
        for end in _LINE_END.finditer(chunk):
            line = self._whole_line(chunk[start : end.start()])
            start = end.end()
            self._check(len(line))
            self._end_line(line, events)
        if start < len(chunk):
            self._line.append(chunk[start:])
            self._line_bytes += len(chunk) - start
            self._check(self._line_bytes)
        else:
            self._after_cr = chunk[-1:] == b"\r"
        self._idle = not (self._line or self._data or self._event or self._after_cr or self._fresh)
        return events

    def _whole_line(self, rest: bytes) -> bytes:
        if not self._line:
            return rest
        line = b"".join([*self._line, rest])
        self._line.clear()
        self._line_bytes = 0
        return line

    def _check(self, line_bytes: int) -> None:
        if self._data_bytes + line_bytes > self._max:
            raise EventTooLargeError(f"an event is larger than {self._max} bytes")

    def _end_line(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if self._fresh:
            self._fresh = False
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                events.append(
                    ServerSentEvent(b"\n".join(self._data), self._event or "message", self._id)
                )
                self._data.clear()
                self._data_bytes = 0
            self._event = ""
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        # All else (comments, whose name is empty; retry; unknown fields) means nothing here.


def encode(data: bytes, id: int | None = None, event: str | None = None) -> bytes:
    """One event. ``data`` is UTF-8; line ends in it arrive as LF."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_LINE_END.split(data))
    head = b"" if id is None else b"id: %d\n" % id
    if event is not None:
        head += b"event: %s\n" % event.encode()
    return b"%sdata: %s\n\n" % (head, data)


def comment(text: str = "") -> bytes:
    """A comment, which readers ignore: it keeps an idle connection open."""
    return b": %s\n\n" % text.encode()
