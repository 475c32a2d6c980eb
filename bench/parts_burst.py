"""Replies that come whole at once, as a stream: chats that are answered with JSON, and events."""

from __future__ import annotations

import time

from bench import processes
from bench.context import Bench, Engine, path_of
from bench.http import Load
from bench.parts_chat import CLIENTS, chats, costs, interleave, relative
from bench.processes import running
from bench.results import median_figure
from operator_svc.devpeers.dialects import OPENAI, VX11, ChatDialect
from operator_svc.peers.answer_reader import AnswerReader
from operator_svc.peers.dialect_openai import OpenAiReader
from operator_svc.peers.dialect_vx11 import Vx11Reader

TOKENS = 200
WORDS = (" the", " quick", " brown", " fox", " sleeps,")
ANSWERS = 200
"""Answers that are decoded in a round."""


async def streamed_chat(bench: Bench, engine: Engine) -> None:
    """32 clients whose replies come as a burst of 200 tokens; the references do it, and do less."""
    part = f"streamed-chat-{engine}"
    await bench.tell_switch(mode="ok", rate=0, tokens=TOKENS)
    operator = processes.operator(bench.switch, bench.database(engine))
    stores = processes.reference(bench.switch, engine, path_of(bench.database(engine)))
    with running(operator, stores):
        loads = [
            Load(operator, CLIENTS, chats(operator)),
            Load(stores, CLIENTS, chats(stores, "/streamed/chat")),
            Load(stores, CLIENTS, chats(stores, "/bare/chat")),
        ]
        ours, streaming, bare = await interleave(bench, loads, 7, 1.0 if bench.quick else 1.6)
    same = "a relay that streams and stores the same rows"
    less = "a relay that asks for JSON and makes two bare inserts"
    bench.add(
        *relative(part, same, ours, streaming, cpu_goal=0.90),
        *relative(part, less, ours, bare, cpu_goal=0.40),
        *costs(part, {"Operator": ours, same: streaming, less: bare}),
    )


async def decoding(bench: Bench) -> None:
    """CPU time of an event in a burst, from bytes to text, without sockets."""
    dialects: dict[str, tuple[ChatDialect, type[AnswerReader]]] = {
        "Switch": (VX11, Vx11Reader),
        "OpenAI": (OPENAI, OpenAiReader),
    }
    for name, (dialect, reader) in dialects.items():
        words = [WORDS[number % len(WORDS)] for number in range(TOKENS)]
        answer = b"".join(map(dialect.token, words)) + dialect.end(TOKENS, None)
        took = []
        for _ in bench.rounds(15):
            begun = time.thread_time()
            for _ in range(ANSWERS):
                decoded = reader()
                decoded.feed(answer)
                assert decoded.done
            took.append((time.thread_time() - begun) / ANSWERS / TOKENS * 1e6)
        bench.add(
            median_figure("decoding", f"CPU time of an event in a burst, dialect of {name}",
                          took, "µs", 0.8)
        )  # fmt: skip
