"""Finds Chromium, and starts it with no network but the page proxies."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from weakref import WeakKeyDictionary

import structlog
from playwright.async_api import Browser, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from operator_svc.browser_service import process_memory
from operator_svc.browser_service.flags import FLAGS
from operator_svc.errors import ConfigurationError
from operator_svc.settings import BrowserSettings

log = structlog.get_logger(__name__)

NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
"""Chromium's names on PATH, in the order in which they are tried."""

HOW_TO_GET = (
    "install it with your system's packages (Debian: apt-get install chromium-headless-shell), "
    "or get Playwright's own with: python -m playwright install chromium-headless-shell; "
    "or name it with BROWSER_EXECUTABLE"
)

UNUSED_DATA = 512 * 2**20
"""Bytes of writable memory that a process of Chromium reserves and does not use."""
START_TIMEOUT = 60.0
CLOSE_TIMEOUT = 3.0
ANSWER_TIMEOUT = 15.0
_FOLDER_PREFIX = "opbrowser-"
_SOCKET_SUFFIX = "/org.chromium.Chromium.XXXXXX/SingletonSocket"
"""Path of the socket that Chromium creates in its temporary folder."""
MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path (unix(7): 108 with the final zero). Chromium exits where its own
would be longer."""
_INHERITED = frozenset({"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TZ", "USER"})


def find_executable(settings: BrowserSettings, path: str | None = None) -> Path | None:
    """Return BROWSER_EXECUTABLE, else the first of NAMES on ``path`` (default: PATH).

    None where there is neither: then Playwright's own is used. Raises ConfigurationError where
    BROWSER_EXECUTABLE names no program.
    """
    if settings.executable:
        found = shutil.which(settings.executable, path=path)
        if found is None:
            raise ConfigurationError(
                [f"BROWSER_EXECUTABLE: {settings.executable!r} is not an executable; {HOW_TO_GET}"]
            )
        return Path(found)
    return next((Path(p) for name in NAMES if (p := shutil.which(name, path=path))), None)


def sandboxed(settings: BrowserSettings) -> bool:
    """True where Chromium's sandbox is on; ``auto`` means on, except as root, where it cannot."""
    if settings.sandbox == "auto":
        return os.name != "posix" or os.geteuid() != 0
    return settings.sandbox == "on"


class Chromium:
    """One running Chromium and the Playwright driver that controls it.

    ``died`` is set when either has ended, for whatever reason.
    """

    def __init__(self, driver: Playwright, browser: Browser, group: int, folder: Path) -> None:
        self._driver = driver
        self._folder = folder
        self.browser = browser
        self.version = browser.version
        self.group = group
        """The process group of all its processes."""
        self.driver_pid = process_memory.parent_of(group)
        self.died = asyncio.Event()
        self.discarded = False
        """True where the service ended it on purpose."""
        self._ended = False
        browser.on("disconnected", lambda _: self._on_end())

    def _on_end(self) -> None:
        self._ended = True
        self.died.set()

    @classmethod
    async def start(cls, settings: BrowserSettings, extra: tuple[str, ...] = ()) -> Chromium:
        """Start the driver and Chromium; raises ConfigurationError where that fails."""
        executable = find_executable(settings)
        if not sandboxed(settings):
            log.warning("chromium sandbox disabled", root=os.geteuid() == 0)
        # One folder for all files of both: a killed driver does not clean up.
        _remove_stale_folders()
        folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{os.getpid()}-"))
        try:
            _check_length(folder)
            async with asyncio.timeout(START_TIMEOUT):
                async with _temporary_folder(folder):
                    driver = await async_playwright().start()
                try:
                    return await cls._launch(driver, executable, settings, extra, folder)
                except BaseException:
                    await driver.stop()
                    raise
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, PlaywrightError | TimeoutError):
                log.error("chromium start failed", executable=str(executable), exc_info=error)
                raise ConfigurationError([_start_problem(executable, error)]) from error
            raise

    @classmethod
    async def _launch(
        cls,
        driver: Playwright,
        executable: Path | None,
        settings: BrowserSettings,
        extra: tuple[str, ...],
        folder: Path,
    ) -> Chromium:
        if executable is None:
            executable = Path(driver.chromium.executable_path)
            if not executable.is_file():
                raise ConfigurationError([f"there is no Chromium: {HOW_TO_GET}"])
        browser = await driver.chromium.launch(
            executable_path=executable,
            args=[*FLAGS, *extra],
            # Playwright lets pages open any number of windows; they are closed anyway.
            ignore_default_args=["--disable-popup-blocking"],
            chromium_sandbox=sandboxed(settings),
            env={**_environment(), "TMPDIR": str(folder)},
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
        group = await _process_group(browser)
        chromium = cls(driver, browser, group, folder)
        # Before any page: renderers are forked by these processes and inherit the limit.
        chromium.limit_data(process_memory.group_members([group])[group], settings.page_memory)
        return chromium

    def limit_data(self, processes: Iterable[int], budget: int) -> None:
        """Have the kernel hold ``processes`` of this Chromium to the budget of a page, in bytes."""
        process_memory.limit_data(processes, budget + UNUSED_DATA)

    async def is_responsive(self) -> bool:
        """True where Chromium answers a command; otherwise it is abandoned."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await (await self.browser.new_browser_cdp_session()).detach()
        except (PlaywrightError, TimeoutError):
            self.abandon()
        return not self.died.is_set()

    def abandon(self) -> None:
        """Kill a Chromium that does not respond, and set ``died``."""
        self.kill()
        self.died.set()

    def discard(self) -> None:
        """Kill a Chromium that uses too much memory; ``died`` is set, and it is replaced."""
        self.discarded = True
        self.abandon()

    async def aclose(self) -> None:
        """End Chromium and its driver; kill them where that takes longer than CLOSE_TIMEOUT."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.browser.close()
        except (PlaywrightError, TimeoutError) as error:
            log.info("chromium close failed, killing it", reason=type(error).__name__)
        finally:
            self.kill()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._driver.stop()
            self.died.set()
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def kill(self) -> None:
        """Kill Chromium's process group, where it still runs."""
        if not self._ended:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.group, signal.SIGKILL)


def _remove_stale_folders() -> None:
    """Remove the folders of services that were killed; a folder's name has the process id."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*-*"):
        owner = folder.name.removeprefix(_FOLDER_PREFIX).partition("-")[0]
        if not owner.isdecimal():
            continue
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            continue  # the process runs as another user


def _check_length(folder: Path) -> None:
    """Raise ConfigurationError where Chromium's socket in ``folder`` would have too long a path."""
    beyond = len(os.fsencode(folder)) + len(_SOCKET_SUFFIX) - MAX_SOCKET_PATH
    if beyond > 0:
        parent = str(folder.parent)
        raise ConfigurationError(
            [
                f"TMPDIR: {parent} is too long for Chromium's socket: name a folder with "
                f"at most {len(os.fsencode(parent)) - beyond} bytes, such as /tmp"
            ]
        )


_driver_starts: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
"""Drivers start one after the other: all read the one environment of this process."""


@asynccontextmanager
async def _temporary_folder(folder: Path) -> AsyncIterator[None]:
    """Set TMPDIR within: the driver inherits the environment of this process."""
    async with _driver_starts.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = str(folder)
        try:
            yield
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before


def _environment() -> dict[str, str | float | bool]:
    """Return Chromium's environment: without tokens, which a page that breaks out would find."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.startswith(("LC_", "XDG_", "FONTCONFIG_"))
    }


async def _process_group(browser: Browser) -> int:
    """The process group of Chromium, which Playwright starts as one of its own."""
    session = await browser.new_browser_cdp_session()
    try:
        answer = await session.send("SystemInfo.getProcessInfo")
    finally:
        await session.detach()
    pid = next(int(p["id"]) for p in answer["processInfo"] if p["type"] == "browser")
    group = os.getpgid(pid)
    if group == os.getpgrp():  # it must never be killed
        raise ConfigurationError(["Chromium does not run in a process group of its own"])
    return group


def _start_problem(executable: Path | None, error: BaseException) -> str:
    text = str(error)
    if "No usable sandbox" in text or "sandboxing failed" in text:
        return (
            f"{executable} cannot use its sandbox here: allow user namespaces "
            "(in a container: a seccomp profile that permits them), or accept the risk "
            "with BROWSER_SANDBOX=off"
        )
    first = next((line.strip() for line in text.splitlines() if line.strip()), "it took too long")
    return f"{executable} does not start: {first}; {HOW_TO_GET}"
