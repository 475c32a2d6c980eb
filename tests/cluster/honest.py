"""An honest client, and a cluster that probes: a process of its own.

    python -m tests.cluster.honest URL ADMIN_URL TOKEN SECONDS

Each chat and each probe has a new connection, as one that was just started would. Probes ask the
admin port, as the manifests have it, and the main one. Prints a line of JSON: the milliseconds of
each, what failed, and how late this process itself was.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import aiohttp

SESSIONS = 20
"""None of them has more than a chat in four seconds."""
CHAT_EVERY = 0.2
PROBE_EVERY = 0.1
LOOK_EVERY = 0.01
"""Seconds."""


class Honest:
    """The client and the cluster, and what they saw."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"X-VX11-Token": token}
        self.chats: list[float] = []
        self.probes: dict[str, list[float]] = {}
        self.own_lag = 0.0
        self.failures: Counter[str] = Counter()

    async def chat(self) -> None:
        """Chat, one after another, in several sessions."""
        async with _http(self._headers) as http:
            number = 0
            while True:
                number += 1
                body = {"session_id": f"honest-{number % SESSIONS}", "message": "How is it?"}
                begun = time.monotonic()
                try:
                    async with http.post(f"{self._url}/operator/chat", json=body) as answer:
                        told = await answer.json(content_type=None)
                        if answer.status != 200 or told["response"] != "It is well.":
                            self.failures[f"chat: {answer.status} {told.get('detail')}"] += 1
                except aiohttp.ClientError as error:
                    self.failures[f"chat: {error!r}"] += 1
                self.chats.append(time.monotonic() - begun)
                await asyncio.sleep(CHAT_EVERY)

    async def probe(self, url: str) -> None:
        """Ask whether it is alive, as a cluster does."""
        took = self.probes[url] = []
        async with _http({}) as http:
            while True:
                begun = time.monotonic()
                try:
                    async with http.get(f"{url}/health/live") as answer:
                        if answer.status != 200:
                            self.failures[f"probe: {answer.status}"] += 1
                except aiohttp.ClientError as error:
                    self.failures[f"probe: {error!r}"] += 1
                took.append(time.monotonic() - begun)
                await asyncio.sleep(PROBE_EVERY)

    async def measure_own_lag(self) -> None:
        """Measure how late this process is: what is measured here holds that much too."""
        while True:
            due = time.monotonic() + LOOK_EVERY
            await asyncio.sleep(LOOK_EVERY)
            self.own_lag = max(self.own_lag, time.monotonic() - due)


def _http(headers: dict[str, str]) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(force_close=True)
    return aiohttp.ClientSession(headers=headers, connector=connector)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


async def run(url: str, admin_url: str, token: str, seconds: float) -> dict[str, Any]:
    """Chat and probe for ``seconds``; the report."""
    honest = Honest(url, token)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(
                honest.chat(),
                honest.probe(admin_url),
                honest.probe(url),
                honest.measure_own_lag(),
            )
    return {
        "chats_ms": [_ms(took) for took in honest.chats],
        "probes_ms": [_ms(took) for took in honest.probes[admin_url]],
        "main_probes_ms": [_ms(took) for took in honest.probes[url]],
        "own_lag_ms": _ms(honest.own_lag),
        "failures": honest.failures,
    }


if __name__ == "__main__":
    _, of_url, of_admin_url, of_token, for_seconds = sys.argv
    report = asyncio.run(run(of_url, of_admin_url, of_token, float(for_seconds)))
    sys.stdout.write(json.dumps(report) + "\n")
