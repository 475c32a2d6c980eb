"""A chat whose history cannot be read once it is stored, on both engines."""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

import msgspec

from operator_svc.db import Database
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.stores.messages import MessageStore

R = TypeVar("R", bound=msgspec.Struct)


class Overtaken:
    """A database in which another chat begins at the same moment as each, and that does not
    answer the read that follows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.history = database.history
        self.reads = 0

    async def write(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        rows = await self._database.write(query, record, **params)
        return [msgspec.structs.replace(row, exchanges=None) for row in rows]

    async def fetch(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        self.reads += 1
        raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "it does not answer")


async def test_start_whose_history_cannot_be_read_goes_on_without(database: Database) -> None:
    await MessageStore(database).start_new(
        session_id="s", epoch=str(uuid.uuid4()), user_id="ana", source="api", content="hello",
        metadata={}, pod_id="pod", key=None,
    )  # fmt: skip
    overtaken = Overtaken(database)
    started = await MessageStore(overtaken).start(  # type: ignore[arg-type]  # two of its calls
        session_id="s", viewer=None, content="and now", metadata={}, pod_id="pod", key=None,
        exchanges=5, max_chars=100,
    )  # fmt: skip
    assert started is not None
    assert (overtaken.reads, started.exchanges) == (1, [])
    stored = await MessageStore(database).get(started.message_id)
    assert stored is not None
    assert stored.content == "and now"
