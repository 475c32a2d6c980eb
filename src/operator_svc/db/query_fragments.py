"""Fragments: the SQL that several queries share, in a file each."""

from __future__ import annotations

import re
from pathlib import Path

from operator_svc.db.sql_tokens import TOKEN, QueryError


class Fragments:
    """The fragments of a folder, and those of the folder above it that its queries may use too."""

    def __init__(self, folder: Path, above: Fragments | None = None) -> None:
        self._above = above
        self._files = {file.stem: file for file in (folder / "fragments").glob("*.sql")}
        self._texts: dict[str, str] = {}
        if above is not None and (both := self._files.keys() & above._files.keys()):
            raise QueryError(f"the fragments {sorted(both)} stand in {folder} and above it")

    def expand(self, sql: str) -> str:
        """``sql`` without comments, and with the text of each fragment that it names. Raises
        QueryError for others."""
        return TOKEN.sub(self._expanded, sql)

    def check_used(self) -> None:
        """Raise QueryError where a fragment stands in no query."""
        if unused := self._files.keys() - self._texts.keys():
            raise QueryError(f"the fragments {sorted(unused)} stand in no query")

    def _expanded(self, token: re.Match[str]) -> str:
        if token["comment"] or token["block"]:
            return ""
        return self._text(token["fragment"]) if token["fragment"] else token[0]

    def _text(self, name: str) -> str:
        if name in self._files:
            if name not in self._texts:
                self._texts[name] = _plain(name, self._files[name])
            return self._texts[name]
        if self._above is None:
            raise QueryError(f"there is no fragment {name}")
        return self._above._text(name)


def _plain(name: str, file: Path) -> str:
    """The text of a fragment without comments."""
    text = file.read_text(encoding="utf-8")
    text = TOKEN.sub(lambda t: "" if t["comment"] or t["block"] else t[0], text).strip()
    if any(token["fragment"] for token in TOKEN.finditer(text)):
        raise QueryError(f"the fragment {name} holds another")
    return text
