"""Places of key sets: an address, or a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from operator_svc.peers.time_limit import TimeLimit
from operator_svc.protocol.headers import is_compressed

MAX_BYTES = 256 * 1024
"""Largest key set; those of large issuers have some 10 kB."""
SECONDS = 5.0
"""The time of a call; callers whose key is not known wait for as long."""


class JwksUrl:
    """The key set at an address. Redirects are not followed: the settings name who is trusted."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def fetch(self) -> bytes:
        """The key set as it is there now. Raises OSError, ValueError."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        try:
            async with (
                TimeLimit(SECONDS),
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(), auto_decompress=False
                ) as session,
                session.get(self._url, headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise ValueError(f"the address answers {answer.status}")
                if is_compressed(answer.headers.get("Content-Encoding")):
                    raise ValueError("the address answers compressed, which was not asked for")
                content = bytearray()
                async for chunk in answer.content.iter_any():
                    content += chunk
                    _check_size(len(content))
                return bytes(content)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"the address does not answer ({type(error).__name__})") from error


class JwksFile:
    """The key set in a file, which may be replaced at any time."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    async def fetch(self) -> bytes:
        """The key set as it is there now. Raises OSError, ValueError."""
        return await asyncio.to_thread(self.read)

    def read(self) -> bytes:
        """The same, at once."""
        with self._path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        _check_size(len(content))
        return content


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"the key set has more than {MAX_BYTES:,} bytes")
