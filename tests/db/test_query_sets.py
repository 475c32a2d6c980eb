"""Sets: the statements that are made of a query for one write, and queries that allow none."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from operator_svc.db.queries import load
from operator_svc.db.query_sets import NOW, SetOf, SetStatement, item_set, size_for, statement_for
from operator_svc.db.sql_tokens import QueryError

SET = SetOf("name", frozenset({"pod"}))


def test_each_write_of_a_sqlite_set_is_a_row_of_given() -> None:
    sql = "INSERT INTO t SELECT :name, :pod, ':name' FROM given"
    assert statement_for(sql, 2, SET) == (
        'WITH given (":name") AS (VALUES (:name_0), (:name_1))'
        " INSERT INTO t SELECT given.\":name\", :pod, ':name' FROM given"
    )


@pytest.mark.parametrize(
    ("sql", "alone"),
    [
        ("UPDATE t SET a = 1\nFROM given\nWHERE b = :name", "UPDATE t SET a = 1\nWHERE b = :name"),
        ("SELECT a FROM given\nCROSS JOIN t WHERE b", "SELECT a FROM t WHERE b"),
        ("SELECT :name FROM given", "WITH given AS (SELECT 1) SELECT :name FROM given"),
        (
            "SELECT (SELECT 1 FROM given WHERE a), (SELECT 2 FROM given)",
            "WITH given AS (SELECT 1) SELECT (SELECT 1 FROM given WHERE a), (SELECT 2 FROM given)",
        ),
        ("DELETE FROM t WHERE pod = :pod", "DELETE FROM t WHERE pod = :pod"),
    ],
)
def test_a_statement_of_one_write_has_given_only_where_it_must(sql: str, alone: str) -> None:
    assert statement_for(sql, 1, SET) == alone


@pytest.mark.parametrize("sql", [
    "SELECT :size || :name || ':size', :pod, now(), :pod FROM given",
    "SELECT :pod, 'now()', now()",
])  # fmt: skip
@pytest.mark.parametrize("count", [1, 2, 3])
def test_parameters_of_a_sqlite_set_stand_in_the_order_of_their_places(
    sql: str, count: int
) -> None:
    writes = [{"name": f"n{n}", "size": n, "pod": "p", "other": n} for n in range(count)]
    size = size_for(count)
    statement = SetStatement.of(sql, size, SET)
    arguments = statement.arguments(writes, {**writes[0], NOW: "noon"})
    found = sqlite3.connect(":memory:").execute(statement.sql, arguments).fetchall()
    if "given" in sql:
        rows = [(f"{n}n{n}:size", "p", "noon", "p") for n in range(count)]
        assert found == rows + [(None, "p", "noon", "p")] * (size - count)
    else:
        assert found == [("p", "now()", "noon")]


def test_writes_of_a_postgresql_set_are_one_array_and_pass_locked_rows_over() -> None:
    sql = (
        "WITH given AS (SELECT CAST($1 AS text) AS name, CAST($3 AS int) AS size),"
        " found AS (SELECT a FROM t FOR NO KEY UPDATE) SELECT $2"
    )
    made = item_set(sql, ("name", "pod", "size"), SET)
    assert "json_to_recordset($1) AS r (name text, size int)" in made.sql
    assert made.sql.endswith(" found AS (SELECT a FROM t FOR NO KEY UPDATE SKIP LOCKED) SELECT $2")
    assert (made.fields, made.shared, made.key) == ((("name", 0), ("size", 2)), (1,), 0)


def test_a_set_for_postgresql_without_given_is_refused() -> None:
    with pytest.raises(QueryError, match="a set for PostgreSQL needs given"):
        item_set("SELECT $1, $2", ("name", "pod"), SET)


def test_a_statement_of_a_set_that_is_about_one_write_is_refused(tmp_path: Path) -> None:
    for side in ("sqlite", "postgresql"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "a.sql").write_text(
            "-- name: q(name)\n/*+ set by :name */\nDELETE FROM t WHERE a = :name"
        )
    with pytest.raises(QueryError, match=r"\['name'\] stand in a statement"):
        load(tmp_path, "sqlite")
