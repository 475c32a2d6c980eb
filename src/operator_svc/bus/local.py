"""The bus of a single process, whose own writes are shown as they are made."""

from __future__ import annotations

from operator_svc.bus.listeners import NotificationListener


class LocalBus:
    """No-op bus for a single process."""

    shared = False
    backend = None

    async def open(self, *listeners: NotificationListener) -> None:
        """See Bus.open."""

    def notify(self, session_id: str) -> None:
        """See Bus.notify."""

    async def flush(self) -> None:
        """See Bus.flush."""

    async def aclose(self) -> None:
        """See Bus.aclose."""
