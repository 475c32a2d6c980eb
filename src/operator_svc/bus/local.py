"""The bus of a process that is alone: its own writes are shown as they are made."""

from __future__ import annotations

from collections.abc import Callable, Collection


class LocalBus:
    """Nobody else is there to be told."""

    shared = False

    async def open(self, on_news: Callable[[Collection[str] | None], None]) -> None:
        """See Bus.open."""

    def announce(self, session_id: str) -> None:
        """See Bus.announce."""

    async def flush(self) -> None:
        """See Bus.flush."""

    async def aclose(self) -> None:
        """See Bus.aclose."""
