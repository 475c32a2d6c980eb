"""``operator-svc check-config``: the settings in force."""

from __future__ import annotations

import os

import click


@click.command("check-config")
def command() -> None:
    """Print the effective settings, secrets masked.

    Ends with exit code 2 and one line for each value that is not valid. Unknown names that
    look like settings are warned of.
    """
    from operator_svc import settings
    from operator_svc.commands import common
    from operator_svc.errors import ConfigurationError

    problems: list[str] = []
    warnings: list[str] = []
    for struct in (settings.Settings, settings.BrowserSettings):
        try:
            loaded, warned = settings.load(struct, os.environ)
        except ConfigurationError as error:
            problems += [p for p in error.problems if p not in problems]
            continue
        warnings += [w for w in warned if w not in warnings]
        title = "operator-svc" if struct is settings.Settings else "operator-browser"
        click.echo(f"# {title}")
        for name, value in settings.masked(loaded).items():
            click.echo(f"{name}={'' if value is None else value}")
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    if problems:
        common.refuse(ConfigurationError(problems))
