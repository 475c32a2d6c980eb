"""``operator-svc completion``: the script by which a shell completes the commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes the commands and their options.

    For bash: `eval "$(operator-svc completion bash)"` in ~/.bashrc.
    """
    completion = get_completion_class(shell)
    assert completion is not None, "click has all of SHELLS"
    root = context.find_root()
    click.echo(completion(root.command, {}, "operator-svc", "_OPERATOR_SVC_COMPLETE").source())
