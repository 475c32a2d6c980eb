"""The drain state: whether this process is about to stop and takes nothing new."""

from __future__ import annotations

from operator_svc.errors import ErrorCode, OperatorError


class DrainState:
    """One flag for the whole process: chats, tasks, connections and health checks read it."""

    def __init__(self) -> None:
        self._draining = False

    @property
    def draining(self) -> bool:
        """True from the first signal to stop until the end of the process."""
        return self._draining

    def begin(self) -> None:
        """Take nothing new from now on."""
        self._draining = True

    def refuse_new(self) -> None:
        """Raises OperatorError(draining) where nothing new is taken."""
        if self._draining:
            raise OperatorError(ErrorCode.DRAINING, "this process is stopping", retry_after=1.0)
