"""Which threads did some work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Threads:
    """Notes the threads on which functions run."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def noting(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """``work``, whose thread is noted each time."""

        def noted(*args: Any) -> Any:
            self.note()
            return work(*args)

        return noted

    def note(self) -> None:
        """Note the thread that runs this."""
        self.seen.add(threading.get_ident())

    @property
    def others(self) -> bool:
        """True where all that was noted ran on threads other than this one."""
        return bool(self.seen) and threading.get_ident() not in self.seen
