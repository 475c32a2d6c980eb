"""Units of work on a connection to SQLite, and the moment of each."""

from __future__ import annotations

import datetime as dt
import sqlite3

from operator_svc.timestamps import utc_text


class SqliteConnection(sqlite3.Connection):
    """A connection whose SQL has ``now()`` and ``now(seconds)``: the moment at which the present
    unit of work began, and seconds later, in the form of ``utc_text``.

    Like PostgreSQL's, it is one moment for all statements of a unit; ``begin_unit`` starts one.
    """

    _moment: dt.datetime | None = None

    def add_functions(self) -> None:
        """Define ``now``; deterministic, for within a statement it is constant."""
        self.create_function("now", 0, self._now, deterministic=True)
        self.create_function("now", 1, self._now, deterministic=True)

    def begin_unit(self) -> None:
        """Begin a unit of work: the next ``now()`` is another moment."""
        self._moment = None

    def moment(self) -> str:
        """Begin a unit; the moment that ``now()`` is in it."""
        self._moment = dt.datetime.now(dt.UTC)
        return utc_text(self._moment)

    def _now(self, seconds: float = 0.0) -> str:
        if self._moment is None:
            self._moment = dt.datetime.now(dt.UTC)
        moment = self._moment + dt.timedelta(seconds=seconds) if seconds else self._moment
        return utc_text(moment)
