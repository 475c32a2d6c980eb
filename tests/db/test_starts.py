"""The start of a process on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.eventually import WITHIN
from tests.fakes.relay import Relay
from tests.rest.rest_service import running

if TYPE_CHECKING:
    from tests.fakes.postgres import PostgresServer

TRIAL, LISTENING, LEASE, POOL = 2, 1, 2, 5
"""Connections that look for a pooler, that listen, that keep the lease, and that serve the rest."""


async def test_a_start_and_its_first_chat_take_few_connections(
    postgres_server: PostgresServer, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_svc.db.pool.PATIENCE", WITHIN)
    name = postgresql_url.partition("@/")[2].partition("?")[0]
    async with (
        Relay(postgres_server.folder) as relay,
        running(f"postgresql://postgres@/{name}?host={relay.folder}") as one,
    ):
        assert (await one.chat("hello"))["metadata"]["status"] == "ok"
        assert relay.accepted <= TRIAL + LISTENING + LEASE + POOL
