"""The hint of a page: its rows end at a number of bytes, whatever the query's shape."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.db.queries import compile_statement, load
from operator_svc.db.query_pages import limit_bytes
from operator_svc.db.sql_tokens import QueryError

ROWS = (
    "(SELECT 1 AS id, 'a' AS kind, 30 AS bytes"
    " UNION ALL SELECT 2, 'b', 30 UNION ALL SELECT 3, 'a', 30)"
)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (f"SELECT r.id, r.bytes AS size FROM {ROWS} AS r ORDER BY r.id LIMIT :page", [1, 2]),
        (f"SELECT r.id, r.bytes AS size FROM {ROWS} AS r ORDER BY r.id DESC LIMIT :page", [3, 2]),
        (f"SELECT r.id, r.bytes AS size FROM {ROWS} AS r ORDER BY -r.id LIMIT :page;", [3, 2]),
        (
            f"SELECT r.id, r.bytes AS size FROM {ROWS} AS r"
            " ORDER BY r.kind DESC, r.id ASC LIMIT :page",
            [2, 1],
        ),
        (
            f"SELECT r.id, r.bytes AS size FROM {ROWS} AS r -- ORDER BY nothing\n"
            " ORDER BY coalesce(r.kind, ','), /* LIMIT */ r.id -- last\n LIMIT :page",
            [1, 3],
        ),
        (
            f"WITH r AS (SELECT * FROM {ROWS} AS x ORDER BY x.id LIMIT 3)\n"
            "SELECT r.id, coalesce(r.bytes, 0) AS size FROM r WHERE r.kind <> ' AS size FROM x'"
            " ORDER BY r.id LIMIT :page",
            [1, 2],
        ),
    ],
)  # fmt: skip
async def test_page_of_any_shape_ends_at_its_bytes(
    database: Database, tmp_path: Path, sql: str, expected: list[int]
) -> None:
    (tmp_path / "a.sql").write_text(f"-- name: q(page, bytes)\n/*+ page of :bytes */\n{sql}")
    (statement,) = load(tmp_path, "sqlite")["q"].statements
    bounded = statement.sql

    async def ask(page: int, size: int) -> list[Any]:
        async with database.transaction() as tx:
            return list(await tx.fetch(bounded, page=page, bytes=size))

    whole = await ask(3, 60)
    assert [row[0] for row in whole] == expected
    assert [tuple(row)[1:] for row in whole] == [(3,)] * 2
    assert len(await ask(3, 90)) == 3
    assert len(await ask(3, 1)) == 1
    assert len(await ask(2, 90)) == 2


def test_query_without_the_hint_stays_as_it_is() -> None:
    assert limit_bytes("SELECT 1 AS size LIMIT :page") == "SELECT 1 AS size LIMIT :page"


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("/*+ page of :bytes */ SELECT a FROM x ORDER BY a LIMIT :page", "a page must be"),
        ("/*+ page of :bytes */ SELECT a, b AS size FROM x LIMIT :page", "a page must be"),
        ("/*+ page of :bytes */ SELECT a, b AS size FROM x ORDER BY a", "a page must be"),
        ("SELECT 1; /*+ page of :bytes */ SELECT 2", "is not 'only if :name', nor"),
        ("/*+ page of :octets */ SELECT :octets", "is not 'only if :name', nor"),
    ],
)  # fmt: skip
def test_page_that_cannot_be_bounded_is_refused(tmp_path: Path, sql: str, complaint: str) -> None:
    params = sorted(set(re.findall(r":(\w+)", sql)))
    (tmp_path / "a.sql").write_text(f"-- name: q({', '.join(params)})\n{sql}")
    with pytest.raises(QueryError, match=complaint):
        load(tmp_path, "sqlite")


def test_bounded_page_counts_its_parameters_for_postgresql() -> None:
    sql = "/*+ page of :bytes */ SELECT :a, b AS size FROM x WHERE c = :c ORDER BY b LIMIT :page"
    statement = compile_statement(limit_bytes(sql), "postgresql")
    assert set(statement.params) == {"a", "c", "page", "bytes"}
