"""operator_chat_key: idempotency keys of chats and of added items."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from operator_svc.db import ConstraintViolation, Database
from operator_svc.models import ChatKey, Record
from operator_svc.protocol.intents import Renewal
from operator_svc.stores.message_rows import Key
from operator_svc.stores.writes import columns_of

T = TypeVar("T")

TAKEN = ("unique", "not_null")
"""Violations by which the table refuses a key that stands for something else."""


class KeyTable(NamedTuple):
    """A table of keys, and the query that deletes one whose session is being deleted."""

    name: str
    release: str


CHAT_KEYS = KeyTable("operator_chat_key", "chat_key_release")


class KeyTakenError(Exception):
    """An idempotency key stands for something that was stored before; nothing was stored."""


class ReleasedKey(Record, frozen=True):
    """A key whose session is gone."""

    session_id: str


class ChatKeyStore:
    """Reads keys, which are written with what they stand for."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, scope: str, key: str) -> ChatKey | None:
        """Read what ``key`` stands for within ``scope``; None if nothing."""
        return await self._db.fetch_one("chat_key_get", ChatKey, scope=scope, key=key)


async def write_keyed(
    db: Database,
    key: Key | None,
    write: Callable[[dict[str, Any]], Awaitable[T]],
    table: KeyTable = CHAT_KEYS,
) -> T:
    """Call ``write``, which stores the columns of ``key`` that it is given, and return its result.

    Raises KeyTakenError.
    """
    columns = columns_of(Renewal, key and key.renewal)
    columns["scope"] = key and key.scope
    columns["key"] = key and key.key
    columns["body_hash"] = key and key.body_hash
    renewed = key is None or key.renewal is None
    while True:
        try:
            return await write(columns)
        except ConstraintViolation as violation:
            if key is None or not violation.constraint.startswith(table.name):
                raise
            if violation.kind not in TAKEN:
                raise
            if await db.write(table.release, ReleasedKey, scope=key.scope, key=key.key):
                continue
            if renewed:
                raise KeyTakenError from violation
            renewed = True  # what it may be taken from was stored just now
