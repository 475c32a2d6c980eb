"""The process: how it starts and ends, and that nothing outlives it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from operator_svc.browser_service.chromium import find_executable, sandboxed
from operator_svc.errors import ConfigurationError
from operator_svc.protocol.navigate import NavigateRequest
from operator_svc.settings import BrowserSettings
from tests.browser_service.processes import (
    Process,
    family,
    hanging,
    launch,
    post,
    processes,
    status_of,
)
from tests.fakes.eventually import WITHIN, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def process() -> AsyncIterator[Process]:
    """A running ``operator-browser``."""
    started = await launch(BROWSER_ALLOW="localhost:*")
    try:
        await started.ready()
        yield started
    finally:
        if started.process.returncode is None:
            started.process.kill()
        await started.process.communicate()


async def test_sigterm_answers_draining_and_leaves_no_process(process: Process, site: Any) -> None:
    hang = site.on(lambda request: site.hold.wait()).replace("pages.test", "localhost")
    members = family(process.pid)
    assert any("chrom" in line for line in members.values())
    async with aiohttp.ClientSession() as session:
        pending = asyncio.create_task(status_of(post(session, process, hang)))
        await eventually(lambda: bool(site.seen))
        began = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        assert await pending == 503
        assert await process.process.wait() == 0
        assert time.monotonic() - began < 20
    await eventually(lambda: not set(members) & set(processes()))


async def test_chromium_environment_has_no_token_and_its_folder_is_removed(
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


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """An empty folder whose path is short enough for Chromium's socket; pytest's own may not be."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


async def test_start_removes_folders_of_killed_services(short_folder: Path) -> None:
    gone = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await gone.wait()
    kept = [short_folder / f"opbrowser-{os.getpid()}-x", short_folder / "opbrowser-other-x"]
    dead = short_folder / f"opbrowser-{gone.pid}-x"
    for folder in (*kept, dead):
        folder.mkdir()
    started = await launch(TMPDIR=str(short_folder))
    try:
        await started.ready()
        assert not dead.exists()
        assert all(folder.exists() for folder in kept)
    finally:
        started.process.terminate()
        await started.process.communicate()
    assert sorted(short_folder.iterdir()) == sorted(kept)


async def test_tmpdir_too_long_is_refused_and_the_named_length_works(
    short_folder: Path,
) -> None:
    long = short_folder / ("x" * 60)
    long.mkdir()
    refused = await launch(TMPDIR=str(long))
    async with asyncio.timeout(WITHIN):
        _, told = await refused.process.communicate()
    assert refused.process.returncode == 2
    said = re.fullmatch(
        r"TMPDIR: (.+) is too long for Chromium's socket: "
        r"name a folder with at most (\d+) bytes, such as /tmp",
        told.decode().strip(),
    )
    assert said is not None
    assert said[1] == str(long)
    assert list(long.iterdir()) == []
    # Process ids may have more digits here than the one that was told of had.
    spare = len(Path("/proc/sys/kernel/pid_max").read_text().strip()) - len(str(refused.pid))
    fits = short_folder / ("y" * (int(said[2]) - spare - len(str(short_folder)) - 1))
    fits.mkdir()
    started = await launch(TMPDIR=str(fits))
    try:
        await started.ready()
    finally:
        started.process.terminate()
        await started.process.communicate()


async def test_disabled_features_include_those_of_playwright(service: Any) -> None:
    """Chromium heeds the last list of its command line, which must hold the others."""
    lines = family(service.pool.running[0].driver_pid).values()
    browser = next(line for line in lines if "--user-data-dir" in line and "--type=" not in line)
    off = [
        set(part.partition("=")[2].split(","))
        for part in browser.split()
        if part.startswith("--disable-features=")
    ]
    assert len(off) > 1
    assert set().union(*off) <= off[-1]


async def test_page_starts_one_renderer(service: Any, site: Any) -> None:
    """Chromium would start one for its own window, and one in reserve."""
    hold = asyncio.create_task(service.visit(NavigateRequest(url=hanging(site), timeout_ms=2000)))
    await eventually(lambda: len(renderers()) > 0)
    most = 0
    while not hold.done():
        most = max(most, len(renderers()))
        await asyncio.sleep(0.02)  # the pace of the measurement
    assert (await hold).status == "timeout"
    assert most == 1


def renderers() -> list[str]:
    return [line for line in family(os.getpid()).values() if "--type=renderer" in line]


async def test_sandbox_is_on_unless_root_or_off(
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
async def test_killed_service_leaves_no_chromium(hung: bool, process: Process) -> None:
    members = family(process.pid)
    browsers = [p for p, line in members.items() if "chrom" in line and "--type=" not in line]
    if hung:
        for pid in browsers:
            os.kill(pid, signal.SIGSTOP)
    process.process.kill()
    await process.process.wait()
    # A Chromium that hangs is given 30 seconds by its driver to end in peace.
    await eventually(lambda: not set(members) & set(processes()), 60)


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
async def test_impossible_start_exits_2_with_its_reason(environ: dict[str, str], said: str) -> None:
    refused = await launch(**environ)
    async with asyncio.timeout(WITHIN):
        _, told = await refused.process.communicate()
    assert refused.process.returncode == 2
    assert said in told.decode()
    assert "Traceback" not in told.decode()


async def test_port_in_use_exits_2_with_its_reason(site: Any) -> None:
    refused = await launch(BROWSER_PORT=str(site.port))
    async with asyncio.timeout(WITHIN):
        _, told = await refused.process.communicate()
    assert refused.process.returncode == 2
    assert f"cannot listen on 127.0.0.1:{site.port}" in told.decode()


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


async def test_hung_chromium_does_not_delay_sigterm(process: Process, site: Any) -> None:
    hang = hanging(site).replace("pages.test", "localhost")
    members = family(process.pid)
    browser = next(
        p for p, line in members.items() if "--user-data-dir" in line and "--type=" not in line
    )
    seen = len(site.seen)
    async with aiohttp.ClientSession() as session:
        pending = asyncio.create_task(status_of(post(session, process, hang)))
        await eventually(lambda: len(site.seen) > seen)
        os.kill(browser, signal.SIGSTOP)
        process.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(25):
            assert await pending == 503
            assert await process.process.wait() == 0
    await eventually(lambda: not set(members) & set(processes()))
