"""A primary and its standby, which takes over with or without a loss."""

from __future__ import annotations

import signal
from urllib.parse import urlencode

from tests.fakes.postgres import PostgresServer


class Pair:
    """A primary and its standby, and a URL that names both."""

    def __init__(self) -> None:
        self.first = PostgresServer()
        self.second = PostgresServer(standby_of=self.first)
        self.database = self.first.create_database()

    @property
    def url(self) -> str:
        hosts = ",".join(str(server.folder) for server in (self.first, self.second))
        return f"postgresql://postgres@/{self.database}?{urlencode({'host': hosts})}"

    def switch_over(self) -> None:
        """The standby takes over without a loss, and the old primary comes back as its standby."""
        self.second.catch_up()
        self.first.stop()
        self.second.promote()
        self.first.follow(self.second)

    def lose_from_now(self) -> None:
        """Have the standby receive no more: it lacks what the primary commits from now on."""
        self.second.catch_up()
        self.second.stop_receiving()

    def fail_over(self) -> None:
        """The primary dies, and the standby takes over with what it has."""
        self.first.stop(signal.SIGQUIT)
        self.second.promote()

    def remove(self) -> None:
        self.second.remove()
        self.first.remove()
