"""A reply that goes on for a minute, for tests of what ends it."""

from __future__ import annotations

import aiohttp

from tests.cluster.processes import Pod

LONG = {"message": "for long [[rate=10]][[tokens=600]]", "session_id": "s"}
"""The chat that leads to it."""


async def begin_long_reply(http: aiohttp.ClientSession, pod: Pod) -> None:
    """Have ``pod`` begin the reply."""
    headers = {"Prefer": "respond-async"}
    async with http.post(f"{pod.url}/operator/chat", json=LONG, headers=headers) as answer:
        assert answer.status == 202
