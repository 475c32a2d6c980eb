"""Scripts of the Switch stand-in: modes of a chat, and the events that they send."""

from __future__ import annotations

import functools
import itertools
import re
import time
from collections.abc import Iterator
from typing import Any, Literal, get_args

import msgspec

from operator_svc.devpeers.pacer import chunk
from operator_svc.protocol.sse import comment, encode

ChatMode = Literal[
    # kind
    "ok", "json", "reasoning", "tool_call", "nul", "surrogates", "comments", "sentinel", "dribble",
    # answers that are failures
    "500", "503", "400", "redirect", "error", "partial", "no_text", "non_string", "list", "html",
    "broken_json", "error_event", "broken_event", "empty_stream",
    # answers that do not come, or not wholly
    "stall_first", "stall_head", "stall", "cut", "cut_json", "no_done", "big", "big_event",
    "endless",
]  # fmt: skip
MODES: tuple[str, ...] = get_args(ChatMode)
PREFIX = "[stand-in] You said: "
_DIRECTIVE = re.compile(r"\[\[(\w+)(?:=([\d.]+))?\]\]")
_WORD = re.compile(r"\s*\S+|\s+$")
FILLER = ("the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "sleeps,")


class Script(msgspec.Struct, frozen=True):
    """Behaviour of one chat.

    Set by ``POST /standin/mode``, by ``metadata.standin`` of the call and by directives in the
    message, such as ``[[cut]]`` or ``[[rate=20]]``; the last one wins.
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
        if "[[" in message:
            for name, value in _DIRECTIVE.findall(message):
                if name in MODES:
                    changes["mode"] = name
                elif name in self.__struct_fields__:
                    changes[name] = value or "true"
        if not changes:
            return self
        return msgspec.convert(msgspec.structs.asdict(self) | changes, Script, strict=False)


def token_event(content: str, kind: str = "token") -> bytes:
    """One token, as Switch streams it."""
    return encode(msgspec.json.encode({"type": kind, "content": content}))


def escaped_event(escaped: str) -> bytes:
    """A token whose content is put into the JSON unescaped."""
    return encode(b'{"type":"token","content":"%s"}' % escaped.encode())


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


def frames(script: Script, message: str) -> Iterator[bytes]:
    """The reply's tokens as chunks."""
    if script.stamp:
        return map(chunk, map(token_event, _contents(script, message)))
    if script.tokens is None or len(message) > 200:
        return iter([chunk(token_event(word)) for word in _contents(script, message)])
    return iter(_cached_frames(message, script.tokens))


@functools.lru_cache(maxsize=64)
def _cached_frames(message: str, tokens: int) -> tuple[bytes, ...]:
    script = Script(tokens=tokens)
    return tuple(_frame(word) for word in _contents(script, message))


@functools.lru_cache(maxsize=1024)
def _frame(word: str) -> bytes:
    return chunk(token_event(word))


def special_events(script: Script, message: str) -> list[bytes]:
    """The events before the last one, for modes that send more than plain tokens."""
    text = [token_event(word) for word in split_words(PREFIX + message)]
    if script.mode == "reasoning":
        return [
            token_event(w, "reasoning") for w in split_words("I am a stand-in and think")
        ] + text
    if script.mode == "tool_call":
        call = {
            "type": "tool_call",
            "id": "call-1",
            "name": "standin_tool",
            "arguments": {"query": message},
        }
        return [*text, encode(msgspec.json.encode(call))]
    if script.mode == "nul":
        return [*text, escaped_event("a\\u0000b")]
    if script.mode == "surrogates":
        return [*text, *map(escaped_event, [" \\ud83d", "\\ude00 ", "\\ud83d", "!", "\\ude00"])]
    if script.mode == "comments":
        return [piece for event in text for piece in (comment("ping"), event)]
    if script.mode == "error_event":
        error = {"type": "error", "message": f"[stand-in] told to fail after {message}"}
        return [*text[: script.after], encode(msgspec.json.encode(error))]
    if script.mode == "broken_event":
        return [*text[: script.after], encode(b'{"type": "token", "conte')]
    if script.mode == "big_event":
        return [token_event("x" * script.size)]
    return text
