"""Finds Chromium, and starts it with no way out but our proxies."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from playwright.async_api import Browser, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from operator_svc.browser_service.flags import FLAGS
from operator_svc.errors import ConfigurationError
from operator_svc.settings import BrowserSettings

log = structlog.get_logger(__name__)

NAMES = (
    "chromium",
    "chromium-browser",
    "chromium-headless-shell",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
"""What Chromium is called on PATH; the first that is there is used."""

HOW_TO_GET = (
    "install it with your system's packages (Debian: apt-get install chromium), "
    "or get Playwright's own with: python -m playwright install chromium-headless-shell; "
    "or name it with BROWSER_EXECUTABLE"
)

START_TIMEOUT = 60.0
CLOSE_TIMEOUT = 3.0
ANSWER_TIMEOUT = 15.0
_FOLDER = "opbrowser-"
_SOCKET = "/org.chromium.Chromium.XXXXXX/SingletonSocket"
"""What Chromium makes in its folder for temporary files."""
MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path (unix(7): 108 with the zero at its end). Chromium ends where the
one that it makes would be longer."""
_PASSED_ON = frozenset({"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TZ", "USER"})


def find_executable(settings: BrowserSettings, path: str | None = None) -> Path | None:
    """Where Chromium is: BROWSER_EXECUTABLE, else the first of NAMES on ``path`` (PATH).

    None where neither is there: then Playwright's own is the last hope. Raises
    ConfigurationError where BROWSER_EXECUTABLE names no program.
    """
    if settings.executable:
        found = shutil.which(settings.executable, path=path)
        if found is None:
            raise ConfigurationError(
                [f"BROWSER_EXECUTABLE: {settings.executable!r} is no program; {HOW_TO_GET}"]
            )
        return Path(found)
    return next((Path(p) for name in NAMES if (p := shutil.which(name, path=path))), None)


def sandboxed(settings: BrowserSettings) -> bool:
    """Whether Chromium's own sandbox is on; ``auto`` is on, except as root, where it can't be."""
    if settings.sandbox == "auto":
        return os.name != "posix" or os.geteuid() != 0
    return settings.sandbox == "on"


class Chromium:
    """One running Chromium and the Playwright driver that steers it.

    ``died`` is set when either has ended, whoever ended it.
    """

    def __init__(self, driver: Playwright, browser: Browser, pid: int | None, folder: Path) -> None:
        self._driver = driver
        self._folder = folder
        self.browser = browser
        self.version = browser.version
        self.pid = pid
        self.died = asyncio.Event()
        self._ended = False
        browser.on("disconnected", lambda _: self._on_end())

    def _on_end(self) -> None:
        self._ended = True
        self.died.set()

    @classmethod
    async def start(cls, settings: BrowserSettings, extra: tuple[str, ...] = ()) -> Chromium:
        """Start the driver and Chromium; raises ConfigurationError where that can't be."""
        executable = find_executable(settings)
        if not sandboxed(settings):
            log.warning("chromium runs without its sandbox", root=os.geteuid() == 0)
        # A folder of our own for all that both write: a killed driver does not clean up.
        _remove_folders_of_the_dead()
        folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))
        try:
            _check_length(folder)
            async with asyncio.timeout(START_TIMEOUT):
                with _temporary_files_in(folder):
                    driver = await async_playwright().start()
                try:
                    return await cls._launch(driver, executable, settings, extra, folder)
                except BaseException:
                    await driver.stop()
                    raise
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, PlaywrightError | TimeoutError):
                log.error("chromium does not start", executable=str(executable), exc_info=error)
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
            # Playwright lets pages open windows at will: we close them anyway.
            ignore_default_args=["--disable-popup-blocking"],
            chromium_sandbox=sandboxed(settings),
            env={**_environment(), "TMPDIR": str(folder)},
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
        return cls(driver, browser, await _process_id(browser), folder)

    async def answers(self) -> bool:
        """Whether Chromium does what it is told; where not, it is given up."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await (await self.browser.new_browser_cdp_session()).detach()
        except (PlaywrightError, TimeoutError):
            self.give_up()
        return not self.died.is_set()

    def give_up(self) -> None:
        """End a Chromium that does not do what it is told; ``died`` is set."""
        self.kill()
        self.died.set()

    async def aclose(self) -> None:
        """End Chromium and its driver; by force where it does not go in CLOSE_TIMEOUT."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.browser.close()
        except (PlaywrightError, TimeoutError) as error:
            log.info("chromium did not close by itself", reason=type(error).__name__)
        finally:
            self.kill()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._driver.stop()
            self.died.set()
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End Chromium's process group at once, where it still runs."""
        if self.pid is not None and not self._ended:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


def _remove_folders_of_the_dead() -> None:
    """Put away what services left here that were killed; each folder names its process."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if not owner.isdecimal():
            continue
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            continue  # it lives, and is somebody else's


def _check_length(folder: Path) -> None:
    """Raise ConfigurationError where Chromium's socket in ``folder`` would have too long a path."""
    beyond = len(os.fsencode(folder)) + len(_SOCKET) - MAX_SOCKET_PATH
    if beyond > 0:
        parent = str(folder.parent)
        raise ConfigurationError(
            [
                f"TMPDIR: {parent} is too long for Chromium's socket: name a folder with "
                f"at most {len(os.fsencode(parent)) - beyond} bytes, such as /tmp"
            ]
        )


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """What is started within keeps its temporary files there; it takes our environment."""
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
    """What Chromium sees of our environment: no token is there for a page that breaks out."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(("LC_", "XDG_", "FONTCONFIG_"))
    }


async def _process_id(browser: Browser) -> int | None:
    session = await browser.new_browser_cdp_session()
    try:
        answer = await session.send("SystemInfo.getProcessInfo")
    finally:
        await session.detach()
    found = [p["id"] for p in answer["processInfo"] if p["type"] == "browser"]
    pid = int(found[0]) if found else None
    # Playwright makes Chromium the leader of a process group: only then may we end the group.
    return pid if pid is not None and os.getpgid(pid) == pid else None


def _start_problem(executable: Path | None, error: BaseException) -> str:
    text = str(error)
    if "No usable sandbox" in text or "sandboxing failed" in text:
        return (
            f"{executable} can not use its sandbox here: allow user namespaces "
            "(in a container: a seccomp profile that permits them), or accept the risk "
            "with BROWSER_SANDBOX=off"
        )
    first = next((line.strip() for line in text.splitlines() if line.strip()), "it took too long")
    return f"{executable} does not start: {first}; {HOW_TO_GET}"
