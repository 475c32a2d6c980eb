"""Reasoning that a model writes into its text, between ``<think>`` tags at the reply's start."""

from __future__ import annotations

import re
from typing import Literal

from operator_svc.peers.chat_types import Part, Reasoning, Text

OPEN = "<think>"
CLOSE = "</think>"
MAX_BLANK = 100
"""White space, in characters, that may stand before the opening tag."""
_BLOCK = re.compile(rf"\s*{OPEN}.*?{CLOSE}\s*", re.DOTALL)


class ThinkTags:
    """Splits a reply's text, as it comes, into its reasoning and the rest.

    Only a block at the very start counts: a model may write about the tags later on. Once
    ``passed``, all that follows is text, and nothing more needs to be fed.
    """

    def __init__(self) -> None:
        self._place: Literal["before", "inside", "after", "passed"] = "before"
        self._held = ""
        self._reasoned = False

    @property
    def passed(self) -> bool:
        """True once the reply's text has begun."""
        return self._place == "passed"

    def feed(self, content: str) -> list[Part]:
        """The parts that are certain once ``content`` has come."""
        self._held += content
        parts: list[Part] = []
        if self._place == "before":
            start = self._held.lstrip()
            if start.startswith(OPEN):
                self._place = "inside"
                self._held = start[len(OPEN) :]
            elif not OPEN.startswith(start) or len(self._held) > MAX_BLANK:
                self._place = "passed"
        if self._place == "inside":
            thought, close, rest = self._held.partition(CLOSE)
            if close:
                self._place = "after"
                self._reason(thought, parts)
                self._held = rest
            else:
                end = len(thought) - _begun(thought)
                self._held = thought[end:]
                self._reason(thought[:end], parts)
        if self._place == "after":
            self._held = self._held.lstrip()
            if self._held:
                self._place = "passed"
        if self._place == "passed" and self._held:
            parts.append(Text(self._held))
            self._held = ""
        return parts

    def flush(self) -> list[Part]:
        """The parts that were held back, at the reply's end."""
        held, self._held = self._held, ""
        if not held or self._place == "after":
            return []
        return [Reasoning(held) if self._place == "inside" else Text(held)]

    def _reason(self, thought: str, parts: list[Part]) -> None:
        """Give out ``thought``; blank lines before the first one of it are left out."""
        if not self._reasoned:
            thought = thought.lstrip()
        if thought:
            self._reasoned = True
            parts.append(Reasoning(thought))


def without_thought(text: str) -> str:
    """A whole reply without the block of think tags that it begins with."""
    block = _BLOCK.match(text)
    return text[block.end() :] if block else text


def _begun(thought: str) -> int:
    """The length of ``thought``'s end that may be the begin of the closing tag."""
    return next((n for n in range(len(CLOSE) - 1, 0, -1) if thought.endswith(CLOSE[:n])), 0)
