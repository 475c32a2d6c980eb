"""Pages of lists: the hint ``/*+ page of :bytes */`` before a query bounds its rows' bytes.

Such a query is ``SELECT columns, expression AS size FROM … ORDER BY … LIMIT :page``. Of the rows
that it finds it gives as many from the first on as have no more than ``:bytes`` in ``size``
together, and one at least. In place of ``size`` each row has ``found``: the number of rows without
that bound.

The sizes are looked at first, in the CTE ``page``: what does not fit is not read. Their running
total, which costs more than their sum, is asked for only where that is above the bound. They are
integers of 4 bytes on PostgreSQL, since it adds larger ones up as numbers without a bound.
"""

from __future__ import annotations

import re

from operator_svc.db.sql_tokens import TOKEN, QueryError

_HINT = re.compile(r"\s*/\*\+\s*page of :bytes\s*\*/")
_SHAPE = re.compile(
    r"(?P<ctes>.*?)\bSELECT\b(?P<columns>.*),(?P<size>[^,]*)\bAS\s+size\s+FROM\b(?P<rows>.*)"
    r"\bORDER\s+BY\b(?P<order>.*)\bLIMIT\s+:page\s*;?\s*",
    re.DOTALL,
)
_DIRECTION = re.compile(r"\s+(?:ASC|DESC)$")


def limit_bytes(sql: str) -> str:
    """``sql`` with the bound that its hint asks for; as it is where it has none.

    It has no comments. Raises QueryError where it is not of the shape that the hint needs.
    """
    if (hint := _HINT.match(sql)) is None:
        return sql
    sql = sql[hint.end() :]
    outer = _outer(sql)
    if (shape := _SHAPE.fullmatch(outer)) is None:
        raise QueryError(
            "a page must be SELECT columns, expression AS size FROM … ORDER BY … LIMIT :page"
        )
    ctes, columns, size, rows, order = (sql[slice(*shape.span(n))].strip() for n in range(1, 6))
    terms = _terms(order)
    places = ", ".join(f"{place} AS place_{n}" for n, (place, _) in enumerate(terms))
    by_places = ", ".join(f"p.place_{n}{way}" for n, (_, way) in enumerate(terms))
    found = f"FROM {rows} ORDER BY {order}"
    return (
        f"{f'{ctes},' if ctes else 'WITH'}"  # noqa: S608 - text of the query files
        f" page AS (SELECT CAST({size} AS integer) AS size, {places} {found} LIMIT :page)"
        f" SELECT {columns}, (SELECT count(*) FROM page) AS found {found}"
        " LIMIT (SELECT CASE WHEN sum(a.size) <= :bytes THEN count(*) ELSE"
        " (SELECT count(*) FROM (SELECT p.size,"
        f" sum(p.size) OVER (ORDER BY {by_places} ROWS UNBOUNDED PRECEDING) AS total"
        " FROM page AS p) AS q WHERE q.total <= :bytes OR q.total = q.size)"
        " END FROM page AS a)"
    )


def _terms(order: str) -> list[tuple[str, str]]:
    """The expressions that ``order`` names, each with its direction."""
    outer = _outer(order)
    commas = [comma.start() for comma in re.finditer(",", outer)]
    starts, ends = [0, *(comma + 1 for comma in commas)], [*commas, len(order)]
    texts = [order[start:end].strip() for start, end in zip(starts, ends, strict=True)]
    return [(_DIRECTION.sub("", text), "".join(_DIRECTION.findall(text))) for text in texts]


def _outer(sql: str) -> str:
    """``sql`` with blanks for texts and what stands in parentheses."""
    masked = TOKEN.sub(lambda t: t[0] if t["param"] or t["end"] else " " * len(t[0]), sql)
    inner = 1
    while inner:
        masked, inner = re.subn(r"\([^()]*\)", lambda group: " " * len(group[0]), masked)
    return masked
