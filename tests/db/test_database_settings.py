"""Settings that the owner of a PostgreSQL database has made for it, other than usual ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientResponse

from operator_svc.db import connect
from operator_svc.db.migrations import migrate
from operator_svc.services.event_retention import purge_events
from operator_svc.settings import Settings
from operator_svc.stores.events import EventStore
from tests.db.things import beside
from tests.fakes.eventually import eventually
from tests.fakes.pgbouncer import PgBouncer, through
from tests.fakes.postgres import PostgresServer
from tests.rest.rest_service import Service, running

UNUSUAL = {
    "DateStyle": "'SQL, DMY'",
    # PostgreSQL writes its short name, ChST, with this DateStyle, and cannot read it.
    "TimeZone": "'Pacific/Guam'",
    "IntervalStyle": "'sql_standard'",
    "bytea_output": "'escape'",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "client_encoding": "'LATIN1'",
    "default_text_search_config": "'pg_catalog.spanish'",
    "search_path": "'our tables', public",
    "array_nulls": "off",
    "transform_null_equals": "on",
}
SHOWN = ("session/s", "session/s/events", "session/s/export", "sessions")
KEPT_DAYS = 2.0
HOUR = timedelta(hours=1)
MOMENT = re.compile(r'"(\d{4}-\d\d-\d\d[T ][^"]*)"')


@pytest.fixture
def unusual_url(empty_postgresql_url: str) -> str:
    """The URL of a migrated database with all of these settings."""
    with beside(empty_postgresql_url) as owner:
        name = owner.info.dbname
        owner.execute('CREATE SCHEMA "our tables"')
        for setting, value in UNUSUAL.items():
            owner.execute(f"ALTER DATABASE {name} SET {setting} = {value}".encode())
    migrate(empty_postgresql_url)
    return empty_postgresql_url


@pytest.fixture(params=["direct", "session", "transaction"])
def way(
    request: pytest.FixtureRequest, unusual_url: str, postgres_server: PostgresServer
) -> Iterator[dict[str, Any]]:
    """The settings of a service that uses it, directly or through a pooler in each mode."""
    if request.param == "direct":
        yield {"database_url": unusual_url}
        return
    pooler = PgBouncer(postgres_server.folder, request.param)
    yield {"database_url": through(pooler, unusual_url), "database_direct_url": unusual_url}
    pooler.stop()


async def text(response: ClientResponse, status: int) -> str:
    assert response.status == status, await response.text()
    return await response.text()


async def search(service: Service, words: str) -> list[str]:
    response = await service.get("/operator/sessions", params={"q": words})
    return [one["session_id"] for one in (await response.json())["sessions"]]


async def test_what_is_stored_and_shown_does_not_depend_on_them(way: dict[str, Any]) -> None:
    began = datetime.now(UTC)
    said = "¿dónde está la canción «\\ñ»?"
    async with running(**way) as service:
        chat = await service.chat(said, session_id="s", user_id="ana")
        call = {"message_id": chat["reply_id"], "tool_name": "t", "status": "ok", "duration_ms": 3}
        answers = [await text(await service.post("/operator/tool/call", call), 201)]
        answers += [await text(await service.get(f"/operator/{path}"), 200) for path in SHOWN]
        usage = await (await service.get("/operator/usage?by=day")).json()
        assert await eventually(lambda: search(service, "canción está")) == ["s"]
    ended = datetime.now(UTC)
    assert said in json.loads(answers[1])["messages"][0]["content"]
    for answer in answers:
        moments = MOMENT.findall(answer)
        assert moments, answer
        for moment in moments:
            assert moment.endswith("Z")
            assert began - HOUR < datetime.fromisoformat(moment) < ended + HOUR
    (day,) = usage["usage"]
    assert day["key"] in {f"{moment:%Y-%m-%d}" for moment in (began, ended)}


async def test_days_of_events_are_made_and_dropped_with_them(
    way: dict[str, Any], unusual_url: str
) -> None:
    days = b"SELECT name, CAST(until AS text) FROM operator_event_days ORDER BY until"
    with beside(unusual_url) as owner:
        owner.execute("SET DateStyle = 'ISO'")
        made = owner.execute(days).fetchall()
        assert len(made) == 4, "today and three days ahead"
        owner.execute(f"DROP TABLE {made[-1][0]}".encode())
        owner.execute(
            "CREATE TABLE long_ago PARTITION OF operator_event (PRIMARY KEY (session_id, seq))"
            " FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')"
        )
        database = await connect(Settings(**way))
        await purge_events(EventStore(database), KEPT_DAYS)
        await database.aclose()
        assert owner.execute(days).fetchall() == made
