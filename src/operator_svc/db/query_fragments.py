"""Fragments: the SQL that several queries share, in a file each."""

from __future__ import annotations

from pathlib import Path

from operator_svc.db.sql_tokens import TOKEN, QueryError


class Fragments:
    """The fragments of a folder, and those of the folder above it that its queries may use too."""

    def __init__(self, folder: Path, above: Fragments | None = None) -> None:
        self._above = above
        self._files = {file.stem: file for file in (folder / "fragments").glob("*.sql")}
        self._used: set[str] = set()
        if above is not None and (both := self._files.keys() & above._files.keys()):
            raise QueryError(f"the fragments {sorted(both)} stand in {folder} and above it")

    def expand(self, sql: str) -> str:
        """``sql`` with the text of each fragment that it names. Raises QueryError for others."""
        return TOKEN.sub(lambda t: self._text(t["fragment"]) if t["fragment"] else t[0], sql)

    def check_used(self) -> None:
        """Raise QueryError where a fragment stands in no query."""
        if unused := self._files.keys() - self._used:
            raise QueryError(f"the fragments {sorted(unused)} stand in no query")

    def _text(self, name: str) -> str:
        if name in self._files:
            self._used.add(name)
            text = self._files[name].read_text(encoding="utf-8")
            text = TOKEN.sub(lambda t: "" if t["comment"] else t[0], text).strip()
            if any(token["fragment"] for token in TOKEN.finditer(text)):
                raise QueryError(f"the fragment {name} holds another")
            return text
        if self._above is None:
            raise QueryError(f"there is no fragment {name}")
        return self._above._text(name)
