"""State of adopting a legacy database, in a temporary file that ends with it.

Millions of ids would not fit the memory that is allowed; SQLite keeps them in a file without a
name and holds a few pages of it.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

from operator_svc.errors import ConfigurationError
from operator_svc.timestamps import utc_text

SHIFTED = 2**62
"""A floor that no id is above."""

_CACHED = 8192
_SCHEMA = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "CREATE TABLE session (name TEXT PRIMARY KEY, target TEXT, user_id TEXT, gone INT, made INT,"
    " floor INT, added INT NOT NULL DEFAULT 0, last TEXT) WITHOUT ROWID",
    "CREATE TABLE joined (target TEXT, source TEXT, created_at TEXT, updated_at TEXT, whole INT)",
    # No type: a legacy id is an integer nearly always, and a text else.
    "CREATE TABLE message (old_id PRIMARY KEY, new_id INT, made INT) WITHOUT ROWID",
    "BEGIN",
)


@dataclass(slots=True)
class MappedSession:
    """The session to which messages go.

    ``name`` is the id that it should have, ``target`` the one that it has; ``gone`` that it was
    deleted after it had been adopted; ``made`` that no legacy row stands for it. Messages keep
    their ids only above ``floor``, so that they stay in their order.
    """

    name: str
    target: str
    user_id: str
    gone: bool = False
    made: bool = False
    floor: int = 0


@contextmanager
def open_id_map() -> Iterator[IdMap]:
    """An empty map. Raises ConfigurationError where there is no room for its file."""
    try:
        with closing(IdMap()) as id_map:
            yield id_map
    except sqlite3.OperationalError as error:
        raise ConfigurationError([f"no temporary file can be written: {error}"]) from error


class IdMap:
    """Sessions by name, and messages by legacy id, as they are in the target."""

    def __init__(self) -> None:
        self._raw = sqlite3.connect("", isolation_level=None)
        for statement in _SCHEMA:
            self._raw.execute(statement)
        self._recent: OrderedDict[str, MappedSession] = OrderedDict()

    def close(self) -> None:
        """Forget all."""
        self._raw.close()

    def session(self, name: str) -> MappedSession | None:
        """The session to which messages go, if it was met already."""
        mapped = self._recent.get(name)
        if mapped is not None:
            self._recent.move_to_end(name)
            return mapped
        row = self._raw.execute(
            "SELECT target, user_id, gone, made, floor FROM session WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            return None
        target, user_id, gone, made, floor = row
        mapped = MappedSession(name, target, user_id, bool(gone), bool(made), floor)
        self._keep(mapped)
        return mapped

    def add_session(self, mapped: MappedSession) -> None:
        """Remember a session that was not met before."""
        self._raw.execute(
            "INSERT INTO session (name, target, user_id, gone, made, floor)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (mapped.name, mapped.target, mapped.user_id, mapped.gone, mapped.made, mapped.floor),
        )
        self._keep(mapped)

    def shift(self, mapped: MappedSession) -> None:
        """From here on no message of this session keeps its id."""
        if mapped.floor != SHIFTED:
            mapped.floor = SHIFTED
            self._raw.execute("UPDATE session SET floor = ? WHERE name = ?", (SHIFTED, mapped.name))

    def _keep(self, mapped: MappedSession) -> None:
        self._recent[mapped.name] = mapped
        if len(self._recent) > _CACHED:
            self._recent.popitem(last=False)

    def add_counts(self, counts: Mapping[str, tuple[int, dt.datetime]]) -> None:
        """Add to sessions, by name, how many messages they were given and when the last was."""
        self._raw.executemany(
            "UPDATE session SET added = added + ?, last = max(coalesce(last, ''), ?)"
            " WHERE name = ?",
            [(added, utc_text(last), name) for name, (added, last) in counts.items()],
        )

    def counts(self, size: int) -> Iterator[list[tuple[str, int, dt.datetime, bool]]]:
        """The targets that were given messages, how many, when the last was, and whether they
        were made for them; in lists of ``size``."""
        cursor = self._raw.execute("SELECT target, added, last, made FROM session WHERE added > 0")
        while rows := cursor.fetchmany(size):
            yield [(t, n, dt.datetime.fromisoformat(last), bool(m)) for t, n, last, m in rows]

    def add_joins(self, rows: Iterable[tuple[str, str, dt.datetime, dt.datetime, bool]]) -> None:
        """Remember what sessions that are there are joined with, as for
        ``AdoptionStore.join_sessions``."""
        self._raw.executemany(
            "INSERT INTO joined VALUES (?, ?, ?, ?, ?)",
            ((t, source, utc_text(first), utc_text(last), w) for t, source, first, last, w in rows),
        )

    def joins(self, size: int) -> Iterator[list[tuple[str, str, dt.datetime, dt.datetime, bool]]]:
        """The rows of ``add_joins``, in their order; in lists of ``size``."""
        read = dt.datetime.fromisoformat
        cursor = self._raw.execute("SELECT * FROM joined ORDER BY rowid")
        while rows := cursor.fetchmany(size):
            yield [(t, s, read(first), read(last), bool(w)) for t, s, first, last, w in rows]

    def add_messages(
        self, ids: Iterable[tuple[int | str, int | None]], *, made: bool = False
    ) -> None:
        """Remember the new ids of legacy messages; None where they are gone. ``made`` says that no
        legacy row stands for them. The first one of a legacy id stays."""
        self._raw.executemany(
            "INSERT OR IGNORE INTO message VALUES (?, ?, ?)",
            ((old_id, new_id, made) for old_id, new_id in ids),
        )

    def messages(
        self, old_ids: Iterable[int | str], *, made: bool = True
    ) -> dict[int | str, int | None]:
        """The new ids of those of ``old_ids`` that were met, ``made`` ones among them or not."""
        found: dict[int | str, int | None] = {}
        for old_id in set(old_ids):
            row = self._raw.execute(
                "SELECT new_id FROM message WHERE old_id = ? AND made <= ?", (old_id, made)
            ).fetchone()
            if row is not None:
                found[old_id] = row[0]
        return found
