"""The named queries of ``sql/``: read once, checked, and made ready for one dialect.

A query follows the line ``-- name: get_x(a, b)``, which has its name and its parameters. It stands
either in a shared file (``sql/<table>.sql``) or in both twins (``sql/sqlite/…``,
``sql/postgresql/…``).

``{{name}}`` stands for the fragment of that name: a list of columns, an expression, a subquery,
the body of a CTE or, for SQLite, a statement that several queries share, in a file of its own
(``sql/fragments/<name>.sql`` for both dialects, ``sql/<dialect>/fragments/<name>.sql`` for one).
A shared query may name a fragment of which each dialect has its own. A fragment holds no other.

``octet_length(column)``, of a text or of ``CAST(column AS text)``, is written in SQLite's older way
where its own is missing (before 3.43).

``/*+ page of :bytes */`` before a query bounds the bytes of a page (``query_pages.py``), and
``/*+ set by :name */`` before one has it run for several writes at once (``query_sets.py``).

In a query for SQLite, the hint ``/*+ only if :name */`` before a statement leaves the statement
out where ``:name`` is NULL. ``changes()`` in the next one then counts the rows of the one before.
In a set it is left out where ``:name`` is NULL for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple, get_args

import operator_svc
from operator_svc.db.contract import Dialect
from operator_svc.db.query_fragments import Fragments
from operator_svc.db.query_pages import limit_bytes
from operator_svc.db.query_sets import SetOf, check_given, take_hint
from operator_svc.db.sql_tokens import TOKEN, QueryError

_NAME = re.compile(r"^-- name:(.*)$", re.MULTILINE)
_SIGNATURE = re.compile(r" (\w+)\((\w+(?:, \w+)*)?\)")
_OCTETS = re.compile(r"octet_length\((CAST\([\w.]+ AS text\)|[\w.]+(?: ->> '\w+')?)\)")
_KEPT = frozenset({"string", "quoted", "dollar", "tag", "cast", "now"})
_ONLY_IF = re.compile(r"\s*only if :([A-Za-z_]\w*)\s*")


class Statement(NamedTuple):
    """One SQL statement: for PostgreSQL with ``$n``, which stand for ``params`` in their order,
    for SQLite with ``:name``. ``only_if`` is the parameter without which it is left out."""

    sql: str
    params: tuple[str, ...]
    only_if: str | None = None


class Query(NamedTuple):
    """A named query of one dialect. PostgreSQL's have exactly one statement."""

    name: str
    params: frozenset[str]
    statements: tuple[Statement, ...]
    set_of: SetOf | None = None


class _Source(NamedTuple):
    name: str
    params: frozenset[str]
    sql: str
    file: Path
    set_of: SetOf | None


def resource_folder(name: str) -> Path:
    """The folder ``sql`` or ``migrations``: inside the installed package, else of the checkout.

    Raises FileNotFoundError where neither is there.
    """
    package = Path(operator_svc.__file__).parent
    for folder in (package / name, package.parents[1] / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the folder {name!r} belongs to this package and is missing")


@cache
def installed(dialect: Dialect) -> Mapping[str, Query]:
    """The queries of this package, read once a process."""
    return load(resource_folder("sql"), dialect)


def load(folder: Path, dialect: Dialect) -> dict[str, Query]:
    """All queries of ``folder`` for ``dialect``, by name. Raises QueryError for any fault."""
    common = Fragments(folder)
    found: dict[str, dict[str, _Source]] = {}
    for side in get_args(Dialect):
        own = Fragments(folder / side, common)
        shared, twins = _read(folder, own), _read(folder / side, own)
        if both := shared.keys() & twins.keys():
            raise QueryError(f"{sorted(both)} stand in the shared files and in {folder / side}")
        found[side] = shared | twins
        own.check_used()
    common.check_used()
    if lonely := found["sqlite"].keys() ^ found["postgresql"].keys():
        raise QueryError(f"{sorted(lonely)} have no twin in the other dialect")
    for name, source in found["sqlite"].items():
        if differing := source.params ^ found["postgresql"][name].params:
            raise QueryError(f"the twins of {name} differ in {sorted(differing)}")
    return {source.name: _query(source, dialect) for source in found[dialect].values()}


@lru_cache(maxsize=256)
def compile_statement(sql: str, dialect: Dialect) -> Statement:
    """One raw statement with ``:name`` parameters, ready for ``dialect``."""
    (statement,) = _split(sql, dialect)
    return statement


@lru_cache(maxsize=1024)
def replace_now(sql: str, replacement: str) -> str:
    """``sql`` with ``replacement`` for each call of ``now()``; text and names stay as they are."""
    return TOKEN.sub(lambda token: replacement if token["now"] else token[0], sql)


def _read(folder: Path, fragments: Fragments) -> dict[str, _Source]:
    found: dict[str, _Source] = {}
    for file in sorted(folder.glob("*.sql")):
        for source in _parse(file, fragments):
            if source.name in found:
                raise QueryError(f"{source.name} stands in {found[source.name].file} and in {file}")
            found[source.name] = source
    return found


def _parse(file: Path, fragments: Fragments) -> Iterator[_Source]:
    before, *found = _NAME.split(file.read_text(encoding="utf-8"))
    try:
        if fragments.expand(before).strip():
            raise QueryError("a query stands before the first '-- name:'")
        for name, text in zip(found[::2], found[1::2], strict=True):
            if (signature := _SIGNATURE.fullmatch(name)) is None:
                raise QueryError(f"'-- name:{name}' is not '-- name: query(one, other)'")
            declared = frozenset((signature[2] or "").split(", ")) - {""}
            sql, set_of = take_hint(limit_bytes(fragments.expand(text)))
            if (used := _params(sql)) != declared:
                raise QueryError(
                    f"{signature[1]} declares {sorted(declared)} and uses {sorted(used)}"
                )
            yield _Source(signature[1], declared, sql, file, set_of)
    except QueryError as error:
        raise QueryError(f"{file}: {error}") from error


def _params(sql: str) -> frozenset[str]:
    tokens = list(TOKEN.finditer(sql))
    found = frozenset(token["param"] for token in tokens if token["param"])
    return found | {_hinted(token["hint"]) for token in tokens if token["hint"]}


def _query(source: _Source, dialect: Dialect) -> Query:
    sql = source.sql
    if dialect == "sqlite":
        sql = _OCTETS.sub(r"length(CAST(\1 AS BLOB))", sql)
    try:
        statements = tuple(_split(sql, dialect))
        if source.set_of is not None:
            for statement in statements:
                check_given(statement.sql, statement.params, source.set_of)
    except QueryError as error:
        raise QueryError(f"{source.file}: {source.name}: {error}") from error
    if not statements:
        raise QueryError(f"{source.file}: {source.name} is empty")
    if dialect == "postgresql" and (len(statements) > 1 or statements[0].only_if):
        raise QueryError(
            f"{source.file}: {source.name} must be one statement, without hints, for PostgreSQL"
        )
    return Query(source.name, source.params, statements, source.set_of)


def _hinted(hint: str) -> str:
    """The parameter that a hint names. Raises QueryError for a hint that means nothing here."""
    if (named := _ONLY_IF.fullmatch(hint)) is None:
        raise QueryError(
            f"the hint {hint.strip()!r} is not 'only if :name', nor 'page of :bytes' of a query"
        )
    return named[1]


def _split(sql: str, dialect: Dialect) -> Iterator[Statement]:
    """The statements of ``sql`` with the dialect's parameters, without comments."""
    parts: list[str] = []
    numbers: dict[str, int] = {}
    only_if: str | None = None
    at = 0
    for token in TOKEN.finditer(f"{sql}\n;"):
        kind = token.lastgroup
        if kind in _KEPT:
            continue
        parts.append(sql[at : token.start()])
        at = token.end()
        if kind == "fragment":
            raise QueryError(f"the fragment {token['fragment']} stands outside the query files")
        if kind == "param":
            number = numbers.setdefault(token["param"], len(numbers) + 1)
            parts.append(f"${number}" if dialect == "postgresql" else f":{token['param']}")
        elif kind == "hint":
            if only_if is not None or "".join(parts).strip():
                raise QueryError(f"the hint {token['hint'].strip()!r} stands in a statement")
            only_if = _hinted(token["hint"])
        elif kind == "end":
            text = "".join(parts).strip()
            if text:
                yield Statement(text, tuple(numbers), only_if)
            elif only_if is not None:
                raise QueryError(f"the hint with :{only_if} stands before no statement")
            parts, numbers, only_if = [], {}, None
