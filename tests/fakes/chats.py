"""Asking a Switch in tests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from operator_svc.peers.switch import Done, Part, Prompt, Reasoning, Switch, Text, make_switch
from operator_svc.settings import Settings

TOKEN = "token-of-the-tests"


@asynccontextmanager
async def switch_at(
    url: str, clock: Callable[[], float] = time.monotonic, /, **settings: Any
) -> AsyncIterator[Switch]:
    """A client of the Switch at ``url``; ``settings`` by attribute, ``clock`` of its breakers."""
    short = {
        "switch_connect_timeout": 5.0,
        "switch_first_byte_timeout": 10.0,
        "switch_idle_timeout": 10.0,
        "switch_total_timeout": 20.0,
    }
    switch = make_switch(Settings(token=TOKEN, switch_url=url, **(short | settings)), clock=clock)
    try:
        yield switch
    finally:
        await switch.aclose()


def prompt(message: str = "How are you today?", **fields: Any) -> Prompt:
    """A question."""
    return Prompt(message=message, session_id="s-1", user_id="u-1", **fields)


class Answer:
    """The parts of one answer, also of one that failed."""

    def __init__(self) -> None:
        self.reads: list[list[Part]] = []

    @property
    def parts(self) -> list[Part]:
        """All parts."""
        return [part for read in self.reads for part in read]

    @property
    def text(self) -> str:
        """The reply's text."""
        return "".join(part.content for part in self.parts if isinstance(part, Text))

    @property
    def reasoning(self) -> str:
        """The model's reasoning."""
        return "".join(part.content for part in self.parts if isinstance(part, Reasoning))

    @property
    def done(self) -> Done:
        """The end, which is there and the only one."""
        last = self.parts[-1]
        assert isinstance(last, Done)
        assert sum(isinstance(part, Done) for part in self.parts) == 1
        return last


async def ask(switch: Switch, message: str | Prompt, answer: Answer | None = None) -> Answer:
    """Ask and read all of the answer; what came before a failure is in ``answer``."""
    answer = answer or Answer()
    asked = message if isinstance(message, Prompt) else prompt(message)

    def show(text: str) -> bool:
        answer.reads.append([Text(text)])
        return True

    async with aclosing(switch.chat(asked, show)) as reads:
        async for read in reads:
            answer.reads.append(read)
    return answer
