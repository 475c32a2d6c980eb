"""The attributes of other packages that they do not promise, and that the service uses anyway.

Each of these packages has an upper bound in ``setup.cfg``. When one is raised, this test names what
is no longer there.
"""

from __future__ import annotations

import ast
import configparser
import enum
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite
import prometheus_client
import pytest
from aiohttp import TCPConnector, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from nats.aio.client import Client
from packaging.requirements import Requirement
from rich.live import Live
from yoyo import read_migrations  # type: ignore[import-untyped]
from yoyo.backends.core.sqlite3 import SQLiteBackend  # type: ignore[import-untyped]
from yoyo.connections import DatabaseURI  # type: ignore[import-untyped]
from yoyo.migrations import default_migration_table  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
SOURCES = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]


class Use(NamedTuple):
    """An object of another package, and the names of its attributes that are used."""

    package: str
    owner: str
    make: Callable[[Path], Any]
    names: str


async def _handler(_: Any) -> web.Response:
    return web.Response()


def _server(_: Path) -> Any:
    return web.Server(_handler)


def _sqlite_backend(folder: Path) -> Any:
    uri = DatabaseURI("sqlite", None, None, None, None, str(folder / "some.db"), {})
    return SQLiteBackend(uri, default_migration_table)


def _migration(folder: Path) -> Any:
    (folder / "0001.some.sql").write_text("CREATE TABLE some (id INT)")
    (migration,) = read_migrations(str(folder))
    migration.load()
    return migration


def _metric(kind: type[Any]) -> Callable[[Path], Any]:
    return lambda _: kind("some", "Some.", registry=None)


USES = (
    Use(
        "aiohttp",
        "RequestHandler",
        lambda folder: _server(folder)(),
        "_buffer_paused _current_request _drain_helper _handler_waiter _loop _message_tail"
        " _messages _next_keepalive_close_time _parser _paused _request_in_progress _upgraded"
        " _waiter",
    ),
    Use("aiohttp", "BaseProtocol", lambda _: BaseProtocol, "_drain_helper"),
    Use("aiohttp", "package", lambda _: import_module("aiohttp"), "_websocket"),
    Use(
        "aiohttp",
        "reader",
        lambda _: import_module("aiohttp._websocket.reader"),
        "WebSocketDataQueue WebSocketReader",
    ),
    Use("aiohttp", "Server", _server, "_connections _kwargs _loop"),
    Use("aiohttp", "AppRunner", lambda _: web.AppRunner(web.Application()), "_make_server"),
    # aiohttp names these without an underscore, and describes them nowhere.
    Use("aiohttp", "Connection", lambda _: Connection, "close protocol transport"),
    Use("aiohttp", "TCPConnector", lambda _: TCPConnector, "connect"),
    Use("aiohttp", "ResponseHandler", lambda _: ResponseHandler, "connection_lost should_close"),
    Use(
        "aiosqlite",
        "Connection",
        lambda folder: aiosqlite.connect(folder / "some.db"),
        "_connection _execute _thread",
    ),
    Use("aiosqlite", "Connection", lambda _: aiosqlite.Connection, "_conn"),  # once it is open
    Use("prometheus-client", "Counter", _metric(prometheus_client.Counter), "_value"),
    Use(
        "prometheus-client",
        "Histogram",
        _metric(prometheus_client.Histogram),
        "_buckets _labelnames _labelvalues _sum _upper_bounds",
    ),
    Use(
        "prometheus-client",
        "Counter()._value",
        lambda folder: _metric(prometheus_client.Counter)(folder)._value,
        "_value",
    ),
    Use(
        "prometheus-client",
        "Gauge()._value",
        lambda folder: _metric(prometheus_client.Gauge)(folder)._value,
        "_value",
    ),
    Use("rich", "Live", lambda _: Live(), "_lock"),
    # These two give their names no underscore, and describe them nowhere.
    Use(
        "yoyo-migrations",
        "backend",
        _sqlite_backend,
        "DatabaseError apply_one break_lock connection ensure_internal_schema_updated execute"
        " get_log_data init_database lock log_migration mark_one rollback_one to_apply to_rollback"
        " transaction unmark_one",
    ),
    Use("yoyo-migrations", "migration", _migration, "hash id load steps use_transactions"),
    Use(
        "yoyo-migrations",
        "step",
        lambda folder: _migration(folder).steps[0],
        "apply rollback",
    ),
    Use(
        "nats-py",
        "Client",
        lambda _: Client(),
        "_close _connect_command _pending _pending_data_size _server_info",
    ),
    Use("python", "Enum", lambda _: enum.StrEnum("Some", "A"), "_value2member_map_"),
)


@pytest.mark.parametrize(
    ("use", "name"),
    [(use, name) for use in USES for name in use.names.split()],
    ids=lambda value: f"{value.package} {value.owner}" if isinstance(value, Use) else value,
)
async def test_a_private_attribute_is_there(use: Use, name: str, tmp_path: Path) -> None:
    owner = use.make(tmp_path)
    try:
        assert hasattr(owner, name), f"{use.package}: {use.owner} has no {name}"
    finally:
        if isinstance(owner, SQLiteBackend):
            owner.connection.close()


def test_each_package_of_private_attributes_has_an_upper_bound() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].split("\n")
    asked = {r.name: r for r in (Requirement(line) for line in lines if line)}
    for package in {use.package for use in USES} - {"python"}:
        assert any(s.operator == "<" for s in asked[package].specifier), package


def _own_names(tree: ast.AST) -> set[str]:
    """The names that a module gives to something."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def _foreign_private_names() -> Iterator[tuple[str, str]]:
    """The private attributes in use whose module does not make them, with their places."""
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in SOURCES}
    own = {file: _own_names(tree) for file, tree in trees.items()}
    methods = {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and not f"{node.module}".startswith("operator_svc"):
                names = [*f"{node.module}".split("."), *(alias.name for alias in node.names)]
                for name in names:
                    if name.startswith("_") and name != "__future__":
                        yield name, f"{file.relative_to(ROOT)}:{node.lineno}"
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
                continue
            of_base = ast.unparse(node.value) in ("self", "cls", "super()")
            if node.attr.endswith("__") or node.attr in own[file]:
                continue
            if not (of_base and node.attr in methods):
                yield node.attr, f"{file.relative_to(ROOT)}:{node.lineno}"


DOCUMENTED = {"_current_frames", "_replace", "_value_"}
"""Names with an underscore that Python itself promises."""


def test_every_private_attribute_in_use_is_named_here() -> None:
    named = {name for use in USES for name in use.names.split()} | DOCUMENTED
    unnamed = [f"{name} ({place})" for name, place in _foreign_private_names() if name not in named]
    assert unnamed == []
