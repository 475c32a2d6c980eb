"""Shapes of answers that upstreams give, each with what a chat makes of it.

They come from the real Switch, and from public bug reports about servers of OpenAI's protocol.
A shape of ``BOTH`` is said in either dialect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from operator_svc.errors import ErrorCode as E

STREAM = "text/event-stream"
JSON = "application/json"


class Shape(NamedTuple):
    """``reply`` is the text of a reply that is complete, ``error`` the code of one that failed
    with the text ``reply`` kept. ``counts`` where the failure counts against the circuit."""

    name: str
    dialect: str
    body: bytes
    reply: str = ""
    finish_reason: str | None = None
    error: E | None = None
    counts: bool = False
    content_type: str = STREAM
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    reasoning: str = ""
    tools: tuple[tuple[str, Any], ...] = ()
    is_json: bool = False


def event(**fields: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(fields, ensure_ascii=False).encode() + b"\n\n"


class Speech(Protocol):
    """Says the same things in one dialect."""

    dialect: str

    def text(self, content: Any) -> bytes: ...
    def thought(self, content: str) -> bytes: ...
    def end(self, finish_reason: str | None = None) -> bytes: ...
    def whole(self, content: Any, finish_reason: str | None = None) -> bytes: ...
    def error(self, message: str, **fields: Any) -> bytes: ...
    def tool(self, name: str, arguments: str, identity: str) -> bytes: ...


class Vx11:
    """Switch's own events."""

    dialect = "vx11"

    def text(self, content: Any) -> bytes:
        return event(type="token", content=content)

    def thought(self, content: str) -> bytes:
        return event(type="reasoning", content=content)

    def end(self, finish_reason: str | None = None) -> bytes:
        told = {"finish_reason": finish_reason} if finish_reason is not None else {}
        return event(type="done", provider="p", decision="local", latency_ms=1, **told)

    def whole(self, content: Any, finish_reason: str | None = None) -> bytes:
        body = {"status": "ok", "provider": "p", "content": content, "reply": ""}
        return json.dumps(body | {"finish_reason": finish_reason}).encode()

    def error(self, message: str, **fields: Any) -> bytes:
        return event(type="error", message=message, **fields)

    def tool(self, name: str, arguments: str, identity: str) -> bytes:
        return event(type="tool_call", id=identity, name=name, arguments=arguments)


class OpenAi:
    """Chunks of chat completions."""

    dialect = "openai"

    def text(self, content: Any) -> bytes:
        return delta(content=content)

    def thought(self, content: str) -> bytes:
        return delta(reasoning_content=content)

    def end(self, finish_reason: str | None = None) -> bytes:
        return delta(finish=finish_reason) + DONE

    def whole(self, content: Any, finish_reason: str | None = None) -> bytes:
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": finish_reason}
        return json.dumps({"model": "p", "choices": [choice]}).encode()

    def error(self, message: str, **fields: Any) -> bytes:
        return event(error={"message": message, **fields})

    def tool(self, name: str, arguments: str, identity: str) -> bytes:
        return tools({"id": identity, "function": {"name": name, "arguments": arguments}})


DONE = b"data: [DONE]\n\n"


def chunk(choice: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """One chunk with one choice."""
    choices = [] if choice is None else [{"index": 0, **choice}]
    return event(id="c", object="chat.completion.chunk", model="p", choices=choices, **fields)


def delta(*, finish: Any = None, **fields: Any) -> bytes:
    """One chunk with a delta."""
    return chunk({"delta": fields, "finish_reason": finish})


def tools(*pieces: dict[str, Any]) -> bytes:
    """A delta with pieces of tool calls."""
    return delta(tool_calls=list(pieces))


def call(name: str = "", arguments: str | None = None, **fields: Any) -> dict[str, Any]:
    """A piece of one tool call."""
    function: dict[str, Any] = {"name": name} if name else {}
    if arguments is not None:
        function["arguments"] = arguments
    return {"type": "function", "function": function, **fields}


def document(**message: Any) -> bytes:
    """A whole answer of OpenAI's protocol."""
    return json.dumps({"model": "p", "choices": [{"message": message}]}).encode()


Say = Callable[[Speech], bytes]
PARTS = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
THINKING = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, *PARTS]
NO = E.NO_ANSWER
CUT = {"error": E.SWITCH_ERROR, "counts": True}
BROKEN = {"error": E.SWITCH_ERROR}
REPORTED = {"error": E.SWITCH_ERROR}

BOTH: list[tuple[str, Say, dict[str, Any]]] = [
    # Proper replies, and the ends that engines give them.
    ("tokens, stop", lambda s: s.text("Hel") + s.text("lo") + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("no finish reason", lambda s: s.text("Hello") + s.end(), {"reply": "Hello"}),
    ("cut by length", lambda s: s.text("Hel") + s.end("length"),
     {"reply": "Hel", "finish_reason": "length"}),
    ("filtered after some text", lambda s: s.text("Hel") + s.end("content_filter"),
     {"reply": "Hel", "finish_reason": "content_filter"}),
    ("Anthropic's stop", lambda s: s.text("Hello") + s.end("end_turn"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("TGI's stop", lambda s: s.text("Hello") + s.end("eos_token"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("Gemini's length", lambda s: s.text("Hello") + s.end("MAX_TOKENS"),
     {"reply": "Hello", "finish_reason": "length"}),
    ("Mistral's length", lambda s: s.text("Hello") + s.end("model_length"),
     {"reply": "Hello", "finish_reason": "length"}),
    ("Gemini's filter", lambda s: s.text("Hello") + s.end("SAFETY"),
     {"reply": "Hello", "finish_reason": "content_filter"}),
    ("an unknown finish reason", lambda s: s.text("Hello") + s.end("repetition"),
     {"reply": "Hello", "finish_reason": "repetition"}),
    ("reasoning, then text", lambda s: s.thought("hm") + s.text("Hello") + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop", "reasoning": "hm"}),
    ("emoji", lambda s: s.text("a 😀") + s.end("stop"),
     {"reply": "a 😀", "finish_reason": "stop"}),
    ("U+0000", lambda s: s.text("a\0b") + s.end("stop"),
     {"reply": "a\ufffdb", "finish_reason": "stop"}),
    ("one JSON document", lambda s: s.whole("Hello", "stop"),
     {"reply": "Hello", "finish_reason": "stop", "content_type": JSON}),
    # The envelope.
    ("a stream sent as text/plain", lambda s: s.text("Hello") + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop", "content_type": "text/plain"}),
    ("a stream sent as JSON", lambda s: s.text("Hello") + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop", "content_type": JSON}),
    ("a stream sent as octets", lambda s: s.text("Hello") + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop", "content_type": "application/octet-stream"}),
    ("a document sent as a stream", lambda s: s.whole("Hello", "stop"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("a document sent as text/html", lambda s: s.whole("Hello", "stop"),
     {"reply": "Hello", "finish_reason": "stop", "content_type": "text/html"}),
    ("white space before a document", lambda s: b"\n \r\n" + s.whole("Hello", "stop"),
     {"reply": "Hello", "finish_reason": "stop", "content_type": JSON}),
    ("blank lines before a stream", lambda s: b"\n\n" + s.text("Hello") + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop", "content_type": "text/plain"}),
    ("a byte order mark", lambda s: b"\xef\xbb\xbf" + s.text("Hello") + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop", "content_type": "text/plain"}),
    ("comments as keep-alives",
     lambda s: b": ping\n\n" + s.text("Hello") + b":\n\n" + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("empty data as keep-alives",
     lambda s: b"data:\n\n" + s.text("Hello") + b"data: \n\n" + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("CRLF", lambda s: (s.text("Hello") + s.end("stop")).replace(b"\n", b"\r\n"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("no space after the colon", lambda s: (s.text("Hello") + s.end("stop")).replace(b": {", b":{"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("ids and retry", lambda s: b"id: 1\nretry: 100\n" + s.text("Hello") + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("named events", lambda s: b"event: message\n" + s.text("Hello") + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("the last event without its blank line", lambda s: (s.text("Hello") + s.end("stop"))[:-2],
     {"reply": "Hello", "finish_reason": "stop"}),
    ("the last event with half a blank line", lambda s: (s.text("Hello") + s.end("stop"))[:-1],
     {"reply": "Hello", "finish_reason": "stop"}),
    # Content in other forms.
    ("a list of parts", lambda s: s.text(PARTS) + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("a list of parts, whole", lambda s: s.whole(PARTS, "stop"),
     {"reply": "Hello", "finish_reason": "stop", "content_type": JSON}),
    ("thinking among the parts", lambda s: s.whole(THINKING, "stop"),
     {"reply": "Hello", "finish_reason": "stop", "content_type": JSON, "reasoning": "hm"}),
    ("an object", lambda s: s.whole({"city": "Paris"}, "stop"),
     {"reply": '{"city":"Paris"}', "finish_reason": "stop", "content_type": JSON, "is_json": True}),
    ("an object in a stream", lambda s: s.text({"city": "Paris"}) + s.end("stop"),
     {"reply": '{"city":"Paris"}', "finish_reason": "stop", "is_json": True}),
    ("a number", lambda s: s.whole(42, "stop"),
     {"reply": "42", "finish_reason": "stop", "content_type": JSON, "is_json": True}),
    ("a list of texts", lambda s: s.whole(["a", "b"], "stop"),
     {"reply": '["a","b"]', "finish_reason": "stop", "content_type": JSON, "is_json": True}),
    ("text that looks like JSON", lambda s: s.whole('{"a": 1}', "stop"),
     {"reply": '{"a": 1}', "finish_reason": "stop", "content_type": JSON}),
    ("a number among texts", lambda s: s.text("a ") + s.text(7) + s.end("stop"),
     {"reply": "a 7", "finish_reason": "stop"}),
    # Reasoning in the text.
    ("think tags", lambda s: s.text("<think>hm</think>\n\nHello") + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop", "reasoning": "hm"}),
    ("think tags, cut anywhere",
     lambda s: b"".join(map(s.text, "\n<think>\nhm</b></think>\n\nHello")) + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop", "reasoning": "hm</b>"}),
    ("think tags, whole", lambda s: s.whole("<think>hm</think>Hello", "stop"),
     {"reply": "Hello", "finish_reason": "stop", "content_type": JSON, "reasoning": "hm"}),
    ("empty think tags", lambda s: s.text("<think>\n\n</think>\n\nHello") + s.end("stop"),
     {"reply": "Hello", "finish_reason": "stop"}),
    ("think tags in the middle", lambda s: s.text("The tag <think> is") + s.end("stop"),
     {"reply": "The tag <think> is", "finish_reason": "stop"}),
    ("another tag", lambda s: s.text("<th") + s.text("ead>") + s.end("stop"),
     {"reply": "<thead>", "finish_reason": "stop"}),
    ("half a think tag", lambda s: s.text("<thi") + s.end("length"),
     {"reply": "<thi", "finish_reason": "length"}),
    ("cut while it thinks", lambda s: s.text("<think>hm") + s.end("length"),
     {"error": NO, "finish_reason": "length", "reasoning": "hm"}),
    # Proper ends without text: the upstream works.
    ("an empty stop", lambda s: s.end("stop"), {"error": NO, "finish_reason": "stop"}),
    ("blank text only", lambda s: s.text("\n\n") + s.end("stop"),
     {"error": NO, "reply": "\n\n", "finish_reason": "stop"}),
    ("an empty token", lambda s: s.text("") + s.end("stop"),
     {"error": NO, "finish_reason": "stop"}),
    ("an empty document", lambda s: s.whole("", "stop"),
     {"error": NO, "finish_reason": "stop", "content_type": JSON}),
    ("a document with null", lambda s: s.whole(None, "length"),
     {"error": NO, "finish_reason": "length", "content_type": JSON}),
    ("an empty list of parts", lambda s: s.whole([], "stop"),
     {"error": NO, "finish_reason": "stop", "content_type": JSON}),
    ("reasoning only, length", lambda s: s.thought("hm") + s.end("length"),
     {"error": NO, "finish_reason": "length", "reasoning": "hm"}),
    ("filtered at once", lambda s: s.end("content_filter"),
     {"error": E.CONTENT_FILTERED, "finish_reason": "content_filter"}),
    ("filtered, whole", lambda s: s.whole("", "content_filter"),
     {"error": E.CONTENT_FILTERED, "finish_reason": "content_filter", "content_type": JSON}),
    # Failures that are reported in good order.
    ("an error event", lambda s: s.text("Hel") + s.error("overloaded") + s.end("stop"),
     {**REPORTED, "reply": "Hel"}),
    ("an error first", lambda s: s.error("overloaded"), REPORTED),
    ("an event named error",
     lambda s: s.text("Hel") + b"event: error\ndata: {}\n\n" + s.end("stop"),
     {**REPORTED, "reply": "Hel"}),
    ("an event named error, with text",
     lambda s: s.text("Hel") + b"event: error\ndata: out of memory\n\n" + s.end("stop"),
     {**REPORTED, "reply": "Hel"}),
    ("finish reason error", lambda s: s.text("Hel") + s.end("error"), {**REPORTED, "reply": "Hel"}),
    ("finish reason abort", lambda s: s.text("Hel") + s.end("abort"), {**REPORTED, "reply": "Hel"}),
    ("too many calls, in the stream", lambda s: s.error("slow down", code=429),
     {"error": E.SWITCH_BUSY}),
    ("a rate limit, in the stream", lambda s: s.error("slow down", code="rate_limit_exceeded"),
     {"error": E.SWITCH_BUSY}),
    # Cuts: the upstream does not work.
    ("nothing at all", lambda s: b"", CUT),
    ("cut after text", lambda s: s.text("Hel") + s.text("lo"), {**CUT, "reply": "Hello"}),
    ("cut within an event", lambda s: s.text("Hel") + s.text("lo")[:-8], {**CUT, "reply": "Hel"}),
    ("cut within the last event", lambda s: s.text("Hel") + b'data: {"type": "do',
     {**CUT, "reply": "Hel"}),
    # What cannot be read.
    ("nothing at all, as JSON", lambda s: b"", {**BROKEN, "content_type": JSON}),
    ("a broken event", lambda s: s.text("Hel") + b"data: {nonsense}\n\n" + s.end("stop"),
     {**BROKEN, "reply": "Hel"}),
    ("an event that is no object", lambda s: s.text("Hel") + b"data: 7\n\n" + s.end("stop"),
     {**BROKEN, "reply": "Hel"}),
    ("deep nesting", lambda s: b"data: " + b"[" * 100_000 + b"\n\n" + s.end("stop"), BROKEN),
    ("deep nesting, whole", lambda s: b'{"content":' * 100_000, {**BROKEN, "content_type": JSON}),
    ("a page", lambda s: b"<html>502</html>", {**BROKEN, "content_type": "text/html"}),
    ("a page as a stream", lambda s: b"<html>502</html>", BROKEN),
    ("plain words", lambda s: b"upstream connect error", {**BROKEN, "content_type": "text/plain"}),
    ("a document that is cut", lambda s: s.whole("Hello")[:-4], {**BROKEN, "content_type": JSON}),
    ("a list", lambda s: b'["Hello"]', {**BROKEN, "content_type": JSON}),
    ("another object", lambda s: b'{"detail": "no"}', {**BROKEN, "content_type": JSON}),
    # HTTP errors.
    ("500", lambda s: b"{}", {**CUT, "status": 500}),
    ("502 of a proxy", lambda s: b"<html>", {**CUT, "status": 502}),
    ("503 while it loads", lambda s: b'{"error": {"message": "Loading model"}}',
     {**CUT, "status": 503}),
    ("529", lambda s: b"{}", {**CUT, "status": 529}),
    ("a redirect", lambda s: b"", {**CUT, "status": 307, "headers": (("Location", "/elsewhere"),)}),
    ("400", lambda s: b'{"error": {"message": "context length exceeded"}}',
     {**REPORTED, "status": 400}),
    ("401", lambda s: b"{}", {**REPORTED, "status": 401}),
    ("404", lambda s: b"{}", {**REPORTED, "status": 404}),
    ("408", lambda s: b"{}", {**REPORTED, "status": 408}),
    ("413", lambda s: b"", {**REPORTED, "status": 413}),
    ("422", lambda s: b'{"detail": [{"loc": ["body", "messages"], "msg": "wrong"}]}',
     {**REPORTED, "status": 422}),
    ("429", lambda s: b"{}",
     {"error": E.SWITCH_BUSY, "status": 429, "headers": (("Retry-After", "17"),)}),
    # Tool calls.
    ("a tool call only", lambda s: s.tool("look", '{"at": "it"}', "a") + s.end("tool_calls"),
     {"finish_reason": "tool_calls", "tools": (("look", {"at": "it"}),)}),
    ("a tool call after text",
     lambda s: s.text("Hello") + s.tool("look", "{}", "a") + s.end("tool_calls"),
     {"reply": "Hello", "finish_reason": "tool_calls", "tools": (("look", {}),)}),
    ("broken arguments", lambda s: s.tool("look", '{"at": ', "a") + s.end("tool_calls"),
     {"finish_reason": "tool_calls", "tools": (("look", '{"at": '),)}),
]  # fmt: skip

_VX11 = Vx11()
VX11: list[tuple[str, bytes, dict[str, Any]]] = [
    ("Switch's error", b'{"status": "error", "provider": "p", "content": "Error: x"}',
     {**REPORTED, "content_type": JSON}),
    ("Switch's partial", b'{"status": "partial", "provider": "p", "content": "Error en Hermes", '
     b'"reply": "Error en Hermes"}', {**REPORTED, "content_type": JSON}),
    ("Switch with the real Hermes",
     b'{"status": "ok", "provider": "p", "content": "", "reply": ""}',
     {"error": NO, "content_type": JSON}),
    ("done with status error",
     _VX11.text("Hel") + event(type="done", status="error", content="Error: x"),
     {**REPORTED, "reply": "Hel"}),
    ("the text in response", b'{"status": "ok", "response": "Hello"}',
     {"reply": "Hello", "content_type": JSON}),
    ("the text in message", b'{"message": "Hello"}', {"reply": "Hello", "content_type": JSON}),
    ("a text beside an object", b'{"reply": {"no": "text"}, "content": "Hello"}',
     {"reply": "Hello", "content_type": JSON}),
    ("no text, but a status", b'{"status": "ok"}', {"error": NO, "content_type": JSON}),
    ("[DONE] before done", _VX11.text("Hel") + DONE + _VX11.end(), {**CUT, "reply": "Hel"}),
    ("[DONE] after done", _VX11.text("Hello") + _VX11.end() + DONE, {"reply": "Hello"}),
    ("unknown events", _VX11.text("Hello") + event(type="news") + event(no="type") + _VX11.end(),
     {"reply": "Hello"}),
    ("an error without a type", event(error="out of memory"), REPORTED),
]  # fmt: skip

STOP = delta(finish="stop") + DONE
PARIS, JST = '{"city":"Paris"}', '{"tz":"JST"}'
BOTH_TOOLS = (("get_weather", {"city": "Paris"}), ("get_time", {"tz": "JST"}))
TOOLS = {"finish_reason": "tool_calls", "tools": BOTH_TOOLS}
CALLED = delta(finish="tool_calls") + DONE
HELLO = {"reply": "Hello", "finish_reason": "stop"}
OPENAI: list[tuple[str, bytes, dict[str, Any]]] = [
    # Ends.
    ("[DONE] without a finish reason", delta(content="Hello") + DONE, {"reply": "Hello"}),
    ("a finish reason without [DONE]", delta(content="Hello") + delta(finish="stop"), HELLO),
    ("text and finish reason at once", delta(content="Hello", finish="stop"), HELLO),
    ("usage after the finish reason",
     delta(content="Hello") + delta(finish="stop") + chunk(usage={"total_tokens": 9}) + DONE,
     HELLO),
    ("usage that is cut",
     delta(content="Hello") + delta(finish="stop") + b'data: {"choices": [], "us', HELLO),
    ("[DONE] that is cut", delta(content="Hello") + delta(finish="stop") + b"data: [DO", HELLO),
    ("usage in each chunk",
     chunk({"delta": {"content": "Hello"}}, usage={"total_tokens": 1}) + STOP, HELLO),
    ("an empty finish reason in each chunk",
     delta(content="Hel", finish="") + delta(content="lo", finish="") + delta(finish="stop"),
     HELLO),
    ("an empty finish reason, then the end", delta(content="Hel", finish=""),
     {**CUT, "reply": "Hel"}),
    ("the text null as finish reason", delta(content="Hel", finish="null") + delta(finish="null"),
     {**CUT, "reply": "Hel"}),
    ("an event error without error, then stop",
     delta(content="Hel") + b'event: error\ndata: {"message": "oom"}\n\n' + STOP,
     {**REPORTED, "reply": "Hel"}),
    ("nothing but [DONE]", DONE, {"error": NO}),
    ("finish reason null to the end", delta(content="Hello") + delta() + DONE, {"reply": "Hello"}),
    ("DeepSeek gives up", delta(content="Hel", finish="insufficient_system_resource") + DONE,
     {**REPORTED, "reply": "Hel"}),
    # Envelopes.
    ("message for delta", chunk({"message": {"content": "Hel"}, "finish_reason": None})
     + chunk({"message": {"content": "lo"}, "finish_reason": "stop"}) + DONE, HELLO),
    ("a summary in message after deltas", delta(content="Hello")
     + chunk({"message": {"content": "Hello"}, "finish_reason": "stop"}) + DONE, HELLO),
    ("delta and message in one chunk",
     chunk({"delta": {"content": "Hello"}, "message": {"content": "Hello"}}) + STOP, HELLO),
    ("text as in completions", chunk({"text": "Hello"}) + STOP, HELLO),
    ("a first chunk with the role", delta(role="assistant", content="") + delta(content="Hello")
     + STOP, HELLO),
    ("Azure's first chunk without choices",
     chunk(prompt_filter_results=[]) + delta(content="Hello") + STOP, HELLO),
    ("choices null", event(choices=None) + delta(content="Hello") + STOP, HELLO),
    ("no model, no id", event(choices=[{"delta": {"content": "Hello"}}])
     + event(choices=[{"delta": {}, "finish_reason": "stop"}]), HELLO),
    ("null everywhere", delta(content="Hello", tool_calls=None, refusal=None, function_call=None)
     + STOP, HELLO),
    ("reasoning under its other name", delta(reasoning="hm") + delta(content="Hello") + STOP,
     {**HELLO, "reasoning": "hm"}),
    ("a delta as a document", json.dumps(
        {"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}).encode(),
     {**HELLO, "content_type": JSON}),
    # Refusals and filters.
    ("a refusal", delta(refusal="I ") + delta(refusal="cannot") + STOP,
     {"reply": "I cannot", "finish_reason": "refusal"}),
    ("a refusal, whole", document(content=None, refusal="I cannot"),
     {"reply": "I cannot", "finish_reason": "refusal", "content_type": JSON}),
    ("a refusal among the parts", document(content=[{"type": "refusal", "refusal": "I cannot"}]),
     {"reply": "I cannot", "finish_reason": "refusal", "content_type": JSON}),
    ("a refusal without words", delta(finish="refusal") + DONE,
     {"error": NO, "finish_reason": "refusal"}),
    ("Azure's filter", b'{"error": {"code": "content_filter", "message": "filtered"}}',
     {"error": E.CONTENT_FILTERED, "finish_reason": "content_filter", "status": 400}),
    # Errors.
    ("vLLM's error object", event(object="error", message="too long", code=400) + DONE, REPORTED),
    ("an error with 200", b'{"error": {"message": "no", "code": 500}}',
     {**REPORTED, "content_type": JSON}),
    ("OpenRouter's error in a choice", delta(content="Hel")
     + chunk({"delta": {}, "finish_reason": "error"}, error={"code": 502, "message": "gone"}),
     {**REPORTED, "reply": "Hel"}),
    ("no choices", b'{"choices": []}', {"error": NO, "content_type": JSON}),
    ("choices null, whole", b'{"choices": null}', {**BROKEN, "content_type": JSON}),
    ("a message that is no object", b'{"choices": [{"message": "Hello"}]}',
     {**BROKEN, "content_type": JSON}),
    # Tool calls in pieces.
    ("two calls, by index", tools(call("get_weather", "", index=0, id="a"))
     + tools(call(arguments='{"city":', index=0)) + tools(call("get_time", JST, index=1, id="b"))
     + tools(call(arguments='"Paris"}', index=0)) + CALLED, TOOLS),
    ("two calls without an index", tools(call("get_weather", PARIS, id="a"))
     + tools(call("get_time", JST, id="b")) + CALLED, TOOLS),
    ("two calls with neither index nor id", tools(call("get_weather", PARIS))
     + tools(call("get_time", JST)) + CALLED, TOOLS),
    ("two calls with neither, in pieces", tools(call("get_weather", "")) + tools(
        call(arguments='{"city":')) + tools(call(arguments='"Paris"}')) + tools(
        call("get_time", "")) + tools(call(arguments=JST)) + CALLED, TOOLS),
    ("two calls in one delta without an index",
     tools(call("get_weather", PARIS), call("get_time", JST)) + CALLED, TOOLS),
    ("one index for all calls", tools(call("get_weather", PARIS, index=0, id="a"))
     + tools(call("get_time", JST, index=0, id="b")) + CALLED, TOOLS),
    ("one index for all calls, no ids", tools(call("get_weather", PARIS, index=0))
     + tools(call("get_time", JST, index=0)) + CALLED, TOOLS),
    ("an id with each piece", tools(call("get_weather", '{"city":', index=0, id="a"))
     + tools(call(arguments='"Paris"}', index=0, id="x"))
     + tools(call("get_time", JST, index=1, id="b")) + CALLED, TOOLS),
    ("pieces by id, without an index", tools(call("get_weather", '{"city":', id="a"))
     + tools(call("get_time", JST, id="b")) + tools(call(arguments='"Paris"}', id="a")) + CALLED,
     TOOLS),
    ("the name with each piece", tools(call("get_weather", '{"city":', index=0, id="a"))
     + tools(call("get_weather", '"Paris"}', index=0)) + tools(call("get_time", JST, index=1))
     + CALLED, TOOLS),
    ("one tool twice, with neither", tools(call("f", '{"n":1}')) + tools(call("f", '{"n":2}'))
     + CALLED,
     {"finish_reason": "tool_calls", "tools": (("f", {"n": 1}), ("f", {"n": 2}))}),
    ("empty ids", tools(call("get_weather", PARIS, id="", index=0))
     + tools(call("get_time", JST, id="", index=1)) + CALLED, TOOLS),
    ("arguments as an object", tools(call("get_weather") | {
        "function": {"name": "get_weather", "arguments": {"city": "Paris"}}})
     + tools(call("get_time", JST)) + CALLED, TOOLS),
    ("stop beside tool calls", tools(call("f", "{}", index=0)) + STOP,
     {"finish_reason": "stop", "tools": (("f", {}),)}),
    ("whole, one id for both", document(tool_calls=[
        call("get_weather", PARIS, id="c"), call("get_time", JST, id="c")]),
     {"tools": BOTH_TOOLS, "content_type": JSON}),
    ("the old function_call", delta(function_call={"name": "f", "arguments": ""})
     + delta(function_call={"arguments": "{}"}) + delta(finish="function_call") + DONE,
     {"finish_reason": "tool_calls", "tools": (("f", {}),)}),
    ("a call without a name", tools(call("", "{}", index=0, id="a")) + CALLED,
     {**BROKEN, "finish_reason": "tool_calls"}),
    ("tool_calls promised and not made", delta(finish="tool_calls") + DONE,
     {"error": NO, "finish_reason": "tool_calls"}),
]  # fmt: skip


def shapes() -> Iterator[Shape]:
    """All shapes, those of ``BOTH`` in either dialect."""
    for speech in (_VX11, OpenAi()):
        for name, say, expected in BOTH:
            yield Shape(name, speech.dialect, say(speech), **expected)
    for dialect, rows in (("vx11", VX11), ("openai", OPENAI)):
        for name, body, expected in rows:
            yield Shape(name, dialect, body, **expected)
