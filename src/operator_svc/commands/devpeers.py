"""``operator-svc devpeers``: the stand-in peers alone."""

from __future__ import annotations

import os

import click


@click.command("devpeers", short_help="Run the stand-ins of `dev` alone.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--switch-port", default=8002, show_default=True, help="Port; 0 takes a free one.")
@click.option("--hermes-port", default=8003, show_default=True, help="Port; 0 takes a free one.")
@click.option("--shub-port", default=8007, show_default=True, help="Port; 0 takes a free one.")
@click.option(
    "--tentaculo-link-port", default=8000, show_default=True, help="Port; 0 takes a free one."
)
def command(
    host: str, switch_port: int, hermes_port: int, shub_port: int, tentaculo_link_port: int
) -> None:
    """Run stand-ins for Switch, Hermes, Shub and the gateway until Ctrl-C.

    Prints the settings by which Operator finds them. They want the token that is set, and none
    where none is set. `POST /standin/mode` makes one misbehave.
    """
    from operator_svc import devpeers, logs
    from operator_svc.commands import common

    logs.configure("info", "auto")
    token = common.token(os.environ)

    async def run() -> None:
        peers = await devpeers.start(
            token,
            host=host,
            switch_port=switch_port,
            hermes_port=hermes_port,
            shub_port=shub_port,
            tentaculo_link_port=tentaculo_link_port,
            operator_url=os.environ.get("OPERATOR_URL", ""),
        )
        async with peers:
            for name, value in peers.environment.items():
                click.echo(f"{name}={value}")
            await common.until_stopped()

    common.run(run())
