"""The interface of all buses."""

from __future__ import annotations

from operator_svc.bus.listeners import NotificationListener
from operator_svc.models import Backend


class Bus:
    """Notifies the other pods and receives their notifications. This base class has no others."""

    shared = False
    """True where other pods may use the same database."""

    @property
    def backend(self) -> Backend | None:
        """The database session that it hears by, which ends with this process; None without."""
        return None

    @property
    def degraded(self) -> bool:
        """True while it does without a server that it should have: others hear later."""
        return False

    async def open(self, *listeners: NotificationListener) -> None:
        """Begin to hear notifications. Raises OperatorError(database_unavailable)."""

    def subscribe(self, session_id: str) -> None:
        """Hear of a session, until ``unsubscribe`` was called as often."""

    def unsubscribe(self, session_id: str) -> None:
        """Hear of a session no more."""

    def notify(self, session_id: str) -> None:
        """A session has news; the other pods hear of it with the next ``flush`` at the latest."""

    async def flush(self) -> None:
        """Notify of all sessions with news since the last time."""

    async def aclose(self) -> None:
        """Send what is left, and hear no more."""
