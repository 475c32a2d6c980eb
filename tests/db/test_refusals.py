"""A PostgreSQL that refuses a service which runs: its role, its database, its connections, its
writes. Clients are told to come again, and are served without a restart once it is mended."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiohttp import ClientResponse
from structlog.testing import capture_logs

from operator_svc.db import connect
from operator_svc.db.migrations import migrate
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.settings import Settings
from tests.fakes.certificates import self_signed
from tests.fakes.eventually import eventually
from tests.fakes.pgbouncer import PgBouncer
from tests.fakes.postgres import PostgresServer
from tests.rest.rest_service import Service, running

ROLE, SECRET = "plain", "a-secret-of-the-role"
LONG = "[[rate=20]] [[tokens=60]]"
"""Asks for a reply that takes three seconds."""
END = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
CLOSE = "ALTER DATABASE {name} ALLOW_CONNECTIONS false"
OPEN = "ALTER DATABASE {name} ALLOW_CONNECTIONS true"
REFUSALS = {
    "another password": (
        [f"ALTER ROLE {ROLE} PASSWORD 'changed'"],
        [f"ALTER ROLE {ROLE} PASSWORD '{SECRET}'"],
    ),
    "no login": ([f"ALTER ROLE {ROLE} NOLOGIN"], [f"ALTER ROLE {ROLE} LOGIN"]),
    "no connection of the role is left": (
        [f"ALTER ROLE {ROLE} CONNECTION LIMIT 0"],
        [f"ALTER ROLE {ROLE} CONNECTION LIMIT -1"],
    ),
    "no connection of the database is left": (
        ["ALTER DATABASE {name} CONNECTION LIMIT 0"],
        ["ALTER DATABASE {name} CONNECTION LIMIT -1"],
    ),
    "closed": ([CLOSE], [OPEN]),
    "no right to connect": (
        ["REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"],
        ["GRANT CONNECT ON DATABASE {name} TO PUBLIC"],
    ),
    "another name": (
        [CLOSE, END, "ALTER DATABASE {name} RENAME TO {name}_moved"],
        ["ALTER DATABASE {name}_moved RENAME TO {name}", OPEN],
    ),
}
"""Statements of the owner of the server, and those that take them back."""


@dataclass
class Refusing:
    """A database of a server, and the settings of a service that uses it as a plain role."""

    server: PostgresServer
    name: str
    settings: dict[str, Any]

    def turn(self, *statements: str) -> None:
        """Have the server refuse, or be mended; connections that were open end."""
        for statement in (*statements, END):
            self.server.execute(statement.format(name=self.name))


@pytest.fixture(scope="module")
def plain_template(postgres_server: PostgresServer) -> Iterator[str]:
    """A migrated database whose tables a role without special rights owns."""
    postgres_server.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{SECRET}'")
    postgres_server.ask_for_password(ROLE)
    name = postgres_server.create_database()
    with psycopg.connect(postgres_server.url(name), autocommit=True) as owner:
        owner.execute(f"GRANT ALL ON SCHEMA public TO {ROLE}".encode())
    migrate(of_role(postgres_server.url(name)))
    yield name
    postgres_server.drop_database(name)
    postgres_server.execute(f"DROP ROLE {ROLE}")


def of_role(url: str) -> str:
    return url.replace("postgres@", f"{ROLE}:{SECRET}@", 1)


@pytest.fixture(params=["direct", "pooled"])
def refusing(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, plain_template: str
) -> Iterator[Refusing]:
    """A database that a service uses directly, and by way of a pooler."""
    name = postgres_server.create_database(plain_template)
    url = of_role(postgres_server.url(name))
    if request.param == "direct":
        yield Refusing(postgres_server, name, {"database_url": url})
    else:
        login = f"user={ROLE} password={SECRET}"
        pooler = PgBouncer(postgres_server.folder, "transaction", login=login)
        settings = {"database_url": pooler.url(name), "database_direct_url": url}
        yield Refusing(postgres_server, name, settings)
        pooler.stop()
    postgres_server.drop_database(name)


async def refused(response: ClientResponse) -> None:
    """Check that a client is told to come again."""
    body = await response.json()
    assert (response.status, body["error"]) == (503, "database_unavailable"), body
    assert int(response.headers["Retry-After"]) >= 1


async def status(service: Service, path: str) -> int:
    return (await service.get(path)).status


async def said(service: Service, session_id: str) -> list[str]:
    """The messages of a session."""
    history = await (await service.get(f"/operator/session/{session_id}")).json()
    return [message["content"] for message in history["messages"]]


@pytest.mark.parametrize("how", REFUSALS)
async def test_a_service_that_is_refused_tells_so_and_recovers_with_all_that_was_said(
    refusing: Refusing, how: str
) -> None:
    refuse, mend = REFUSALS[how]
    keyed = {"headers": {"Idempotency-Key": "k"}}
    with capture_logs() as logs:
        async with running(**refusing.settings) as service:
            before = await service.chat("before", session_id="s")
            long = asyncio.create_task(answered(service, LONG, "long"))
            await eventually(lambda: len(service.operator.core.running) == 1)
            await asyncio.to_thread(refusing.turn, *refuse)
            try:
                for _ in range(2):
                    body = {"message": "meanwhile", "session_id": "s"}
                    calls = (
                        service.post("/operator/chat", body, **keyed),
                        service.get("/operator/session/s"),
                        service.get("/operator/sessions"),
                        service.get("/health/ready"),
                    )
                    for response in await asyncio.gather(*calls):
                        await refused(response)
                assert await status(service, "/health") == 200
                assert await status(service, "/health/live") == 200
            finally:
                await asyncio.to_thread(refusing.turn, *mend)
            await eventually(lambda: ready(service))
            body = {"message": "meanwhile", "session_id": "s"}
            response = await service.post("/operator/chat", body, **keyed)
            assert response.status == 200, await response.text()
            after = await response.json()
            told = [before["response"], "meanwhile", after["response"]]
            assert await said(service, "s") == ["before", *told]
            reply = await long
            assert await said(service, "long") == [LONG, reply]
    events = [entry["event"] for entry in logs]
    assert "the database cannot be reached" in events
    assert "the database is reached again" in events
    assert "request failed" not in events
    assert SECRET not in repr(logs)


async def answered(service: Service, message: str, session_id: str) -> str:
    """The reply to a message, whose caller comes again: a call ends where the reply's end cannot be
    stored for some seconds. One that waits in the pooler's queue is refused after its timeout."""
    body = {"message": message, "session_id": session_id}
    while True:
        response = await service.post("/operator/chat", body, headers={"Idempotency-Key": message})
        if response.status == 200:
            return str((await response.json())["response"])
        await refused(response)
        await asyncio.sleep(0.1)  # a caller's pause, much shorter than the one that it is told


async def ready(service: Service) -> bool:
    return await status(service, "/health/ready") == 200


FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON operator_message EXECUTE FUNCTION full_disk()
"""


async def test_a_server_without_room_tells_why_in_the_log_and_is_used_again(
    refusing: Refusing,
) -> None:
    """The process remains ready: what is stored can be read meanwhile."""
    keyed: dict[str, Any] = {"headers": {"Idempotency-Key": "k"}}
    body = {"message": "meanwhile", "session_id": "s"}
    with capture_logs() as logs:
        async with running(**refusing.settings) as service:
            before = await service.chat("before", session_id="s")
            # On a thread: it waits for transactions of this process, which go on meanwhile.
            await asyncio.to_thread(refusing.server.execute, FULL, refusing.name)
            for _ in range(3):
                await refused(await service.post("/operator/chat", body, **keyed))
            assert await said(service, "s") == ["before", before["response"]]
            assert await ready(service)
            await asyncio.to_thread(
                refusing.server.execute, "DROP FUNCTION full_disk CASCADE", refusing.name
            )
            after = await (await service.post("/operator/chat", body, **keyed)).json()
            told = [before["response"], "meanwhile", after["response"]]
            assert await said(service, "s") == ["before", *told]
    (line,) = [one for one in logs if one["event"] == "the database cannot do this now"]
    assert line["log_level"] == "warning"
    assert "No space left on device" in line["error"]


async def _offer_tls(
    context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Accept what a client of PostgreSQL asks for first, and the handshake after it."""
    await reader.readexactly(8)
    writer.write(b"S")
    with suppress(OSError):
        await writer.start_tls(context)
    writer.transport.abort()


async def test_a_certificate_that_cannot_be_verified_is_a_temporary_error(tmp_path: Path) -> None:
    """One that has expired is renewed by somebody else, and systemd tries again until then."""
    known, other = tmp_path / "known", tmp_path / "other"
    for folder in (known, other):
        folder.mkdir()
    authority, shown = self_signed(known), self_signed(other)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(shown, other / "key.pem")
    server = await asyncio.start_server(partial(_offer_tls, context), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"postgresql://x@127.0.0.1:{port}/y?sslmode=verify-full&sslrootcert={authority}"
    async with server:
        with pytest.raises(OperatorError) as caught:
            await connect(Settings(database_url=url))
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
