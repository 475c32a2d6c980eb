"""The one row that a write gives back, and the parts that a write takes."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from operator_svc.db import ConstraintViolation, Database
from operator_svc.models import Record

R = TypeVar("R", bound=msgspec.Struct)


class RecordId(Record, frozen=True):
    """A row that a query is about, by the number that it has."""

    id: int


async def write_one(db: Database, query: str, record: type[R], /, **params: Any) -> R | None:
    """Run a write; its row, or None where it found nothing to change."""
    rows = await db.write(query, record, **params)
    return rows[0] if rows else None


async def insert_one(db: Database, query: str, record: type[R], /, **params: Any) -> R | None:
    """Insert a row; None also where what it refers to was deleted in this very moment."""
    try:
        return await write_one(db, query, record, **params)
    except ConstraintViolation as violation:
        if violation.kind != "foreign_key":
            raise
        return None


def columns_of(kind: type[msgspec.Struct], part: msgspec.Struct | None) -> dict[str, Any]:
    """The parameters that are a part of a write, all NULL where there is none."""
    return dict.fromkeys(kind.__struct_fields__) if part is None else msgspec.structs.asdict(part)
