"""Attacks of hostile clients. Each is one round, which is repeated by several at once."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.cluster.attacker import Attacker, bomb, frame

chance = random.Random()  # noqa: S311 - it chooses what to try, no secret
TRIED = "tried"
"""Counts the rounds of an attack, beside what they were answered."""
SESSIONS = 8
"""Sessions of each attacker that grow large; others are made anew."""
ENDLESS_BODY = "Transfer-Encoding: chunked\r\n"
PIPELINED = 30


def own(me: Attacker) -> str:
    """A large session of this attacker's."""
    return f"{me.address}-{chance.randrange(SESSIONS)}"


# --- connections ---------------------------------------------------------------------------------


async def unread_documents(me: Attacker) -> None:
    async with me.line(unread=True) as line:
        line.send(me.request("GET", "/openapi.json", token="") * PIPELINED)
        me.answers[await line.held()] += 1


async def endless_bodies(me: Attacker) -> None:
    path, token = chance.choice([("/nope", ""), ("/operator/chat", None), ("/health", "")])
    async with me.line() as line:
        line.send(me.request("POST", path, token=token, more=ENDLESS_BODY) + b"1\r\n{\r\n")
        me.answers[await line.held(drip=b"1\r\n \r\n")] += 1


async def half_heads(me: Attacker) -> None:
    whole = me.request("GET", "/health", token="") if chance.random() < 0.5 else b""
    async with me.line() as line:
        line.send(whole + b"POST /operator/chat HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        me.answers[await line.held(drip=b"x")] += 1


async def silent(me: Attacker) -> None:
    async with me.line() as line:
        me.answers[await line.held()] += 1


async def opened_and_closed(me: Attacker) -> None:
    async with me.line() as line:
        line.send(chance.choice([b"", b"G", b"GET /health HTTP/1.1\r\n\r\n"]))
    me.answers["closed"] += 1


async def strange_heads(me: Attacker) -> None:
    async with me.line() as line:
        line.send(
            chance.choice([
                me.request("POST", "/operator/chat", b"{}", more=ENDLESS_BODY) + b"0\r\n\r\n",
                me.request("GET", "/health", more="X-Big: " + "x" * 70_000 + "\r\n"),
                me.request("GET", "/health", more="X-Many: x\r\n" * 5000),
                me.request("GET", "/" + "a" * 70_000),
                me.request("GET", "/operator/session/%00%ff%2e%2e"),
                me.request("POST", "/operator/chat", more="Content-Length: -1\r\n"),
                chance.randbytes(200) + b"\r\n\r\n",
            ])
        )  # fmt: skip
        me.answers[await line.status()] += 1


async def pipelined(me: Attacker) -> None:
    async with me.line() as line:
        line.send(me.request("GET", "/operator/sessions?user_id=local") * PIPELINED)
        for _ in range(PIPELINED):
            me.answers[await line.status()] += 1


async def compressed_bodies(me: Attacker) -> None:
    path = chance.choice(["/operator/chat", "/operator/tool/call", "/nope"])
    token = chance.choice([None, ""])
    async with me.line() as line:
        line.send(me.request("POST", path, bomb(), token=token, more="Content-Encoding: gzip\r\n"))
        me.answers[await line.status()] += 1


# --- bytes ---------------------------------------------------------------------------------------


async def large_chats(me: Attacker) -> None:
    body = {"session_id": own(me), "message": "[[long]] " + "x" * 30_000,
            "metadata": {"x": "y" * chance.choice([60_000, 1_000_000])}}  # fmt: skip
    await me.ask("POST", "/operator/chat", body)


async def many_small_values(me: Attacker) -> None:
    """Send a megabyte of JSON that becomes a few hundred thousand objects."""
    value = chance.choice(["{}", "[]", "1.0", '""', '{"":[]}'])
    values = f"[{','.join([value] * (1_000_000 // (len(value) + 1)))}]"
    path, before = chance.choice([
        ("/operator/chat", '{"message": "x", "metadata": {"x": '),
        ("/operator/tool/call", '{"message_id": 1, "tool_name": "t", "result": {"x": '),
        ("/v1/responses", '{"model": "x", "text": {"x": '),
    ])  # fmt: skip
    await me.ask("POST", path, f"{before}{values}}}}}".encode())


async def stalled_answers(me: Attacker) -> None:
    path = chance.choice(["?limit=1000", "/events?limit=1000", "/export"])
    async with me.line(unread=True) as line:
        line.send(me.request("GET", f"/operator/session/{own(me)}{path}") * 3)
        me.answers[await line.held()] += 1


async def large_pages(me: Attacker) -> None:
    await me.ask("GET", f"/operator/session/{own(me)}?limit=1000")


async def unread_resumes(me: Attacker) -> None:
    async with me.line(unread=True) as line:
        line.send(me.handshake(f"/ws/{own(me)}?after=0"))
        line.send(frame(b'{"type": "resume", "after": 0}') * 10)
        me.answers[await line.held()] += 1


async def unread_streams(me: Attacker) -> None:
    async with me.line(unread=True) as line:
        path = f"/operator/session/{own(me)}/events?after=0"
        line.send(me.request("GET", path, more="Accept: text/event-stream\r\n"))
        me.answers[await line.held()] += 1


# --- websockets ----------------------------------------------------------------------------------


async def anonymous_sockets(me: Attacker) -> None:
    async with me.line() as line:
        line.send(me.handshake("/ws/s", token=""))
        me.answers[await line.held()] += 1


async def wrong_tokens(me: Attacker) -> None:
    wrong = base64.urlsafe_b64encode(chance.randbytes(12)).decode().rstrip("=")
    async with me.line() as line:
        if chance.random() < 0.5:
            line.send(me.request("GET", "/operator/sessions", token=wrong))
            me.answers[await line.status()] += 1
            return
        protocols = f"Sec-WebSocket-Protocol: operator.v1, token.{wrong}\r\n"
        line.send(me.handshake("/ws/s", token="", more=protocols))
        if await line.status() == "101":
            me.answers[await line.close_code()] += 1


async def strange_frames(me: Attacker) -> None:
    async with me.line() as line:
        line.send(me.handshake(f"/ws/{own(me)}"))
        if (status := await line.status()) != "101":
            me.answers[status] += 1
            return
        line.send(
            chance.choice([
                frame(b'{"type": "ping"}', masked=False),
                frame(b"{}", first=0xF1),
                frame(b"x" * 200, first=0x89),
                frame(b"\xff\xfe"),
                frame(b"[" * 100_000 + b"]" * 100_000),
                frame(b"x", first=0x80),
                b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
                frame(b"{" + b" " * 600_000),
                frame(b"", first=0x01) + frame(b"", first=0x00) * 5000,
                frame(b'{"type": "chat", "message": 7}') * 30,
                frame(b'{"type": "ping"}') * 500,
            ])
        )  # fmt: skip
        me.answers[await line.close_code()] += 1


# --- what is asked for ---------------------------------------------------------------------------


def value(depth: int = 0) -> Any:
    """Any JSON value, of the odd kinds that parsers fall over."""
    some: list[Callable[[], Any]] = [
        lambda: None, lambda: True, lambda: chance.randrange(-(2**70), 2**70), lambda: -1,
        lambda: 1e308, lambda: "\0", lambda: "\ud800", lambda: "x" * chance.randrange(40_000),
        lambda: "\u202e\U0001f600", lambda: "' OR 1=1 --", lambda: "http://[::1",
        lambda: float("nan"),
    ]  # fmt: skip
    if depth < 4:
        some += [
            lambda: [value(depth + 1) for _ in range(3)],
            lambda: {str(value(9))[:80]: value(depth + 1) for _ in range(3)},
        ]
    return chance.choice(some)()


POSTS = {
    "/operator/chat": ("message", "messages", "session_id", "user_id", "metadata", "stream",
                       "provider_hint", "client_message_id", "context_summary"),
    "/operator/tool/call": ("message_id", "tool_name", "status", "arguments", "result", "error",
                            "duration_ms", "tool_call_id"),
    "/operator/switch/feedback": ("engine", "success", "latency_ms", "tokens_used", "message_id"),
    "/operator/switch/adjustment": ("session_id", "before_config", "after_config", "reason"),
    "/operator/browser/task": ("url", "wait", "session_id", "script", "viewport", "text_limit"),
    "/v1/chat/completions": ("model", "messages", "stream", "n", "tools", "max_tokens"),
}  # fmt: skip


async def fuzzed_bodies(me: Attacker) -> None:
    path, fields = chance.choice(list(POSTS.items()))
    body = json.dumps({name: value() for name in fields if chance.random() < 0.6}).encode()
    if chance.random() < 0.2:
        cut = chance.randrange(len(body))
        body = body[:cut] + chance.randbytes(3) + body[cut + 1 :]
    await me.ask("POST", path, body, more="Content-Type: application/json\r\n")


async def fuzzed_queries(me: Attacker) -> None:
    session = f"/operator/session/{own(me)}"
    path = chance.choice([session, f"{session}/events", "/operator/sessions",
                          "/operator/browser/tasks", "/operator/switch/engines",
                          "/operator/switch/adjustments"])  # fmt: skip
    name = chance.choice(["limit", "before", "after", "cursor", "q", "user_id", "window", "epoch"])
    odd = ["-1", "1e9", "9" * 40, "%00", "%ff", "%F0%9F%98%80" * 50, "a+" * 500, "*", '"', "true"]
    await me.ask("GET", f"{path}?user_id=local&{name}={chance.choice(odd)}")


async def hostile_upstream(me: Attacker) -> None:
    """Ask for what makes the fake Switch endless, compressed or broken."""
    does = chance.choice(["tools", "words", "gzip", "garbage", "event"])
    body = {"session_id": own(me), "message": f"[[{does}]]"}
    await me.ask("POST", "/operator/chat", body, more="Prefer: respond-async\r\n")


async def new_sessions(me: Attacker) -> None:
    body = {"session_id": f"new-{chance.getrandbits(60)}", "message": "hello"}
    await me.ask("POST", "/operator/chat", body, more="Prefer: respond-async\r\n")


async def deleted_sessions(me: Attacker) -> None:
    await me.ask("DELETE", f"/operator/session/{own(me)}")


async def browser_tasks(me: Attacker) -> None:
    body = {"url": "http://example.com/", "wait": chance.choice([0, 1]), "session_id": own(me)}
    await me.ask("POST", "/operator/browser/task", body)


async def records(me: Attacker) -> None:
    path, body = chance.choice([
        ("/operator/tool/call", {"message_id": chance.randrange(1, 200), "tool_name": "t",
                                 "arguments": {"x": "y" * 60_000}}),
        ("/operator/switch/feedback", {"engine": "honest", "success": False,
                                       "message_id": chance.randrange(1, 200)}),
        ("/operator/switch/adjustment", {"after_config": {"mode": "eco", "x": "y" * 60_000}}),
    ])  # fmt: skip
    await me.ask("POST", path, body)


ATTACKS: Mapping[Callable[[Attacker], Awaitable[None]], int] = {
    unread_documents: 40,
    endless_bodies: 40,
    half_heads: 40,
    silent: 40,
    opened_and_closed: 4,
    strange_heads: 2,
    pipelined: 1,
    compressed_bodies: 2,
    large_chats: 2,
    many_small_values: 1,
    stalled_answers: 40,
    large_pages: 1,
    unread_resumes: 20,
    unread_streams: 20,
    anonymous_sockets: 40,
    wrong_tokens: 4,
    strange_frames: 2,
    fuzzed_bodies: 2,
    fuzzed_queries: 2,
    hostile_upstream: 1,
    new_sessions: 1,
    deleted_sessions: 1,
    browser_tasks: 2,
    records: 2,
}
"""The attacks, and how many of an attacker are at each."""
