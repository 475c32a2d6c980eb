"""A chat by way of PgBouncer, and without it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import unquote

from bench import processes
from bench.context import Bench
from bench.http import Load
from bench.parts_chat import CLIENTS, chats, interleave
from bench.processes import CLIENT_CORE, pin, running
from bench.results import median_figure
from tests.fakes.pgbouncer import PgBouncer, PoolMode

PLAIN = "no pooler"
SESSIONS = "PgBouncer keeping sessions"
TRANSACTIONS = "PgBouncer in transaction mode"
UNCHECKED = "the same without the timeline check"


async def pooler(bench: Bench) -> None:
    """Chats of 32 clients by four ways to the same PostgreSQL, side by side."""
    await bench.tell_switch(mode="json")
    urls = {way: bench.database("postgresql") for way in (PLAIN, SESSIONS, TRANSACTIONS, UNCHECKED)}
    with contextlib.ExitStack() as stack:
        keeping, mixing = (_pgbouncer(stack, urls[PLAIN], mode) for mode in _MODES)
        operators = [
            processes.operator(bench.switch, urls[PLAIN]),
            processes.operator(bench.switch, keeping.url(_name(urls[SESSIONS]))),
            processes.operator(
                bench.switch,
                mixing.url(_name(urls[TRANSACTIONS])),
                OPERATOR_DATABASE_DIRECT_URL=urls[TRANSACTIONS],
            ),
            processes.operator(
                bench.switch,
                mixing.url(_name(urls[UNCHECKED])),
                module=("-m", "bench.without_timeline", "serve"),
                name="unchecked",
                OPERATOR_DATABASE_DIRECT_URL=urls[UNCHECKED],
            ),
        ]
        stack.enter_context(running(*operators))
        loads = [Load(operator, CLIENTS, chats(operator)) for operator in operators]
        measured = await interleave(bench, loads, 9, 1.0 if bench.quick else 1.6)
    plain = measured[0]
    for way, rounds in zip(urls, measured, strict=True):
        pairs = list(zip(rounds, plain, strict=True))
        bench.add(
            median_figure("pooler", f"CPU time of a chat, {way}", [r.cpu_ms for r in rounds], "ms"),
            median_figure("pooler", f"CPU time of a chat in PostgreSQL, {way}",
                          [r.database_cpu_ms for r in rounds], "ms"),
            median_figure("pooler", f"time of a chat, 32 clients, {way}",
                          [r.latency_ms for r in rounds], "ms"),
        )  # fmt: skip
        if way != PLAIN:
            bench.add(
                median_figure("pooler", f"chats per CPU second, relative to no pooler, {way}",
                              [b.cpu_ms / a.cpu_ms for a, b in pairs], "", best="high"),
                median_figure("pooler", f"chats per second, relative to no pooler, {way}",
                              [a.rate / b.rate for a, b in pairs], "", best="high"),
            )  # fmt: skip


_MODES: tuple[PoolMode, PoolMode] = ("session", "transaction")


def _pgbouncer(stack: contextlib.ExitStack, url: str, mode: PoolMode) -> PgBouncer:
    made = PgBouncer(Path(unquote(url.rpartition("host=")[2])), mode, size=40)
    stack.callback(made.stop)
    pin(made.pid, CLIENT_CORE)
    return made


def _name(url: str) -> str:
    """The database of a URL."""
    return url.partition("?")[0].rpartition("/")[2]
