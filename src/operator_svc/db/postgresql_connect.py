"""Connections to PostgreSQL: which of a URL's hosts, and what holds on each connection."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg  # type: ignore[import-untyped]  # it has no types
import structlog

from operator_svc.db.postgresql_limits import begin, cut_if_late, end
from operator_svc.db.records import json_text, json_value
from operator_svc.errors import ConfigurationError

log = structlog.get_logger(__name__)

HOST_SECONDS = 2.0
"""Seconds that one of several hosts may take to accept a connection; ``connect_timeout`` in the URL
overrides it."""

READ_ONLY = "SELECT current_setting('transaction_read_only')"
"""Says ``on`` on a standby and where somebody has set the server to take no writes."""

_MEANING = {"DateStyle": "ISO", "TimeZone": "UTC", "standard_conforming_strings": "on"}
"""Settings that say what text means in SQL, whatever those of the role or the database are:
PostgreSQL cannot read all times that it writes in other styles. Poolers keep these for a client."""
_STATEMENTS = 1024
_CLOSE_SECONDS = 2.0


class Connector:
    """Opens connections to the one of a URL's hosts that takes writes, the last such host first.

    A host that is away, refuses or takes no writes is passed over, as by libpq's
    ``target_session_attrs=read-write``, whether the URL says so or not: what a standby shows is
    old, and looks as if commits had been lost. With ``standby`` any server will do. ``pooled``
    says that a pooler may give each transaction another session. Raises ConfigurationError for a
    malformed URL.
    """

    def __init__(
        self, dsn: str, application: str, *, pooled: bool = False, standby: bool = False
    ) -> None:
        try:
            self._hosts, self._host_seconds = _split(dsn)
        except ValueError as error:
            raise ConfigurationError([f"PostgreSQL: {error}"]) from error
        self._application = application
        self._pooled = pooled
        self._any = pooled or standby

    async def open(self, seconds: float) -> asyncpg.Connection:
        """A connection, within ``seconds``. Raises what asyncpg raises for the last host."""
        until = asyncio.get_running_loop().time() + seconds
        failure: Exception | None = None
        for tried, host in enumerate([*self._hosts], 1):
            left = max(until - asyncio.get_running_loop().time(), 0.001)
            untried = len(self._hosts) - tried + 1
            share = left if untried == 1 else min(left / untried, HOST_SECONDS)
            try:
                connection = await self._open(host, min(share, self._host_seconds))
            except Exception as error:  # of whatever kind: another host may let us in
                failure = error
                continue
            self._hosts.remove(host)
            self._hosts.insert(0, host)
            return connection
        assert failure is not None, "a URL has at least one host"
        raise failure

    async def _open(self, dsn: str, seconds: float) -> asyncpg.Connection:
        async with asyncio.timeout(seconds):
            connection = await asyncpg.connect(
                dsn,
                timeout=seconds,
                # A pooler reports the server that it was connected to first, not of this one.
                target_session_attrs="any" if self._any else "read-write",
                statement_cache_size=0 if self._pooled else _STATEMENTS,
                max_cached_statement_lifetime=0,
                server_settings={"application_name": self._application, **_MEANING},
            )
            try:
                await cut_if_late(self._set_up(connection, seconds), seconds, connection)
            except BaseException:
                connection.terminate()
                raise
        return connection

    async def _set_up(self, connection: asyncpg.Connection, seconds: float) -> None:
        """Have each statement see what was committed before it began, whatever the server's
        default is: the queries lock first and mean what they read then. This and how values are
        converted stays so for the connection's life: a pool need not reset it."""
        if self._pooled:
            await connection.execute(begin(connection, seconds))
            await _set_codecs(connection)
            if await connection.fetchval(READ_ONLY) != "off":
                raise asyncpg.TargetServerAttributeNotMatched("the server takes no writes")
            await end(connection, "COMMIT")
        else:
            await connection.execute("SET default_transaction_isolation = 'read committed'")
            await _set_codecs(connection)


async def _set_codecs(connection: asyncpg.Connection) -> None:
    """Have a connection give JSON as Python values and uuids as text."""
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(
            kind, schema="pg_catalog", encoder=json_text, decoder=json_value
        )
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str)


def _split(dsn: str) -> tuple[list[str], float]:
    """A URL for each host of ``dsn``, and how long each may take to let us in.

    asyncpg goes through several hosts itself, but gives the first silent one all the time, and
    ends at the first that answers with an error.
    """
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query.pop("target_session_attrs", None)
    seconds = float(query.pop("connect_timeout", 0)) or float("inf")
    login, at, hosts = parts.netloc.rpartition("@")
    if hosts:
        netlocs = [f"{login}{at}{host}" for host in hosts.split(",")]
        queries = [query] * len(netlocs)
    else:
        names = query.pop("host", "").split(",")
        ports = query.pop("port", "").split(",")
        if len(ports) == 1:
            ports *= len(names)
        if len(ports) != len(names):
            raise ValueError("as many ports as hosts are wanted, or one")
        netlocs = [parts.netloc] * len(names)
        queries = [
            query | ({"host": name} if name else {}) | ({"port": port} if port else {})
            for name, port in zip(names, ports, strict=True)
        ]
    urls = [
        parts._replace(netloc=netloc, query=urlencode(own)).geturl()
        for netloc, own in zip(netlocs, queries, strict=True)
    ]
    for url in urls:
        _ = urlsplit(url).port  # raises ValueError for what is no port
    return urls, seconds


async def retire(connection: asyncpg.Connection) -> None:
    """Close a connection politely, else cut it. With a timeout of its own the driver would ask for
    a cancellation where nobody answers."""
    try:
        await cut_if_late(connection.close(), _CLOSE_SECONDS, connection)
    except Exception as error:  # whatever it was, the connection is gone
        log.debug("a connection was cut", error=repr(error))
