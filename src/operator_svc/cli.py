"""``operator-svc``: the commands, each in a module of its own under ``commands``.

A command's module is imported when its help or the command itself is wanted, and imports the
parts that it runs only when it runs: ``--help`` is quick, and ``serve`` carries nothing that
only the others need.
"""

from __future__ import annotations

import gc
import importlib
import sys

import click

import operator_svc

COMMANDS = {
    "serve": "serve",
    "dev": "dev",
    "devpeers": "devpeers",
    "migrate": "migrate",
    "check-config": "check_config",
    "adopt": "adopt",
    "chat": "chat",
    "completion": "completion",
}
"""A command's name and its module below ``operator_svc.commands``, which has ``command``."""

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, while it was imported too."""

YOUNG_OBJECTS = 10_000
"""New objects after which garbage is collected; Python's own number is 700. Everything waits while
it is collected, and cycles that hold a request each make that long: see ``errors.drop_frames``.
What is imported at a start stays, so to look for garbage among it is a tenth of a start's time."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"operator_svc.commands.{COMMANDS[cmd_name]}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(operator_svc.__version__, prog_name="operator-svc")
def main() -> None:
    """Operator, a chat backend in front of VX11's Switch or any OpenAI server.

    Settings come from the environment; `operator-svc check-config` shows those in force.
    """
    gc.set_threshold(YOUNG_OBJECTS)
