"""Fragments: the SQL that several queries share."""

from __future__ import annotations

from pathlib import Path

import pytest

from operator_svc.db.queries import compile_statement, load
from operator_svc.db.sql_tokens import QueryError


def folder(tmp_path: Path, files: dict[str, str]) -> Path:
    """A folder of queries and fragments."""
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_a_fragment_stands_in_each_query_that_names_it(tmp_path: Path) -> None:
    files = {
        "fragments/columns.sql": "-- The thing's columns\na, :b AS b  -- and more\n",
        "a.sql": "-- name: one(b)\nSELECT {{columns}} FROM x;\n-- name: two(b)\n"
        "-- It's two.\nSELECT {{columns}} FROM y",
    }
    queries = load(folder(tmp_path, files), "postgresql")
    assert queries["one"].statements[0] == ("SELECT a, $1 AS b FROM x", ("b",), None)
    assert queries["two"].statements[0].sql == "SELECT a, $1 AS b FROM y"


@pytest.mark.parametrize("queries", [("sqlite/a.sql", "postgresql/a.sql"), ("a.sql",)])
def test_a_query_of_either_kind_holds_the_fragment_of_its_dialect(
    tmp_path: Path, queries: tuple[str, ...]
) -> None:
    files = {
        "sqlite/fragments/time.sql": "now()",
        "postgresql/fragments/time.sql": "clock_timestamp()",
        **dict.fromkeys(queries, "-- name: q()\nSELECT {{time}}"),
    }
    assert load(folder(tmp_path, files), "sqlite")["q"].statements[0].sql == "SELECT now()"
    assert load(tmp_path, "postgresql")["q"].statements[0].sql == "SELECT clock_timestamp()"


def test_a_mark_in_a_text_or_a_comment_is_no_fragment(tmp_path: Path) -> None:
    files = {"a.sql": "-- name: q()\n-- {{x}}\nSELECT '{{x}}', \"{{x}}\" /* {{x}} */"}
    statement = load(folder(tmp_path, files), "sqlite")["q"].statements[0]
    assert statement.sql == "SELECT '{{x}}', \"{{x}}\""


QUERY = "-- name: q()\nSELECT {{x}}"


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"a.sql": QUERY}, "no fragment x"),
        ({"a.sql": QUERY, "sqlite/fragments/x.sql": "1"}, "no fragment x"),
        ({"a.sql": QUERY, "fragments/x.sql": "{{y}}", "fragments/y.sql": "1"}, "holds"),
        ({"a.sql": "-- name: q()\nSELECT 1", "fragments/x.sql": "1"}, "in no query"),
        ({"a.sql": "-- name: q()\nSELECT 1", "sqlite/fragments/x.sql": "1"}, "in no query"),
        (
            {"a.sql": QUERY, "fragments/x.sql": "1", "postgresql/fragments/x.sql": "2"},
            "above it",
        ),
        ({"a.sql": QUERY, "fragments/x.sql": ":other"}, "uses .*other"),
        (
            {
                "a.sql": "-- name: q(a)\nSELECT {{x}}",
                "sqlite/fragments/x.sql": ":a",
                "postgresql/fragments/x.sql": "1",
            },
            "declares .*a",
        ),
    ],
)
def test_a_wrong_fragment_is_refused(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    with pytest.raises(QueryError, match=complaint):
        load(folder(tmp_path, files), "sqlite")


def test_a_raw_statement_has_no_fragments() -> None:
    with pytest.raises(QueryError, match="fragment x"):
        compile_statement("SELECT {{x}}", "sqlite")
