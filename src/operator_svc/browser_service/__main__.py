"""Command line of ``operator-browser``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import click
import structlog
from aiohttp import web

import operator_svc
from operator_svc import logs
from operator_svc.errors import EXIT_CONFIGURATION, ConfigurationError
from operator_svc.settings import BrowserSettings, load

log = structlog.get_logger("operator_svc.browser_service")

DRAIN_TIMEOUT = 2.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(operator_svc.__version__, prog_name="operator-browser")
def main() -> None:
    """Open web pages for Operator, in a Chromium without a way into private networks.

    Settings come from the environment: BROWSER_HOST, BROWSER_PORT, BROWSER_TOKEN, BROWSER_ALLOW
    and the others of docs/operations.md.
    """
    try:
        settings, warnings = load(BrowserSettings, os.environ)
        logs.configure(settings.log_level, settings.log_format)
        for warning in warnings:
            log.warning("settings warning", problem=warning)
        asyncio.run(serve(settings))
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(EXIT_CONFIGURATION)


async def serve(settings: BrowserSettings) -> None:
    """Serve until SIGTERM or SIGINT; raises ConfigurationError where it cannot start."""
    try:
        from operator_svc.browser_service.server import make_app
        from operator_svc.browser_service.service import BrowserService
    except ModuleNotFoundError as error:
        if error.name != "playwright":
            raise
        raise ConfigurationError(
            ["Playwright is missing: pip install ./clients/python '.[browser]'"]
        ) from error
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    service = BrowserService(settings)
    await service.start()
    runner = web.AppRunner(
        make_app(settings, service),
        handler_cancellation=True,
        auto_decompress=False,
        access_log=None,
        shutdown_timeout=DRAIN_TIMEOUT,
    )
    try:
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.host, settings.port)
            await site.start()
        except OSError as error:
            raise ConfigurationError(
                [f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"]
            ) from error
        host, port = runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in host else host
        log.info("ready", url=f"http://{shown}:{port}", pid=os.getpid())
        await stop.wait()
        log.info("draining")
    finally:
        await service.aclose()
        await runner.cleanup()


if __name__ == "__main__":
    main()
