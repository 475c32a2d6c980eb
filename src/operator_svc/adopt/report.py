"""Counts of what adopting a legacy database did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class Counts:
    """The rows of one table.

    ``read`` is ``written`` + ``joined`` + ``skipped`` + ``refused``. ``mended`` ones are among the
    written; ``made`` ones are new rows that other rows needed, and for which no legacy row stands.
    """

    read: int = 0
    written: int = 0
    made: int = 0
    joined: int = 0
    mended: int = 0
    skipped: int = 0
    refused: int = 0


COLUMNS = tuple(column.name for column in fields(Counts))


@dataclass(slots=True)
class Report:
    """The counts by table, and for each reason (table, what happened, why) how often it was."""

    tables: dict[str, Counts]
    reasons: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def written(self, table: str, mended: Collection[str] = ()) -> None:
        """A row was written, mended for these reasons."""
        counts = self.tables[table]
        counts.written += 1
        if mended:
            counts.mended += 1
            self.reasons.update([(table, "mended", reason) for reason in mended])

    def made(self, table: str, why: str) -> None:
        """A row was made that others needed."""
        self.tables[table].made += 1
        self.reasons[table, "made", why] += 1

    def joined(self, table: str, why: str) -> None:
        """A row became part of another one."""
        self.tables[table].joined += 1
        self.reasons[table, "joined", why] += 1

    def skipped(self, table: str, why: str) -> None:
        """A row was left out that is here already, or was deleted here."""
        self.tables[table].skipped += 1
        self.reasons[table, "skipped", why] += 1

    def refused(self, table: str, why: str) -> None:
        """A row cannot be brought in."""
        self.tables[table].refused += 1
        self.reasons[table, "refused", why] += 1
