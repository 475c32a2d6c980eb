"""Scripts of the Switch stand-in: modes of a chat, and the events that they send."""

from __future__ import annotations

import functools
import itertools
import re
import time
from collections.abc import Iterator
from typing import Any, Literal, get_args

import msgspec

from operator_svc.devpeers.dialects import ChatDialect
from operator_svc.devpeers.pacer import chunk
from operator_svc.protocol.sse import comment, encode

ChatMode = Literal[
    # kind, if odd
    "ok", "json", "reasoning", "tool_call", "nul", "surrogates", "comments", "sentinel", "dribble",
    "think", "parts", "non_string", "empty_data", "plain_type", "no_blank", "two_tool_calls",
    "only_tool_call", "broken_arguments",
    # answers that are failures
    "500", "503", "400", "429", "redirect", "error", "partial", "no_text", "list", "html",
    "broken_json", "error_event", "named_error", "broken_event", "empty_stream", "length",
    "filtered",
    # answers that do not come, or not wholly
    "stall_first", "stall_head", "stall", "cut", "cut_json", "no_done", "big", "big_event",
    "endless",
]  # fmt: skip
MODES: tuple[str, ...] = get_args(ChatMode)
PREFIX = "[stand-in] You said: "
_DIRECTIVE = re.compile(r"\[\[(\w+)(?:=([\d.]+))?\]\]")
_WORD = re.compile(r"\s*\S+|\s+$")
THOUGHT = "I am a stand-in and think"
TOOL = "standin_tool"
LONG = "a long reply"
"""Words of a message that is answered for 20 seconds: for people, who know no directives."""
HALVES = (" \\ud83d", "\\ude00 ", "\\ud83d", "!", "\\ude00")
"""Halves of a character outside the first plane, in two tokens and astray."""
FINISH_REASONS = {
    "length": "length",
    "filtered": "content_filter",
    "tool_call": "tool_calls",
    "only_tool_call": "tool_calls",
    "two_tool_calls": "tool_calls",
    "broken_arguments": "tool_calls",
}
"""Finish reasons by mode; other modes give the dialect's usual one."""
FILLER = ("the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "sleeps,")


class Script(msgspec.Struct, frozen=True):
    """Behaviour of one chat.

    Set by ``POST /standin/mode``, by ``metadata.standin`` of the call, by a message that asks for
    a long reply and by its directives, such as ``[[cut]]`` or ``[[rate=20]]``; the last one wins.
    """

    mode: ChatMode = "ok"
    rate: float = 50.0
    """Tokens a second; 0 is all at once."""
    tokens: int | None = None
    """Tokens of the reply, filled up with words; None is what the reply needs."""
    delay: float = 0.0
    """Seconds before the first token."""
    after: int = 3
    """Tokens that come before a stall, a cut or an error."""
    stamp: bool = False
    """Each token is the time at which it was sent, ``time.monotonic()``, and a space."""
    size: int = 10_000_000
    """Characters of a ``big`` answer."""

    def overridden(self, metadata: Any, message: str) -> Script:
        """This script with a call's own overrides; raises msgspec.ValidationError."""
        changes: dict[str, Any] = {}
        wanted = metadata.get("standin") if isinstance(metadata, dict) else None
        if isinstance(wanted, dict):
            changes.update(wanted)
        if LONG in message:
            changes.update(tokens=300, rate=15)
        if "[[" in message:
            for name, value in _DIRECTIVE.findall(message):
                if name in MODES:
                    changes["mode"] = name
                elif name in self.__struct_fields__:
                    changes[name] = value or "true"
        if not changes:
            return self
        return msgspec.convert(msgspec.structs.asdict(self) | changes, Script, strict=False)


def split_words(text: str) -> list[str]:
    """``text`` cut into words, each with the space before it."""
    return _WORD.findall(text)


def reply_text(script: Script, message: str) -> str:
    """The whole reply."""
    return "".join(itertools.islice(_contents(script, message), 100_000))


def _contents(script: Script, message: str) -> Iterator[str]:
    if script.stamp:
        pieces: Iterator[str] = (f"{time.monotonic():.6f} " for _ in itertools.count())
        yield from itertools.islice(pieces, script.tokens or 20)
        return
    said = split_words(PREFIX + message)
    if script.tokens is None:
        yield from said
        return
    fill = (f" {word}" for word in itertools.cycle(FILLER))
    yield from itertools.islice(itertools.chain(said, fill), script.tokens)


def frames(dialect: ChatDialect, script: Script, message: str) -> Iterator[bytes]:
    """The reply's tokens as chunks."""
    if script.stamp:
        return map(chunk, map(dialect.token, _contents(script, message)))
    if script.tokens is None or len(message) > 200:
        return iter([chunk(dialect.token(word)) for word in _contents(script, message)])
    return iter(_cached_frames(dialect, message, script.tokens))


@functools.lru_cache(maxsize=64)
def _cached_frames(dialect: ChatDialect, message: str, tokens: int) -> tuple[bytes, ...]:
    script = Script(tokens=tokens)
    return tuple(_frame(dialect, word) for word in _contents(script, message))


@functools.lru_cache(maxsize=1024)
def _frame(dialect: ChatDialect, word: str) -> bytes:
    return chunk(dialect.token(word))


def special_events(dialect: ChatDialect, script: Script, message: str) -> list[bytes]:
    """The events before the last one, for modes that send more than plain tokens."""
    text = [dialect.token(word) for word in split_words(PREFIX + message)]
    thought = [dialect.token(word, "reasoning") for word in split_words(THOUGHT)]
    mode = script.mode
    more: dict[str, list[bytes]] = {
        "reasoning": thought + text,
        "length": thought,
        "filtered": [],
        "think": [dialect.token(p) for p in ("<thi", "nk>", THOUGHT, "</th", "ink>\n\n")] + text,
        "parts": [dialect.token([{"type": "text", "text": PREFIX + message}])],
        "nul": [*text, dialect.escaped("a\\u0000b")],
        "surrogates": text + [dialect.escaped(half) for half in HALVES],
        "comments": [piece for event in text for piece in (comment("ping"), event)],
        "empty_data": [piece for event in text for piece in (encode(b""), event)],
        "error_event": [*text[: script.after], dialect.error(f"[stand-in] fails after {message}")],
        "named_error": [*text[: script.after], encode(b"{}", event="error")],
        "broken_event": [*text[: script.after], encode(b'{"type": "token", "conte')],
    }
    if mode in more:
        return more[mode]
    if mode in ("tool_call", "two_tool_calls", "only_tool_call", "broken_arguments"):
        arguments = msgspec.json.encode({"query": message}).decode()
        if mode == "broken_arguments":
            arguments = arguments[:-1]
        calls = [dialect.tool_call(TOOL, arguments, "call-1")]
        if mode == "two_tool_calls":
            calls.append(dialect.tool_call(TOOL, "{}", "call-2"))
        return calls if mode == "only_tool_call" else text + calls
    if mode == "big_event":
        return [dialect.token("x" * script.size)]
    return text
