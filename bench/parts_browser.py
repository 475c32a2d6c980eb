"""The browser service beside Playwright itself, where there is a Chromium."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from bench.browser_bench import GOAL_MEMORY, GOAL_RATIO
from bench.context import Bench
from bench.processes import ROOT
from bench.results import Figure
from operator_svc.browser_service.chromium import find_executable
from operator_svc.settings import BrowserSettings


async def browser(bench: Bench) -> None:
    """One page, and memory after many: see bench.browser_bench, which runs on its own."""
    if find_executable(BrowserSettings()) is None:
        bench.note("no Chromium on PATH: not measured")
        return
    pages, more = (10, 40) if bench.quick else (40, 200)
    out = bench.folder / "browser.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.browser_bench", "--pages", str(pages),
        "--memory-pages", str(more), "--out", str(out),
        cwd=ROOT, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await process.wait()  # 1 where a goal is missed: the figures say so too
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    found = msgspec.json.decode(out.read_bytes())
    part = "browser"
    bench.add(
        Figure(part=part, name="time of a page, relative to the same steps on Playwright",
               value=found["ratio"], unit="", target=GOAL_RATIO),
        Figure(part=part, name=f"memory after {more} pages, relative to before",
               value=found["memory_mib"]["service"]["ratio"], unit="", target=GOAL_MEMORY),
        Figure(part=part, name="time of a page, median",
               value=found["service_ms"]["median"], unit="ms"),
    )  # fmt: skip
