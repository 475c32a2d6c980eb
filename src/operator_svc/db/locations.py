"""The location of a database, read from the setting's URL."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from operator_svc.db.contract import Dialect
from operator_svc.errors import ConfigurationError

POSTGRESQL = ("postgresql:", "postgres:")
"""Beginnings of PostgreSQL's URLs."""
URL_SETTING = "OPERATOR_DATABASE_URL"


class Location(NamedTuple):
    """A database's dialect, and its file (SQLite) or URL (PostgreSQL, as libpq reads it)."""

    dialect: Dialect
    path: Path
    dsn: str


def locate(url: str) -> Location:
    """Read ``sqlite:///path`` or ``postgresql://…``; raises ConfigurationError for another URL."""
    parts = urlsplit(url)
    if url.startswith(POSTGRESQL):
        return Location("postgresql", Path(), f"postgresql{url[len(parts.scheme) :]}")
    if parts.scheme != "sqlite":
        raise ConfigurationError([f"{URL_SETTING} must be sqlite:///path or postgresql://…"])
    if parts.netloc or parts.query or parts.fragment or len(parts.path) < 2:
        raise ConfigurationError(
            [f"{URL_SETTING} must be sqlite:///relative/path or sqlite:////absolute/path"]
        )
    path = Path(unquote(parts.path[1:]))
    if str(path) == ":memory:":
        raise ConfigurationError([f"{URL_SETTING}: SQLite in memory is not durable; name a file"])
    return Location("sqlite", path, "")
