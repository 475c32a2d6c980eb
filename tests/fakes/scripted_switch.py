"""A Switch whose words the test chooses, in place of the client of a real one.

As strict as the chat templates of many models: it fails on a history that does not alternate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from operator_svc.devpeers.dialects import check_roles
from operator_svc.errors import OperatorError
from operator_svc.peers.chat_types import Done, Part, Prompt, Text

PATIENCE = 30.0
"""Seconds that a test waits for a call before it fails."""

Piece = str | Part | OperatorError | None
"""Text, another part of a reply, an error that fails it, or None for its end."""


class ScriptedCall:
    """One call of Switch; ``closed`` once the caller has let it go."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self.closed = False
        self.told_to_end = False

    def say(self, *pieces: Piece) -> None:
        """Go on with the reply."""
        for piece in pieces:
            self.pieces.put_nowait(piece)
            self.told_to_end = self.told_to_end or piece is None or isinstance(piece, OperatorError)


class ScriptedSwitch:
    """A Switch whose calls say what the test says, each by itself (``next``) or one after another
    (``say``); or all of them ``answer``, at once, where that is set."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[ScriptedCall] = asyncio.Queue()
        self.prompts: list[Prompt] = []
        self.answer: list[Piece] | None = None
        self.closed = 0
        self._open: list[ScriptedCall] = []
        self._unsaid: list[Piece] = []

    @property
    def running(self) -> int:
        """The number of calls under way."""
        return len(self._open)

    async def chat(
        self, prompt: Prompt, show: Callable[[str], bool]
    ) -> AsyncGenerator[list[Part], None]:
        """See ``Switch.chat``: the first piece is yielded, and text that follows it shown."""
        check_roles([*prompt.history, {"role": "user", "content": prompt.message}])
        call = ScriptedCall(prompt)
        self.prompts.append(prompt)
        self._open.append(call)
        self.calls.put_nowait(call)
        if self.answer is not None:
            call.say(*self.answer, None)
        else:
            unsaid, self._unsaid = self._unsaid, []
            self.say(*unsaid)
        begun = False
        try:
            while (piece := await call.pieces.get()) is not None:
                if isinstance(piece, OperatorError):
                    raise piece
                if not (begun and isinstance(piece, str) and show(piece)):
                    begun = True
                    yield [Text(piece)] if isinstance(piece, str) else [piece]
            yield [Done(provider="scripted", tokens_used=3)]
        finally:
            call.closed = True
            self._open.remove(call)
            self.closed += 1

    async def next(self) -> ScriptedCall:
        """The next call."""
        async with asyncio.timeout(PATIENCE):
            return await self.calls.get()

    def say(self, *pieces: Piece) -> None:
        """Go on with the oldest call that was not told to end or, where there is none, begin the
        next one so."""
        for piece in pieces:
            listening = [call for call in self._open if not call.told_to_end]
            if listening:
                listening[0].say(piece)
            else:
                self._unsaid.append(piece)

    async def aclose(self) -> None:
        """Holds nothing open."""
