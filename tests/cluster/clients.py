"""Clients of the cluster that behave as the documents tell clients to."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import aiohttp
import msgspec

from tests.fakes.client_view import ClientView

TRY_AGAIN = (409, 429, 500, 502, 503, 504)
"""Answers after which a client tries again with the same key (the retryable ones)."""


class Place(Protocol):
    """An address of the service: a process, or what stands before several."""

    url: str


class Pods(Protocol):
    """The addresses at which clients find the service."""

    @property
    def pods(self) -> Sequence[Place]:
        """One of them is chosen for each attempt."""

    http: aiohttp.ClientSession


class Chat:
    """One chat that a writer asked for, and what it was told of it."""

    def __init__(self, session_id: str, message: str) -> None:
        self.session_id = session_id
        self.message = message
        self.key = uuid.uuid4().hex
        self.attempts = 0
        self.promised: set[int] = set()
        self.answer: dict[str, Any] | None = None
        self.seen: list[int | str] = []
        """The status of each answer, or the name of the failure."""
        self.faults: list[dict[str, Any]] = []
        """Answers that say that the service is at fault."""


async def end_all(*tasks: asyncio.Task[None]) -> None:
    """Cancel the tasks and wait for their end, however they end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def chat_until_answered(
    cluster: Pods, chat: Chat, give_up: asyncio.Event, pause: float = 0.2
) -> None:
    """Ask any pod, with the same key, until one answers well or ``give_up`` is set."""
    while chat.answer is None and not give_up.is_set():
        told = await _ask(cluster, chat)
        if told is None:
            await asyncio.sleep(pause * random.random())  # noqa: S311
        else:
            chat.answer = told


async def begin_and_leave(cluster: Pods, chat: Chat) -> int | None:
    """Ask a pod once and wait for no reply; its id, where that was told."""
    told = await _ask(cluster, chat, prefer="respond-async")
    return None if told is None else int(told["reply_id"])


async def _ask(cluster: Pods, chat: Chat, **headers: str) -> dict[str, Any] | None:
    """The answer of a pod to a chat; None where it is to be asked again."""
    chat.attempts += 1
    return await _post(
        cluster,
        "/operator/chat",
        chat,
        {"session_id": chat.session_id, "message": chat.message},
        {"Idempotency-Key": chat.key, **headers},
    )


async def cancel(cluster: Pods, chat: Chat, reply_id: int) -> None:
    """Ask a pod once to stop a reply of the chat."""
    await _post(cluster, f"/operator/reply/{reply_id}/cancel", chat, None, {})


async def _post(
    cluster: Pods, path: str, chat: Chat, body: dict[str, Any] | None, headers: dict[str, str]
) -> dict[str, Any] | None:
    pod = random.choice(cluster.pods)  # noqa: S311
    limit = aiohttp.ClientTimeout(total=20)
    try:
        async with cluster.http.post(
            pod.url + path, json=body, headers=headers, timeout=limit
        ) as answer:
            told: dict[str, Any] = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        chat.seen.append(type(error).__name__)
        return None
    chat.seen.append(answer.status)
    if "message_id" in told:
        chat.promised.add(told["message_id"])
    if answer.status in (200, 202):
        return told
    if told.get("error") == "internal_error" or answer.status not in TRY_AGAIN:
        chat.faults.append(told)
    assert answer.status in (*TRY_AGAIN, 404), (answer.status, told)
    return None


class Reader:
    """A websocket client that comes back and resumes, and notes each broken promise.

    It reads nothing for ``pause`` seconds after each frame.
    """

    def __init__(
        self, cluster: Pods, session_id: str, name: str, pause: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._cluster = cluster
        self._pause = pause
        self.session_id = session_id
        self.name = name
        self.problems: list[str] = []
        self.view = ClientView(self.problems.append)
        self.view.expect_replay(0)
        self.connections = 0
        self.socket: aiohttp.ClientWebSocketResponse | None = None

    @property
    def seq(self) -> int:
        """The number of the last event."""
        return self.view.seq or 0

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            pod = random.choice(self._cluster.pods)  # noqa: S311
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                await self._connection(pod)
            await asyncio.sleep(0.05 + 0.2 * random.random())  # noqa: S311

    async def _connection(self, pod: Place) -> None:
        query = f"?after={self.seq}" + (f"&epoch={self.view.epoch}" if self.view.epoch else "")
        async with (
            asyncio.timeout(None) as limit,
            self._cluster.http.ws_connect(
                f"{pod.url}/ws/{self.session_id}{query}",
                protocols=("operator.v1",),
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                max_msg_size=0,
            ) as socket,
        ):
            self.socket = socket
            self.connections += 1
            while True:
                # A stopped process says nothing; a live one has a heartbeat of 2 s here.
                limit.reschedule(asyncio.get_running_loop().time() + 5)
                frame = await socket.receive()
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    return
                told = msgspec.json.decode(frame.data)
                if told["type"] == "error" and told["error"] == "internal_error":
                    self.problems.append(f"it was told {told}")
                self.view.take(told)
                if seconds := self._pause():
                    await asyncio.sleep(seconds)

    async def leave(self) -> None:
        """Cut the connection as a lost network would."""
        if self.socket is not None and not self.socket.closed:
            with contextlib.suppress(Exception):
                await self.socket.close()
