"""``operator-svc migrate``: the database's schema, forward and back."""

from __future__ import annotations

import os
import sys

import click


@click.command("migrate", short_help="Update the database schema, or roll it back.")
@click.option("--rollback", type=click.IntRange(min=1), help="Take the newest N migrations back.")
def command(rollback: int | None) -> None:
    """Bring the database to the newest schema, or take migrations back.

    Prints the migrations that it applied. Waits while another process migrates. Ends with exit
    code 2 where the settings or a migration are at fault, and with 75 where the database does
    not answer, which may pass.
    """
    from operator_svc.commands import common
    from operator_svc.db import migrations
    from operator_svc.errors import ConfigurationError, OperatorError
    from operator_svc.settings import Settings

    common.end_on_sigterm()
    # Nobody calls a migration, so it needs no token.
    settings = common.load(Settings, {**os.environ, "OPERATOR_AUTH": "off"}, sys.stderr)
    common.run(migrations.check_reachable(settings), settings.event_loop)
    try:
        if rollback is None:
            done, verb = migrations.migrate(settings.sessions_url), "applied"
        else:
            done, verb = migrations.rollback(settings.sessions_url, rollback), "rolled back"
    except ConfigurationError as error:
        common.refuse(error)
    except OperatorError as error:
        common.give_up(error)
    for name in done:
        click.echo(f"{verb} {name}")
    if not done:
        click.echo("nothing to do: the schema is up to date")
