"""The process: its start and end, its Chromium's deaths, and what it leaves behind: nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from operator_svc.browser_service.bodies import NavigateRequest
from operator_svc.browser_service.chromium import find_executable, sandboxed
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.settings import BrowserSettings

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]


def processes() -> dict[int, tuple[int, str]]:
    """All processes of the machine: parent and command line by process id."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text()
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it ended meanwhile
            state, parent = status.rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(folder.name)] = (int(parent), line)
    return found


def family(pid: int) -> dict[int, str]:
    """The command lines of ``pid`` and all that it has started."""
    everything = processes()
    members = {pid}
    while more := {p for p, (parent, _) in everything.items() if parent in members} - members:
        members |= more
    return {p: everything[p][1] for p in members if p in everything}


def open_files(pids: list[int]) -> int:
    """How many files these processes have open."""
    total = 0
    for pid in pids:
        try:
            total += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
    return total


async def eventually(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


class Process:
    """``operator-browser`` as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    async def ready(self) -> None:
        """Wait for the log line that says where it listens."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            async for line in self.process.stdout:
                event = json.loads(line)
                if event["event"] == "ready":
                    self.url = event["url"]
                    return
        raise AssertionError("it ended before it was ready")


async def launch(**environ: str) -> Process:
    """Start ``operator-browser`` with these settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPERATOR_", "BROWSER_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "operator_svc.browser_service",
        env={**kept, "BROWSER_PORT": "0", "BROWSER_TOKEN": "the-token", **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return Process(process)


@pytest_asyncio.fixture(loop_scope="module")
async def process() -> AsyncIterator[Process]:
    """A running ``operator-browser``."""
    started = await launch(BROWSER_ALLOW="localhost")
    try:
        await started.ready()
        yield started
    finally:
        if started.process.returncode is None:
            started.process.kill()
        await started.process.communicate()


def post(session: aiohttp.ClientSession, process: Process, url: str) -> Any:
    return session.post(
        f"{process.url}/navigate", json={"url": url}, headers={"X-VX11-Token": "the-token"}
    )


async def test_it_serves_and_ends_on_sigterm_with_all_it_started(
    process: Process, site: Any
) -> None:
    hang = site.on(lambda request: site.hold.wait()).replace("pages.test", "localhost")
    members = family(process.pid)
    assert any("chrom" in line for line in members.values())
    async with aiohttp.ClientSession() as session:
        pending = asyncio.create_task(_status(post(session, process, hang)))
        await eventually(lambda: bool(site.seen))
        began = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        assert await pending == 503
        assert await process.process.wait() == 0
        assert time.monotonic() - began < 8
    await eventually(lambda: not set(members) & set(processes()), 3)


async def _status(request: Any) -> int:
    async with request as response:
        await response.read()
        return int(response.status)


async def test_chromium_knows_no_secret_and_its_files_go_with_it(
    process: Process,
) -> None:
    members = family(process.pid)
    browser = next(
        p for p, line in members.items() if "--user-data-dir" in line and "--type=" not in line
    )
    environ = Path(f"/proc/{browser}/environ").read_bytes().split(b"\0")
    assert not [entry for entry in environ if b"the-token" in entry]
    folder = Path(next(e for e in environ if e.startswith(b"TMPDIR=")).decode().partition("=")[2])
    profile = next(part for part in members[browser].split() if part.startswith("--user-data-dir="))
    assert Path(profile.partition("=")[2]).is_relative_to(folder)
    process.process.terminate()
    await process.process.wait()
    assert not folder.exists()


async def test_sandbox_is_on_unless_root_or_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table: list[tuple[int, Any, bool]] = [
        (0, "auto", False),
        (1000, "auto", True),
        (0, "on", True),
        (1000, "off", False),
    ]
    for user, setting, expected in table:
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert sandboxed(BrowserSettings(sandbox=setting)) is expected


@pytest.mark.parametrize("hung", [False, True])
async def test_no_chromium_outlives_a_service_that_was_killed(hung: bool, process: Process) -> None:
    members = family(process.pid)
    browsers = [p for p, line in members.items() if "chrom" in line and "--type=" not in line]
    if hung:
        for pid in browsers:
            os.kill(pid, signal.SIGSTOP)
    process.process.kill()
    await process.process.wait()
    # A Chromium that hangs is given 30 seconds by its driver to end in peace.
    await eventually(lambda: not set(members) & set(processes()), 45 if hung else 10)


async def test_no_chromium_outlives_its_driver(process: Process) -> None:
    members = family(process.pid)
    driver = next(p for p, line in members.items() if "run-driver" in line)
    browsers = {p for p, line in members.items() if "--type=" in line or "--headless" in line}
    os.kill(driver, signal.SIGKILL)
    await eventually(lambda: not browsers & set(processes()), 10)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"BROWSER_EXECUTABLE": "/nowhere/chromium"}, "apt-get install chromium"),
        ({"BROWSER_EXECUTABLE": "/bin/false"}, "/bin/false does not start"),
        ({"BROWSER_ALLOW": "10.0.0.0/8, http://x, 1.2.3"}, "'http://x' is no host"),
        ({"BROWSER_PAGES": "0", "BROWSER_PORT": "x"}, "BROWSER_PAGES"),
        ({"BROWSER_TOKEN": ""}, "no token"),
        ({"PATH": "/nowhere", "PLAYWRIGHT_BROWSERS_PATH": "/nowhere"}, "playwright install"),
    ],
)
async def test_a_start_that_can_not_be_says_why(environ: dict[str, str], said: str) -> None:
    refused = await launch(**environ)
    async with asyncio.timeout(30):
        _, told = await refused.process.communicate()
    assert refused.process.returncode == 2
    assert said in told.decode()
    assert "Traceback" not in told.decode()


async def test_a_port_that_is_taken_is_said(site: Any) -> None:
    refused = await launch(BROWSER_PORT=str(site.port))
    async with asyncio.timeout(30):
        _, told = await refused.process.communicate()
    assert refused.process.returncode == 2
    assert f"can not listen on 127.0.0.1:{site.port}" in told.decode()


async def test_chromium_is_found_by_setting_and_on_path(tmp_path: Path) -> None:
    program = tmp_path / "google-chrome"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_executable(BrowserSettings(), str(tmp_path)) == program
    better = tmp_path / "chromium"
    better.symlink_to(program)
    assert find_executable(BrowserSettings(), str(tmp_path)) == better
    named = BrowserSettings(executable=str(program))
    assert find_executable(named, "/nowhere") == program
    assert find_executable(BrowserSettings(), "/nowhere") is None
    with pytest.raises(ConfigurationError, match="BROWSER_EXECUTABLE"):
        find_executable(BrowserSettings(executable="chromium-of-dreams"))


def hanging(site: Any) -> str:
    return str(site.on(lambda request: site.hold.wait()))


@pytest.mark.parametrize("victim", ["chromium", "driver"])
async def test_a_death_is_repaired_and_the_queue_goes_on(
    victim: str, service: Any, site: Any
) -> None:
    url = hanging(site)
    seen = len(site.seen)
    open_pages = [
        asyncio.create_task(service.visit(NavigateRequest(url=url)))
        for _ in range(service.slots.taken, 4)
    ]
    queued = [
        asyncio.create_task(service.visit(NavigateRequest(url=site.page("<p>queued"))))
        for _ in range(6)
    ]
    await eventually(lambda: len(site.seen) >= seen + 4)
    old = service.keeper.current
    if victim == "chromium":
        os.kill(old.pid, signal.SIGKILL)
    else:
        mine = family(os.getpid())
        drivers = [p for p, line in mine.items() if "run-driver" in line]
        assert len(drivers) == 1
        os.kill(drivers[0], signal.SIGKILL)
    for failure in await asyncio.gather(*open_pages, return_exceptions=True):
        assert isinstance(failure, OperatorError)
        assert failure.code is ErrorCode.BROWSER_UNAVAILABLE
        assert failure.retry_after == 1
        assert "Chromium died under the page" in failure.detail
        assert failure.extra == {"cause": "died"}
    answers = await asyncio.gather(*queued)
    assert [answer.text for answer in answers] == ["queued"] * 6
    assert service.keeper.current is not old
    await eventually(lambda: old.pid not in processes())


async def test_an_idle_death_is_repaired_before_the_next_page(service: Any, site: Any) -> None:
    old = service.keeper.current
    os.kill(old.pid, signal.SIGKILL)
    await eventually(lambda: old.died.is_set())
    answer = await service.visit(NavigateRequest(url=site.page("<p>next")))
    assert answer.text == "next"
    drivers = [p for p, line in family(os.getpid()).items() if "run-driver" in line]
    os.kill(drivers[0], signal.SIGKILL)
    answer = await service.visit(NavigateRequest(url=site.page("<p>again")))
    assert answer.text == "again"


async def test_a_chromium_that_hangs_is_replaced(
    service: Any, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from operator_svc.browser_service import tab

    monkeypatch.setattr(tab, "OPEN_TIMEOUT", 3.0)
    old = service.keeper.current
    os.kill(old.pid, signal.SIGSTOP)
    answers = await asyncio.gather(
        *(service.visit(NavigateRequest(url=site.page("<p>x"))) for _ in range(6))
    )
    assert [answer.text for answer in answers] == ["x"] * 6
    assert service.keeper.current is not old
    await eventually(lambda: old.pid not in processes())


async def test_a_hung_chromium_does_not_hold_the_end_up(process: Process, site: Any) -> None:
    hang = hanging(site).replace("pages.test", "localhost")
    members = family(process.pid)
    browser = next(
        p for p, line in members.items() if "--user-data-dir" in line and "--type=" not in line
    )
    seen = len(site.seen)
    async with aiohttp.ClientSession() as session:
        pending = asyncio.create_task(_status(post(session, process, hang)))
        await eventually(lambda: len(site.seen) > seen)
        os.kill(browser, signal.SIGSTOP)
        process.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(25):
            assert await pending == 503
            assert await process.process.wait() == 0
    await eventually(lambda: not set(members) & set(processes()), 5)


@pytest.mark.timeout(400)
async def test_nothing_is_left_of_200_pages(service: Any, site: Any) -> None:
    """All kinds of pages; no process, file, context, proxy or task is left of them."""
    kinds = [
        NavigateRequest(url=site.page("<p>x")),
        NavigateRequest(url=site.page("<p>x<iframe srcdoc='y'></iframe>"), script="1"),
        NavigateRequest(url="http://10.0.0.1/"),
        NavigateRequest(url=hanging(site), timeout_ms=50),
        NavigateRequest(url=site.page("<script>new Worker('data:,1')</script>")),
        NavigateRequest(url="file:///etc/passwd"),
        NavigateRequest(url="http://nowhere.test/"),
        NavigateRequest(url=site.page("<p>x<script>while (1) {}</script>"), timeout_ms=50),
    ]

    async def visit(count: int) -> None:
        requests = [kinds[number % len(kinds)] for number in range(count)]
        for start in range(0, count, 8):
            await asyncio.gather(*(service.visit(r) for r in requests[start : start + 8]))

    def left() -> tuple[int, int, int]:
        """Processes, open files and tasks."""
        members = list(family(os.getpid()))
        return len(members), open_files(members), len(asyncio.all_tasks())

    async def settled() -> tuple[int, int, int]:
        """The least of each, while Chromium puts away what it had."""
        looks = []
        for _ in range(15):
            looks.append(left())
            await asyncio.sleep(0.2)
        return min(n for n, _, _ in looks), min(n for _, n, _ in looks), min(n for *_, n in looks)

    from operator_svc.browser_service import steps

    steps.GRACE, kept = 0.3, steps.GRACE
    try:
        await visit(24)
        before = await settled()
        await visit(200)
    finally:
        steps.GRACE = kept
    assert service.keeper.current.browser.contexts == []
    assert service._gate.own_ports == set()
    # A busy Chromium takes its time to end processes; what it forgets, it forgets for ever.
    after = await settled()
    for _ in range(10):
        if after[0] <= before[0] and after[1] <= before[1] + 5 and after[2] <= before[2]:
            break
        after = await settled()
    assert after[0] <= before[0], "processes"
    assert after[1] <= before[1] + 5, "open files"
    assert after[2] <= before[2], "tasks"
