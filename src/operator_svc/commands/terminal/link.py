"""The connection of a terminal: a client in a thread of its own, and the state of its websocket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from operator_client import ClientError, Conversation, OperatorClient
from operator_svc.commands.terminal.target import Token, token_problem
from operator_svc.commands.terminal.text import CommandError

T = TypeVar("T")

SIGNAL_CHECK = 0.2
"""Seconds after which Ctrl-C is noticed at the latest."""


class Background:
    """An event loop in a thread, so that Ctrl-C interrupts the terminal and never the client."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``; KeyboardInterrupt cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not future.done():
                # A signal that another thread takes does not end a wait of this one.
                wait((future,), SIGNAL_CHECK)
        except KeyboardInterrupt:
            future.cancel()
            raise
        return future.result()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class ServiceLink:
    """The client and its current session; ``state`` describes a problem of the connection."""

    def __init__(self, background: Background, url: str, token: Token) -> None:
        self.run = background.run
        self.url = url
        self.state = ""
        self._on_change: Callable[[], None] | None = None
        self._token = token
        self._attempts = 0
        self._client: OperatorClient | None = None
        self._conversation: Conversation | None = None

    @property
    def client(self) -> OperatorClient:
        """The client, once opened."""
        assert self._client is not None
        return self._client

    @property
    def conversation(self) -> Conversation:
        """The session that is talked in, once opened."""
        assert self._conversation is not None
        return self._conversation

    @property
    def down(self) -> bool:
        """True while the connection is lost."""
        return self._attempts > 0

    def open(self, session_id: str | None) -> None:
        """Talk in this session from now on, a new one by default; what there was stays where this
        fails. Raises ClientError, and CommandError where the token does not do."""
        self.run(self._open(session_id))

    def reopen(self) -> None:
        """Reconnect after the server has closed the connection for good."""
        if self.conversation.failed:
            self.open(self.conversation.session_id)

    def close(self) -> None:
        """Close what is open."""
        self.run(self._close())

    @contextmanager
    def watched(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call ``callback`` within this block, from the client's thread, when ``state`` changes."""
        self._on_change = callback
        try:
            yield
        finally:
            self._on_change = None

    def clear(self) -> None:
        """Forget what was said of a connection that is back."""
        if not self.down:
            self.state = ""

    async def _open(self, session_id: str | None) -> None:
        if self._client is None:
            await self._open_client()
        new = self.client.conversation(
            session_id, on_reconnect=self._on_reconnect, on_back=self._on_back
        )
        await new.__aenter__()
        if self._conversation is not None:
            await self._conversation.aclose()
        self._conversation = new
        self._attempts, self.state = 0, ""

    async def _open_client(self) -> None:
        client = OperatorClient(self.url, self._token.value)
        await client.__aenter__()
        try:
            await client.get_me()
        except BaseException as error:
            await client.aclose()
            refused = isinstance(error, ClientError) and error.code
            if refused == "auth_required" or (refused == "forbidden" and self._token.value):
                raise CommandError(token_problem(self._token, self.url), 2, code=refused) from error
            if isinstance(error, ClientError) and refused == "unreachable":
                said = f"{error.detail}; start it, or name another one with --url or OPERATOR_URL"
                raise CommandError(said, code=refused) from error
            if refused == "not_found":
                said = f"{self.url} is not Operator's address: check its path"
                raise CommandError(said, code=refused) from error
            raise
        self._client = client

    async def _close(self) -> None:
        if self._conversation is not None:
            await self._conversation.aclose()
        if self._client is not None:
            await self._client.aclose()
        self._client = self._conversation = None

    def _on_reconnect(self) -> None:
        self._attempts += 1
        tries = f", attempt {self._attempts}" if self._attempts > 1 else ""
        self._say(f"the connection is lost; reconnecting{tries}")

    def _on_back(self) -> None:
        if self.down:
            self._attempts = 0
            self._say("back")

    def _say(self, state: str) -> None:
        self.state = state
        if (on_change := self._on_change) is not None:  # the other thread may end its block now
            on_change()
