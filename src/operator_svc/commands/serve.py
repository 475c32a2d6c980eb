"""``operator-svc serve``: the service."""

from __future__ import annotations

import click


@click.command("serve")
def command() -> None:
    """Serve until SIGTERM, then let running replies end.

    Migrates the database first unless OPERATOR_MIGRATE=off. Logs the event "ready" with its
    url when it accepts connections.
    """
    from operator_svc.commands import common
    from operator_svc.settings import Settings

    common.end_on_sigterm()
    settings = common.load(Settings)

    from operator_svc import lifecycle

    common.run(lifecycle.serve(settings), settings.event_loop)
