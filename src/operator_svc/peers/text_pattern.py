"""Events of a stream that differ in nothing but their text.

An upstream makes all events of plain text alike. What stood before and after the text of one that
was decoded tells that another one is such an event too, and where its text is, without decoding.
"""

from __future__ import annotations

import re

MISSES = 4
"""Events in a row that fit nothing, after which nothing more is learned of an answer: its events
have something else that differs, such as a time or log probabilities."""

MOST_BYTES = 16 * 1024
"""Bytes that are looked at together; more are decoded, which holds fewer copies of them."""

_CODED = re.compile(r'[\x00-\x1f"\\]').search
"""Characters that a JSON string has in another form, or not at all (RFC 8259, section 7)."""


class TextPattern:
    """The bytes that stand around the text in the events of one answer."""

    __slots__ = ("_after", "_before", "_between", "_misses")

    def __init__(self) -> None:
        self._before = self._after = b""
        self._between = ""
        self._misses = 0

    def learn(self, event: bytes, text: str) -> None:
        """Note what stands around ``text``, which is the only text of ``event``, if that is sure.

        Without a backslash a JSON string is what it stands for. Where it is there once, it is the
        text, and in its place any other string leaves the rest of the event what it was.
        """
        quoted = b'"%s"' % text.encode()
        if self._misses == MISSES or not text or b"\\" in event or event.count(quoted) != 1:
            return
        self._misses += 1
        before, _, after = event.partition(quoted)
        try:
            between = (b'"%s%s"' % (after, before)).decode()
        except UnicodeDecodeError:
            return  # the decoder does not look into texts that nobody reads
        self._before, self._after, self._between = before + b'"', b'"' + after, between

    def text(self, events: bytes) -> str | None:
        """The text of whole events, of one after the other; None where one is not as it was
        learned, or has a character in another form."""
        before, after = self._before, self._after
        if not before or len(events) > MOST_BYTES:
            return None
        if not (events.startswith(before) and events.endswith(after)):
            return None
        try:
            text = events[len(before) : -len(after)].decode()
        except UnicodeDecodeError:
            return None
        if self._between in text:
            text = text.replace(self._between, "")
        if not text or _CODED(text):
            return None
        self._misses = 0
        return text
