"""``operator-svc dev``: all that is needed to try Operator on a machine without VX11."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import select
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from urllib.parse import quote

import click

from operator_svc.errors import ConfigurationError
from operator_svc.protocol import headers

DEFAULT_URL = "http://127.0.0.1:8011"
"""The address of a service with the default settings, and where `chat` looks for one."""
DEV_TOKEN = Path("data/token")
"""The file in which the token that was made stays while `operator-svc dev` runs."""
DEV_ORIGINS = "http://localhost,http://localhost:*,http://127.0.0.1,http://127.0.0.1:*"
"""Origins of the development servers of user interfaces, at whatever port they listen."""
BROWSER_END = 10.0
"""Seconds that the browser service may take to end before it is killed."""
TERMINAL_INTERVAL = 1.0
"""Seconds between two looks for whether the terminal is still there."""


@click.command("dev", short_help="Try Operator on this machine, with stand-ins for its peers.")
def command() -> None:
    """Serve on SQLite in ./data, with stand-ins for VX11's modules; Ctrl-C ends all of it.

    Closing the terminal ends it too. A random token is made where none is set, and stays in
    ./data/token while this runs, so that `operator-svc chat` in the same folder finds it. The
    browser service is started too where Chromium is installed. A module whose address is set
    (SWITCH_URL and so on) is used instead of its stand-in, and any other setting holds as it does
    for `serve`, but for OPERATOR_WORKERS: this is one process.
    """
    from operator_svc.commands import common
    from operator_svc.settings import Settings

    environ, made = {**os.environ, "OPERATOR_WORKERS": "1"}, ""
    if environ.get("OPERATOR_AUTH") != "off" and not common.token(environ):
        environ["OPERATOR_TOKEN"] = made = secrets.token_urlsafe(24)
    settings = common.load(Settings, environ)
    common.run(_dev(environ, settings.token, made), settings.event_loop)


async def _dev(environ: dict[str, str], token: str, made: str) -> None:
    from operator_svc import devpeers
    from operator_svc.background import TaskOwner
    from operator_svc.lifecycle import serve
    from operator_svc.settings import Settings, load

    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # nohup(1) ignores it
    async with AsyncExitStack() as stack:
        terminal = stack.enter_context(_terminal() if hangs_up else nullcontext())
        tasks = await stack.enter_async_context(TaskOwner("dev"))
        peers = await stack.enter_async_context(await devpeers.start(token))
        environ = {"OPERATOR_ALLOWED_ORIGINS": DEV_ORIGINS} | peers.environment | environ
        replaced = [name for name in peers.environment if name not in os.environ]
        notes = [f"stand-ins answer for {', '.join(replaced)}"] if replaced else []
        if "BROWSER_URL" not in environ:
            environ["BROWSER_URL"] = ""
            if missing := _browser_missing(environ):
                notes.append(missing)
            else:
                url = await stack.enter_async_context(_browser(environ))
                environ["BROWSER_URL"] = url
                notes.append(f"the browser service runs at {url}")
        settings, _ = load(Settings, environ)

        def ready(url: str) -> None:
            peers.tentaculo_link.modules["operator-backend"] = url
            # Not before: another one may serve from this folder, and its token stays.
            stack.enter_context(_token_file(made))
            # A terminal that was closed leaves nobody who could end it.
            if hangs_up:
                loop = asyncio.get_running_loop()
                loop.add_signal_handler(signal.SIGHUP, signal.raise_signal, signal.SIGTERM)
            if terminal is not None:
                tasks.start(_end_with_terminal(terminal), "terminal")
            click.echo(_welcome(url, settings.token, notes))

        await serve(settings, ready)


@contextmanager
def _terminal() -> Iterator[int | None]:
    """The terminal of this process, opened only to see when it is closed; None without one."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        yield None
        return
    try:
        yield terminal
    finally:
        os.close(terminal)


async def _end_with_terminal(terminal: int) -> None:
    """End this process once its terminal is closed.

    The kernel sends SIGHUP to the leader of the session alone. A leader such as make, which waits
    for this process, does not pass it on.
    """
    looks = select.poll()
    looks.register(terminal, 0)  # a hang-up is always reported, and nothing is read
    while True:
        if looks.poll(0):
            signal.raise_signal(signal.SIGTERM)
            return
        await asyncio.sleep(TERMINAL_INTERVAL)


@contextmanager
def _token_file(token: str) -> Iterator[None]:
    """Keep the token that was made in a file of its user's; one of an earlier run is removed.

    Raises ConfigurationError where the folder cannot be written.
    """
    try:
        DEV_TOKEN.unlink(missing_ok=True)
        if token:
            DEV_TOKEN.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A new file: one that others can read already would stay so.
            DEV_TOKEN.touch(mode=0o600, exist_ok=False)
            DEV_TOKEN.write_text(f"{token}\n")
    except OSError as error:
        raise ConfigurationError([f"{DEV_TOKEN} cannot be written: {error.strerror}"]) from error
    try:
        yield
    finally:
        if token:
            DEV_TOKEN.unlink(missing_ok=True)


def _browser_missing(environ: dict[str, str]) -> str:
    """The reason for having no browser service, and how to get one; else an empty text."""
    from operator_svc.settings import BrowserSettings, load

    try:
        from operator_svc.browser_service.chromium import HOW_TO_GET, find_executable
    except ModuleNotFoundError:
        return (
            "no browser service: Playwright is missing; pip install ./clients/python '.[browser]'"
        )
    settings, _ = load(BrowserSettings, environ)
    if find_executable(settings, environ.get("PATH")) is None:
        return f"no browser service: Chromium is missing; {HOW_TO_GET}"
    return ""


@asynccontextmanager
async def _browser(environ: dict[str, str]) -> AsyncIterator[str]:
    """The browser service as a process of its own; gives its address."""
    from operator_svc.commands.common import end_with_parent
    from operator_svc.settings import BrowserSettings, load

    settings, _ = load(BrowserSettings, environ)
    port = settings.port or _free_port()
    # A session of its own: Ctrl-C reaches only us, and we end it in order.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "operator_svc.browser_service",
        env=environ | {"BROWSER_PORT": str(port)},
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), BROWSER_END)
            except TimeoutError:
                process.kill()
                await process.wait()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _welcome(url: str, token: str, notes: list[str]) -> str:
    header = f"-H '{headers.TOKEN}: {token}' " if token else ""
    chat = f"curl -sN {url}/operator/chat {header}-H 'Content-Type: application/json'"
    body = """'{"session_id": "demo", "message": "Hello, Operator"}'"""
    socket = f"ws{url.removeprefix('http')}/ws/demo"
    lines = [
        "",
        f"Operator listens on {url}",
        f"  console: {url}/console{f'#token={quote(token)}' if token else ''}",
        f"  in a terminal: {_command()} chat{'' if url == DEFAULT_URL else f' --url {url}'}",
        f"  API reference: {url}/docs",
        f"  token: {token or 'not needed (OPERATOR_AUTH=off)'}",
        *(f"  {note}" for note in notes),
        "",
        "A chat, and the same streamed:",
        f"  {chat} -d {body}",
        f"  {chat} -H 'Accept: text/event-stream' -d {body}",
        "",
        "A websocket; send the lines below it one by one:",
        f"  {_websocket_client()} {socket}",
        *([f'    {{"type": "auth", "token": "{token}"}}'] if token else []),
        '    {"type": "chat", "id": 1, "message": "Hello, Operator"}',
        "",
        "Ctrl-C ends all of it.",
        "",
    ]
    return "\n".join(lines)


def _websocket_client() -> str:
    """A client that is there; ``websocat`` is what people have where ours is not installed."""
    if importlib.util.find_spec("websockets") is None:
        return "websocat"
    return f"{_shortest(Path(sys.executable))} -m websockets"


def _command() -> str:
    """This command, as one types it here."""
    own = Path(sys.executable).with_name("operator-svc")
    if shutil.which("operator-svc") == str(own):
        return "operator-svc"
    if own.exists():
        return str(_shortest(own))
    return f"{_shortest(Path(sys.executable))} -m operator_svc"


def _shortest(path: Path) -> Path:
    """``path``, relative where it is below the current folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
