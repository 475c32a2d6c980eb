"""Notifications between processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from operator_svc.db import Listener, listener, postgresql_listen
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.settings import Settings
from tests.fakes.eventually import WITHIN, eventually
from tests.fakes.relay import Relay

if TYPE_CHECKING:
    from tests.fakes.postgres import PostgresServer


class Ear:
    """A listener, what it heard and how often it was lost."""

    def __init__(self, url: str, seconds: float = 10.0) -> None:
        self.heard: list[tuple[str, str]] = []
        self.losses = 0
        self.listener: Listener = listener(
            Settings(database_url=url, db_timeout=seconds),
            ["news", "other"],
            lambda channel, payload: self.heard.append((channel, payload)),
            self.lose,
        )

    def lose(self) -> None:
        """The callback of ``on_lost``."""
        self.losses += 1


@pytest.fixture
async def ear(postgresql_url: str) -> AsyncIterator[Ear]:
    """An open listener on the shared server."""
    one = Ear(postgresql_url)
    await one.listener.open()
    yield one
    await one.listener.aclose()


async def test_all_who_listen_hear(ear: Ear, postgresql_url: str) -> None:
    second = Ear(postgresql_url)
    await second.listener.open()
    await ear.listener.notify("news", "ñ 1")
    await second.listener.notify("other", "")
    await ear.listener.notify("unheard", "x")
    await ear.listener.notify("news", "x" * 7999)
    await eventually(lambda: len(ear.heard) == len(second.heard) == 3)
    assert ear.heard == second.heard == [("news", "ñ 1"), ("other", ""), ("news", "x" * 7999)]
    await second.listener.aclose()
    assert (ear.losses, second.losses) == (0, 0)


async def test_many_notifications_at_once_take_turns(ear: Ear) -> None:
    await asyncio.gather(*[ear.listener.notify("news", str(i)) for i in range(50)])
    await eventually(lambda: len(ear.heard) == 50)


async def test_a_notification_that_is_too_long_is_refused_and_nothing_is_lost(ear: Ear) -> None:
    with pytest.raises(Exception, match="payload string too long"):
        await ear.listener.notify("news", "x" * 8000)
    await ear.listener.notify("news", "y")
    await eventually(lambda: ear.heard)
    assert ear.losses == 0


async def test_a_loss_is_told_once_and_opening_again_hears_again(
    ear: Ear, postgres_server: PostgresServer
) -> None:
    for loss in (1, 2):
        postgres_server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'operator-svc bus'"
        )
        await eventually(lambda: not ear.listener.is_open)
        assert ear.losses == loss
        with pytest.raises(OperatorError) as caught:
            await ear.listener.notify("news", "lost")
        assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
        await ear.listener.open()
        await ear.listener.open()
        await ear.listener.notify("news", f"again {loss}")
    await eventually(lambda: len(ear.heard) == 2)
    await asyncio.sleep(0.05)  # time for one more loss
    assert ear.losses == 2


async def test_closing_is_no_loss(ear: Ear) -> None:
    await ear.listener.aclose()
    await asyncio.sleep(0.05)  # time for a loss
    assert ear.losses == 0
    with pytest.raises(OperatorError):
        await ear.listener.check()


async def test_a_server_that_hangs_is_a_loss_that_check_finds(
    own_postgres_server: PostgresServer,
) -> None:
    ear = Ear(own_postgres_server.url(), seconds=3.0)  # none of which a busy machine takes
    await ear.listener.open()
    await ear.listener.check()
    (row,) = own_postgres_server.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'operator-svc bus'"
    )
    for pid in (own_postgres_server.pid, row[0]):
        os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(WITHIN):
            with pytest.raises(OperatorError):
                await ear.listener.check()
            assert ear.losses == 1
            with pytest.raises(OperatorError):
                await ear.listener.open()
    finally:
        for pid in (own_postgres_server.pid, row[0]):
            os.kill(pid, signal.SIGCONT)

    async def opened() -> bool:
        try:
            await ear.listener.open()
        except OperatorError:  # it goes on slowly
            return False
        return True

    await eventually(opened)
    await ear.listener.notify("news", "back")
    await eventually(lambda: ear.heard == [("news", "back")])
    own_postgres_server.stop(signal.SIGQUIT)
    await eventually(lambda: ear.losses == 2)
    with pytest.raises(OperatorError):
        await ear.listener.open()


async def test_a_notification_whose_answer_is_lost_keeps_nobody_waiting_for_long(
    postgres_server: PostgresServer, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_listen, "ANSWER_SECONDS", 0.3)
    name = postgresql_url.partition("@/")[2].partition("?")[0]
    async with Relay(postgres_server.folder) as relay:
        url = f"postgresql://postgres@/{name}?host={relay.folder}"
        ear = Ear(url, seconds=2 * WITHIN)
        await ear.listener.open()
        relay.lose_answers(lambda _: True, cut=False)
        async with asyncio.timeout(WITHIN):
            with pytest.raises(OperatorError):
                await ear.listener.notify("news", "lost")
        assert ear.losses == 1
        relay.lose_answers(lambda _: False)
        await ear.listener.open()
        await ear.listener.notify("news", "back")
        await eventually(lambda: ear.heard == [("news", "back")])
        await ear.listener.aclose()


def test_sqlite_has_no_listeners(sqlite_url: str) -> None:
    with pytest.raises(ConfigurationError):
        Ear(sqlite_url)
