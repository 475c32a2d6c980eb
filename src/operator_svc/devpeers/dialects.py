"""Dialects of the Switch stand-in: VX11's own, and OpenAI's chat completions.

Both are strict about what they are sent, as the chat templates of many models are.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import msgspec

from operator_svc.protocol.sse import encode

PROVIDER = "stand-in"
SENTINEL = encode(b"[DONE]")


class ChatCall(msgspec.Struct):
    """A chat that was asked for: the message that is answered, and how."""

    message: str
    metadata: dict[str, Any]
    provider_hint: str | None
    stream: bool


class _Message(msgspec.Struct):
    role: str
    content: Any


class _Vx11Body(msgspec.Struct):
    messages: list[_Message]
    provider_hint: str | None = None
    metadata: dict[str, Any] = {}
    stream: bool = False


class Vx11:
    """Switch's own dialect. As with the real Switch, the first message is the prompt."""

    path: ClassVar[str] = "/switch/chat"

    def read(self, raw: bytes) -> ChatCall:
        """The chat of a body; its history must be pairs."""
        body = msgspec.json.decode(raw, type=_Vx11Body)
        check_roles([*body.metadata.get("history", ()), {"role": "user", "content": "next"}])
        prompt = body.messages[0].content if body.messages else ""
        message = prompt if isinstance(prompt, str) else str(prompt)
        return ChatCall(message, body.metadata, body.provider_hint, body.stream)

    def token(self, content: object, kind: str = "token") -> bytes:
        """A token, or a piece of reasoning."""
        return _event({"type": kind, "content": content})

    def escaped(self, escaped: str) -> bytes:
        """A token whose content is put into the JSON unescaped."""
        return encode(b'{"type":"token","content":"%s"}' % escaped.encode())

    def tool_call(self, name: str, arguments: str, identity: str) -> bytes:
        """A tool call."""
        return _event({"type": "tool_call", "id": identity, "name": name, "arguments": arguments})

    def error(self, message: str) -> bytes:
        """A failure, and who had it."""
        return _event({"type": "error", "message": message, "provider": PROVIDER})

    def end(self, tokens: int, finish_reason: str | None) -> bytes:
        """The event ``done``; the real Switch gives no finish reason."""
        done: dict[str, object] = {
            "type": "done",
            "provider": PROVIDER,
            "decision": "fallback",
            "latency_ms": 1,
            "tokens_used": tokens,
        }
        return _event(done | ({"finish_reason": finish_reason} if finish_reason else {}))

    def document(self, text: object) -> dict[str, object]:
        """A whole answer, with its text under two names."""
        return _switch_result("ok", reply=text, content=text)

    def failure(self, status: str, text: str) -> dict[str, object]:
        """A whole answer that is a failure: ``error``, or ``partial`` with its text twice."""
        if status == "partial":
            return _switch_result(status, content=text, reply=text)
        return _switch_result(status, content=f"Error: {text}")


class OpenAi:
    """Chat completions. The last message is answered."""

    path: ClassVar[str] = "/v1/chat/completions"

    def read(self, raw: bytes) -> ChatCall:
        """The chat of a body, whose roles must alternate."""
        body = msgspec.json.decode(raw, type=dict[str, Any])
        messages = body.get("messages")
        check_roles(messages)
        hint = body.get("model")
        assert isinstance(messages, list), "which was checked"
        return ChatCall(
            text_of(messages[-1]["content"]),
            {},
            hint if isinstance(hint, str) else None,
            body.get("stream") is True,
        )

    def token(self, content: object, kind: str = "token") -> bytes:
        """A delta of the content, or of the reasoning."""
        return _delta({"content" if kind == "token" else "reasoning_content": content})

    def escaped(self, escaped: str) -> bytes:
        """A delta whose content is put into the JSON unescaped."""
        return encode(b'{"choices":[{"delta":{"content":"%s"}}]}' % escaped.encode())

    def tool_call(self, name: str, arguments: str, identity: str) -> bytes:
        """A tool call in two pieces, without an index."""
        half = len(arguments) // 2
        first = {"id": identity, "function": {"name": name, "arguments": arguments[:half]}}
        rest = {"function": {"arguments": arguments[half:]}}
        return _delta({"tool_calls": [first]}) + _delta({"tool_calls": [rest]})

    def error(self, message: str) -> bytes:
        """A failure."""
        return _event({"error": {"message": message, "type": "server_error"}})

    def end(self, tokens: int, finish_reason: str | None) -> bytes:
        """The finish reason, the usage, and the sentinel."""
        usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
        last = _delta({}, finish_reason or "stop")
        return last + _event({"model": PROVIDER, "choices": [], "usage": usage}) + SENTINEL

    def document(self, text: object) -> dict[str, object]:
        """A whole answer."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"object": "chat.completion", "model": PROVIDER, "choices": [choice]}

    def failure(self, status: str, text: str) -> dict[str, object]:
        """A failure that is answered with HTTP status 200, as some servers do."""
        return {"model": PROVIDER, "error": {"message": text, "type": status}}


ChatDialect: TypeAlias = Vx11 | OpenAi
VX11, OPENAI = Vx11(), OpenAi()


def _switch_result(status: str, **fields: object) -> dict[str, object]:
    """A whole answer of Switch."""
    return {
        "status": status,
        "provider": PROVIDER,
        "decision": "fallback",
        "latency_ms": 1,
        "reasoning": "a stand-in answered",
        **fields,
    }


def check_roles(messages: object) -> None:
    """Raise msgspec.ValidationError where a strict chat template would refuse ``messages``.

    After one system message at most, user and assistant alternate, from the user to the user,
    and no message is empty. A message that calls tools is followed by a result for each call.
    """
    if not isinstance(messages, list) or not messages:
        raise msgspec.ValidationError("messages must be a list that is not empty")
    calls: set[object] = set()
    for message in messages:
        if not isinstance(message, dict):
            raise msgspec.ValidationError("a message must have a role and a text")
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in calls:
                raise msgspec.ValidationError("a tool's result must follow its call")
            calls.discard(message["tool_call_id"])
            continue
        if calls:
            raise msgspec.ValidationError("a call of a tool must have a result")
        calls = {call.get("id") for call in message.get("tool_calls") or ()}
        if not calls and not text_of(message.get("content")).strip():
            raise msgspec.ValidationError("a message must not be empty")
    roles = [message.get("role") for message in messages if not message.get("tool_calls")]
    turns = [role for role in (roles[1:] if roles[0] == "system" else roles) if role != "tool"]
    alternating = [("user", "assistant")[place % 2] for place in range(len(turns))]
    if turns != alternating or turns[-1:] != ["user"]:
        said = "/".join(map(str, roles))
        raise msgspec.ValidationError(f"roles must alternate user/assistant/user, not {said}")


def text_of(content: object) -> str:
    """The text of a message's content, which is a text or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise msgspec.ValidationError("a message must have a role and a text")
    shown = (part.get("text", f"({part.get('type')})") for part in content)
    return "".join(str(text) for text in shown)


def _event(data: dict[str, object]) -> bytes:
    return encode(msgspec.json.encode(data))


def _delta(delta: dict[str, object], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _event({"object": "chat.completion.chunk", "model": PROVIDER, "choices": [choice]})
