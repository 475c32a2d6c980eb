"""``operator-svc serve``: the service, in one process or in several behind one port."""

from __future__ import annotations

import os
import signal
import sys
from types import ModuleType
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from operator_svc.settings import Settings

UNUSED = frozenset({"colorama", "greenlet", "rich"})
"""Modules that structlog imports where they are installed: for tracebacks in color, for Windows,
and for a context of its own that nothing here uses. A process keeps 4 MiB for them."""


@click.command("serve")
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Serve by N processes on the same port, on PostgreSQL only. [OPERATOR_WORKERS, or 1]",
)
def command(workers: int | None) -> None:
    """Serve until SIGTERM, then let running replies end.

    Migrates the database first unless OPERATOR_MIGRATE=off. Logs the event "ready" with its
    url when it accepts connections; each worker does.
    """
    import_structlog()
    from operator_svc.commands import common
    from operator_svc.settings import Settings

    common.end_on_sigterm()
    # Its default is the end. It waits until there are tokens to read again.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    given = {} if workers is None else {"OPERATOR_WORKERS": str(workers)}
    settings = common.load(Settings, {**os.environ, **given})
    if settings.workers > 1:
        _serve_by_workers(settings)

    from operator_svc import lifecycle

    common.run(lifecycle.serve(settings), settings.event_loop)


def import_structlog() -> None:
    """Import structlog as if what it can do without were not installed: see UNUSED."""
    hidden = cast("dict[str, ModuleType]", dict.fromkeys(UNUSED - sys.modules.keys()))
    sys.modules.update(hidden)  # an import of them raises ModuleNotFoundError
    try:
        import structlog  # noqa: F401 - for those who import it next
    finally:
        for name in hidden:
            del sys.modules[name]


def _serve_by_workers(settings: Settings) -> None:
    """Supervise the workers and end with their exit code; returns in none of these processes."""
    from operator_svc.commands import common
    from operator_svc.commands.supervisor import Supervisor
    from operator_svc.errors import ConfigurationError

    try:
        supervisor = Supervisor(settings)
    except ConfigurationError as error:
        common.refuse(error)
    raise SystemExit(supervisor.run())
