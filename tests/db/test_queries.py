"""The query loader: what it understands, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import psycopg
import pytest

from operator_svc.db import Database, Dialect
from operator_svc.db.queries import (
    Statement,
    compile_statement,
    load,
    replace_now,
    resource_folder,
)
from operator_svc.db.query_sets import statement_for
from operator_svc.db.sql_tokens import QueryError


def folder(tmp_path: Path, shared: str = "", sqlite: str = "", postgresql: str = "") -> Path:
    """A folder of queries."""
    for part, text in (("", shared), ("sqlite", sqlite), ("postgresql", postgresql)):
        (tmp_path / part).mkdir(exist_ok=True)
        (tmp_path / part / "a.sql").write_text(text)
    return tmp_path


def test_a_name_becomes_a_number_for_postgresql(tmp_path: Path) -> None:
    shared = "-- name: q(a, b)\nSELECT :b, CAST(:a AS int), :b;"
    one = load(folder(tmp_path, shared), "postgresql")["q"]
    assert one.params == {"a", "b"}
    assert one.statements == (Statement("SELECT $1, CAST($2 AS int), $1", ("b", "a")),)
    two = load(tmp_path, "sqlite")["q"]
    assert two.statements[0].sql == "SELECT :b, CAST(:a AS int), :b"


@pytest.mark.parametrize(
    ("sql", "expected", "params"),
    [
        ("SELECT :a::jsonb", "SELECT $1::jsonb", ("a",)),
        ("SELECT ':a ''; :b', :c", "SELECT ':a ''; :b', $1", ("c",)),
        ('SELECT ":a", :c', 'SELECT ":a", $1', ("c",)),
        ("SELECT $$ :a ; ' $$, :c", "SELECT $$ :a ; ' $$, $1", ("c",)),
        ("SELECT $x$ :a $$ ; $x$, :c", "SELECT $x$ :a $$ ; $x$, $1", ("c",)),
        ("SELECT 1 /* :a ; ' */ + :c -- :b ; '\n + 2", "SELECT 1  + $1 \n + 2", ("c",)),
        ("SELECT x[1:2], :c", "SELECT x[1:2], $1", ("c",)),
        ("SELECT :c;", "SELECT $1", ("c",)),
        ("SELECT data ->> 'a', 'b' || :c", "SELECT data ->> 'a', 'b' || $1", ("c",)),
    ],
)
def test_parameters_are_found_only_where_they_are(
    sql: str, expected: str, params: tuple[str, ...]
) -> None:
    assert compile_statement(sql, "postgresql") == Statement(expected, params)


def test_a_write_of_sqlite_is_a_list_of_statements(tmp_path: Path) -> None:
    twins = folder(
        tmp_path,
        sqlite="-- name: q(a)\n-- it's two\nDELETE FROM x WHERE y = ';';  -- don't\nSELECT :a;",
        postgresql="-- name: q(a)\nSELECT :a",
    )
    assert [s.sql for s in load(twins, "sqlite")["q"].statements] == [
        "DELETE FROM x WHERE y = ';'",
        "SELECT :a",
    ]


@pytest.mark.parametrize(
    ("shared", "sqlite", "postgresql", "complaint"),
    [
        ("-- name: q(a)\nSELECT 1", "", "", "declares .*a.* and uses"),
        ("-- name: q()\nSELECT :a", "", "", "uses .*a"),
        ("-- name: q\nSELECT :a", "", "", "name: q' is not"),
        ("-- name: q(a,)\nSELECT :a", "", "", "is not"),
        ("--name: q(a)\nSELECT :a", "", "", "before the first"),
        ("-- name: q()\nSELECT 1\n-- name: q()\nSELECT 2", "", "", "stands in"),
        ("-- name: q()\nSELECT 1", "-- name: q()\nSELECT 1", "-- name: q()\nSELECT 1", "shared"),
        ("", "-- name: q()\nSELECT 1", "", "no twin"),
        ("", "", "-- name: q()\nSELECT 1", "no twin"),
        ("", "-- name: q(a)\nSELECT :a", "-- name: q(b)\nSELECT :b", "differ"),
        ("-- name: q()\nSELECT 1; SELECT 2;", "", "", "one statement"),
        ("-- name: q()\n-- nothing", "", "", "empty"),
        ("-- name: q(a)\n/*+ only if :a */\nSELECT 1", "", "", "without hints"),
    ],
)
def test_a_fault_in_the_files_is_refused(
    tmp_path: Path, shared: str, sqlite: str, postgresql: str, complaint: str
) -> None:
    faulty = folder(tmp_path, shared, sqlite, postgresql)
    with pytest.raises(QueryError, match=complaint):
        load(faulty, "postgresql")


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("/*+ only when :a */ SELECT :a", "is not 'only if :name'"),
        ("/*+ only if a */ SELECT :a", "is not 'only if :name'"),
        ("SELECT 1 /*+ only if :a */ + 1", "stands in a statement"),
        ("/*+ only if :a */ /*+ only if :b */ SELECT 1", "stands in a statement"),
        ("SELECT 1; /*+ only if :a */", "before no statement"),
    ],
)
def test_a_hint_that_means_nothing_is_refused(tmp_path: Path, sql: str, complaint: str) -> None:
    params = ", ".join(sorted({name for name in "ab" if f":{name}" in sql}))
    text = f"-- name: q({params})\n{sql}"
    with pytest.raises(QueryError, match=complaint):
        load(folder(tmp_path, sqlite=text, postgresql=text), "sqlite")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT now(), NOW ( ), now(:s)", "SELECT :m, :m, now(:s)"),
        ("SELECT 'call now() later', \"now()\"", "SELECT 'call now() later', \"now()\""),
        ("SELECT know(), t.now(), now_(), unknown()", "SELECT know(), t.now(), now_(), unknown()"),
        ("SELECT 1 -- now()\n, 'it''s now()' || now()", "SELECT 1 -- now()\n, 'it''s now()' || :m"),
    ],
)
def test_now_is_replaced_only_where_it_is_called(sql: str, expected: str) -> None:
    assert replace_now(sql, ":m") == expected


def test_a_name_in_two_files_is_refused(tmp_path: Path) -> None:
    folder(tmp_path, "-- name: q()\nSELECT 1")
    (tmp_path / "b.sql").write_text("-- name: q()\nSELECT 2")
    with pytest.raises(QueryError, match=r"q stands in .*a\.sql and in .*b\.sql"):
        load(tmp_path, "sqlite")


def test_both_dialects_have_the_same_queries() -> None:
    by_dialect = [load(resource_folder("sql"), dialect) for dialect in get_args(Dialect)]
    one, other = ({q.name: q.params for q in queries.values()} for queries in by_dialect)
    assert one
    assert one == other


def test_postgresql_understands_every_query(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        for query in load(resource_folder("sql"), "postgresql").values():
            (statement,) = query.statements
            connection.execute(f"PREPARE {query.name} AS {statement.sql}".encode())


async def test_sqlite_understands_every_statement(sqlite_database: Database) -> None:
    async with sqlite_database.transaction() as transaction:
        for query in load(resource_folder("sql"), "sqlite").values():
            for statement in query.statements:
                sql = (
                    statement_for(statement.sql, 1, query.set_of) if query.set_of else statement.sql
                )
                await transaction.fetch(f"EXPLAIN {sql}", **dict.fromkeys(query.params, ""))
