"""Events of a stream that differ in nothing but their text.

An upstream makes all events of plain text alike. What stood before and after the text of one that
was decoded tells that another one is such an event too, and where its text is, without decoding.
"""

from __future__ import annotations

import re

import msgspec

from operator_svc.protocol.text import is_storable

MISSES = 4
"""Events in a row that fit nothing, after which nothing more is learned of an answer: its events
have something else that differs, such as a time or log probabilities."""

_CONTROL = re.compile(r"[\x00-\x1f]").search
"""Characters that a JSON string has in another form only (RFC 8259, section 7)."""

_decode_strings = msgspec.json.Decoder(list[str]).decode


class TextPattern:
    """The bytes that stand around the text in the events of one answer."""

    __slots__ = ("_after", "_before", "_begin", "_end", "_misses", "_provider")

    def __init__(self) -> None:
        self._before = self._after = b""
        self._begin = self._end = b""
        self._provider: str | None = None
        self._misses = 0

    def learn(self, data: bytes, text: str, provider: str | None = None) -> None:
        """Note what stands around ``text``, which is the only text of the ``data`` of an event, if
        that is sure. ``provider`` is the one that was named last, by this event or before.

        Without a backslash a JSON string is what it stands for. Where it is there once, it is the
        text, and in its place any other string leaves the rest of the event what it was.
        """
        quoted = b'"%s"' % text.encode()
        if self._misses == MISSES or not text or b"\\" in data or data.count(quoted) != 1:
            return
        self._misses += 1
        before, _, after = data.partition(quoted)
        self._before, self._after = before + b'"', b'"' + after
        self._begin, self._end = b"data: " + self._before, self._after + b"\n\n"
        self._provider = provider

    def text(self, event: bytes, provider: str | None = None) -> str | None:
        """The text of one whole event in its plainest form; None where it is not as it was learned,
        or the text is empty or not storable, or another ``provider`` was named since: the event may
        name the first one again."""
        if not self._before or provider != self._provider:
            return None
        if not (event.startswith(self._begin) and event.endswith(self._end)):
            return None
        return self._joined([event[len(self._begin) : -len(self._end)]]) or None

    def texts(self, rows: list[bytes], provider: str | None = None) -> tuple[str, int]:
        """The text of the data of events, from the first on up to one that is not as it was
        learned, and how many these are; none where that text is empty or not storable, or another
        ``provider`` was named since."""
        if not self._before or provider != self._provider:
            return "", 0
        before, after = self._before, self._after
        least = len(before) + len(after)
        alike = [
            len(row) >= least and row.startswith(before) and row.endswith(after) for row in rows
        ]
        count = alike.index(False) if False in alike else len(rows)
        place = slice(len(before), -len(after))
        text = self._joined([row[place] for row in rows[:count]])
        return (text, count) if text else ("", 0)

    def _joined(self, written: list[bytes]) -> str:
        """The text of strings as JSON has them, without their quotes; empty where one of them ends
        before its place does, or the text is not storable."""
        joined = b'"'.join(written)
        try:
            if b"\\" in joined:
                strings = _decode_strings(b'["%s"]' % b'","'.join(written))
                text, found = "".join(strings), len(strings)
                sound = is_storable(text)
            else:
                quoted = joined.decode()
                text, found = quoted.replace('"', ""), quoted.count('"') + 1
                sound = not _CONTROL(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""
        if not text or not sound or found != len(written):
            return ""
        self._misses = 0
        return text
