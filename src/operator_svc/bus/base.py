"""The interface of all buses."""

from __future__ import annotations

from operator_svc.bus.listeners import (
    NotificationListener,
    PieceListener,
    ReplyPiece,
    ignore_piece,
)
from operator_svc.models import Backend


class Bus:
    """Notifies the other pods and receives their notifications. This base class has no others."""

    shared = False
    """True where other pods may use the same database."""

    carries_text = False
    """True where the text of replies is told as it comes, and not only that there is more of it."""

    @property
    def backend(self) -> Backend | None:
        """The database session that it hears by, which ends with this process; None without."""
        return None

    @property
    def degraded(self) -> bool:
        """True while it does without a server that it should have: others hear later."""
        return False

    async def open(
        self, *listeners: NotificationListener, on_piece: PieceListener = ignore_piece
    ) -> None:
        """Begin to hear notifications, and pieces of text. Raises
        OperatorError(database_unavailable)."""

    def subscribe(self, session_id: str) -> None:
        """Hear of a session, until ``unsubscribe`` was called as often."""

    def unsubscribe(self, session_id: str) -> None:
        """Hear of a session no more."""

    def notify(self, session_id: str) -> None:
        """A session has news; the other pods hear of it with the next ``flush`` at the latest."""

    def send_piece(self, piece: ReplyPiece) -> bool:
        """Send a piece of text to the other pods; False where it cannot be sent."""
        return False

    async def flush(self) -> None:
        """Notify of all sessions with news since the last time."""

    async def aclose(self) -> None:
        """Send what is left, and hear no more."""
