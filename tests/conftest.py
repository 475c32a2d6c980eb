"""Databases for all suites: real ones of both engines, migrated once a process of tests.

A suite that asks for no PostgreSQL does not pay for its start; one that does fails where it
cannot be started, and never skips.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aioresponses.core
import pytest
import structlog
from aiohttp import ClientResponse
from hypothesis import settings as hypothesis_settings

from operator_svc.bus import PostgresqlBus
from operator_svc.db import Database, connect
from operator_svc.db.migrations import migrate
from operator_svc.settings import Settings
from tests.fakes.database_pool import DatabasePool
from tests.fakes.nats_server import NatsServer
from tests.fakes.postgres import PostgresServer


class _MendedResponse(ClientResponse):
    """aioresponses 0.7.9 does not know the ``stream_writer`` that aiohttp 3.14 asks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


# How long an example takes says more of the machine than of the code.
hypothesis_settings.register_profile("any machine", deadline=None)
hypothesis_settings.load_profile("any machine")

# The usual formatter shows local variables, each as a whole: a service that logs a failure stands
# still for seconds, on the thread of its event loop, so that all it waits for is too late.
structlog.dev.ConsoleRenderer.get_active().exception_formatter = structlog.dev.plain_traceback

aioresponses.core.ClientResponse = _MendedResponse  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server shared by the tests of this process; do not stop it."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for one test, which may stop, kill and start it."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def _postgresql_databases(postgres_server: PostgresServer) -> DatabasePool:
    return DatabasePool(postgres_server)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgresql_url(
    postgres_server: PostgresServer, _postgresql_databases: DatabasePool
) -> Iterator[str]:
    """The URL of a migrated, empty PostgreSQL database for this test alone."""
    name = _postgresql_databases.take()
    yield postgres_server.url(name)
    _postgresql_databases.give_back(name)


@pytest.fixture
def empty_postgresql_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a PostgreSQL database without any table, for this test alone."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def sqlite_url(_sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a migrated, empty SQLite file for this test alone."""
    path = tmp_path / "operator.db"
    shutil.copyfile(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """A server of NATS for all tests; who stops it starts it again."""
    server = NatsServer()
    yield server
    server.remove()


@pytest.fixture(params=["postgresql", "nats"])
def bus_url(request: pytest.FixtureRequest) -> str:
    """The bus between processes: the test runs once by PostgreSQL's notifications, and once by
    NATS. A single process on SQLite has the third bus, which tells nobody."""
    return request.getfixturevalue("nats_server").url if request.param == "nats" else ""


@pytest.fixture(autouse=True)
def _on_every_bus(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse a second process beside the first to a test that runs on one bus alone."""
    runs_on_each = not {"bus_url", "bus_pods"}.isdisjoint(request.fixturenames)
    if runs_on_each or request.node.get_closest_marker("one_bus"):
        yield
        return
    opened: set[PostgresqlBus] = set()
    open_bus, close_bus = PostgresqlBus.open, PostgresqlBus.aclose

    async def counted(bus: PostgresqlBus, *args: Any, **kwargs: Any) -> None:
        opened.add(bus)
        assert len(opened) == 1, "a test of several processes takes bus_url, or is marked one_bus"
        await open_bus(bus, *args, **kwargs)

    async def closed(bus: PostgresqlBus) -> None:
        opened.discard(bus)
        await close_bus(bus)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgresqlBus, "open", counted)
        patch.setattr(PostgresqlBus, "aclose", closed)
        yield


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty database: the test runs once on each engine."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database without any table: the test runs once on each engine."""
    return str(request.getfixturevalue(f"empty_{request.param}_url"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open, migrated, empty database: the test runs once on each engine."""
    opened = await connect(Settings(database_url=database_url))
    yield opened
    await opened.aclose()


@pytest.fixture
async def sqlite_database(sqlite_url: str) -> AsyncIterator[Database]:
    """An open, migrated, empty SQLite database."""
    opened = await connect(Settings(database_url=sqlite_url))
    yield opened
    await opened.aclose()


@pytest.fixture
async def postgresql_database(postgresql_url: str) -> AsyncIterator[Database]:
    """An open, migrated, empty PostgreSQL database."""
    opened = await connect(Settings(database_url=postgresql_url))
    yield opened
    await opened.aclose()
