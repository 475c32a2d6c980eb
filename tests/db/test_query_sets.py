"""Sets: the statements that are made of a query for one write, and queries that allow none."""

from __future__ import annotations

from pathlib import Path

import pytest

from operator_svc.db.queries import load
from operator_svc.db.query_sets import SetOf, item_set, statement_for
from operator_svc.db.sql_tokens import QueryError

SET = SetOf("name", frozenset({"pod"}))


def test_each_write_of_a_sqlite_set_is_a_row_of_given() -> None:
    sql = "INSERT INTO t SELECT :name, :pod, ':name' FROM given"
    assert statement_for(sql, 2, SET) == (
        'WITH given (":name") AS (VALUES (:name_0), (:name_1))'
        " INSERT INTO t SELECT given.\":name\", :pod, ':name' FROM given"
    )
    assert statement_for(sql, 1, SET) == f"WITH given AS (SELECT 1) {sql}"


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
