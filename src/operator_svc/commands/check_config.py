"""``operator-svc check-config``: the settings in force."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from operator_svc.settings import BrowserSettings, Settings


@click.command("check-config")
def command() -> None:
    """Print the effective settings, secrets masked.

    Ends with exit code 2 and one line for each value that is not valid, the lines of
    OPERATOR_TOKENS_FILE included. Unknown names that look like settings are warned of, and so is a
    browser service that would have no token: it may run elsewhere, or nowhere.
    """
    from operator_svc.commands import common
    from operator_svc.db import check_urls
    from operator_svc.errors import ConfigurationError, NoTokenError
    from operator_svc.services import auth, jwt_verifier
    from operator_svc.settings import BrowserSettings, Settings, load, masked

    problems: list[str] = []
    warnings: list[str] = []

    def read_settings() -> tuple[Settings, list[str]]:
        loaded, warned = load(Settings, os.environ)
        check_urls(loaded)
        if faults := [*auth.problems(loaded), *jwt_verifier.problems(loaded)]:
            raise ConfigurationError(faults)
        return loaded, warned

    readers: dict[str, Callable[[], tuple[Settings | BrowserSettings, list[str]]]] = {
        "operator-svc": read_settings,
        "operator-browser": lambda: load(BrowserSettings, os.environ),
    }
    for title, read in readers.items():
        try:
            loaded, warned = read()
        except ConfigurationError as error:
            if title == "operator-browser" and isinstance(error, NoTokenError):
                warnings += [f"{title}: {line}" for line in error.problems]
            else:
                problems += [line for line in error.problems if line not in problems]
            continue
        warnings += [line for line in warned if line not in warnings]
        click.echo(f"# {title}")
        for name, value in masked(loaded).items():
            click.echo(f"{name}={value}")
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    if problems:
        common.refuse(ConfigurationError(problems))
