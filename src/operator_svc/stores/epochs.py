"""Epochs as clients know them: of a session, in one history of its database."""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import TypeVar

import msgspec

from operator_svc.db import Reads

R = TypeVar("R", bound=msgspec.Struct)


def epoch_in(database: Reads, stored: str) -> str:
    """The epoch of a session whose row has ``stored``.

    It is another one after the database was switched over to a standby or restored: commits may be
    missing, and numbers of events that clients saw stand for other events by now. A client that
    was ahead finds out by it, also when the log has grown past what it saw.
    """
    history = database.history
    return _in_history(stored, history) if history else stored


@lru_cache(maxsize=4096)
def _in_history(stored: str, history: str) -> str:
    return str(uuid.uuid5(uuid.UUID(stored), history))


def with_epoch(database: Reads, record: R) -> R:
    """A record with its ``epoch`` as clients know it; None stays None."""
    stored: str | None = record.epoch  # type: ignore[attr-defined]  # each record here has one
    if stored is None or (epoch := epoch_in(database, stored)) is stored:
        return record
    return msgspec.structs.replace(record, epoch=epoch)
