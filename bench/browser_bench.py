"""The browser service beside the same steps written directly on Playwright.

    python -m bench.browser_bench [--pages 40] [--memory-pages 200] [--out FILE]

Both open the same local page in a fresh context, read its title, text and links, take its
picture and close the context, in turns, so that what else the machine does hits both. The
service runs as a process of its own and is asked over HTTP. Then its memory is looked at: after
a warm-up, and after 200 pages more.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from playwright.async_api import Browser, async_playwright

from operator_svc.browser_service.chromium import find_executable, sandboxed
from operator_svc.browser_service.flags import DISABLED_FEATURES
from operator_svc.settings import BrowserSettings

TOKEN = "bench"
GOAL_RATIO = 1.5
GOAL_MEMORY = 1.10
WARM_UP = 100
_LINKS = "all => all.map(a => [a.href, a.innerText])"


def page_html() -> str:
    """A page of usual size: some text, links, a style and a script."""
    rows = "".join(
        f"<p>Paragraph {n} with <a href='/page/{n}'>a link</a> and some words to read.</p>"
        for n in range(200)
    )
    return (
        "<!doctype html><title>A page</title><link rel=stylesheet href=/style.css>"
        f"<script src=/script.js></script><h1>A page</h1>{rows}<img src=/pixel.svg>"
    )


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """The page's server; gives its address."""
    kinds = {
        "/": ("text/html", page_html()),
        "/style.css": ("text/css", "body { font-family: sans-serif } a { color: green }"),
        "/script.js": ("text/javascript", "document.documentElement.dataset.seen = '1'"),
        "/pixel.svg": ("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'/>"),
    }

    async def serve(request: web.BaseRequest) -> web.Response:
        kind, text = kinds.get(request.path, ("text/plain", ""))
        return web.Response(text=text, content_type=kind)

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://localhost:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def service() -> AsyncIterator[tuple[str, int]]:
    """A running ``operator-browser``; gives its address and process id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "operator_svc.browser_service",
        env={
            **os.environ,
            "BROWSER_PORT": "0",
            "BROWSER_TOKEN": TOKEN,
            "BROWSER_ALLOW": "localhost:*",
            "OPERATOR_LOG_FORMAT": "json",
        },
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "ready":
                yield event["url"], process.pid
                break
    finally:
        process.terminate()
        await process.communicate()


async def directly(browser: Browser, url: str) -> None:
    """One page by Playwright alone."""
    context = await browser.new_context(viewport={"width": 1280, "height": 720})
    try:
        page = await context.new_page()
        lines: list[str] = []
        page.on("console", lambda message: lines.append(message.text))
        response = await page.goto(url)
        assert response is not None
        assert response.status == 200
        assert await page.title() == "A page"
        assert "Paragraph 199" in await page.inner_text("body")
        assert len(await page.eval_on_selector_all("a[href]", _LINKS)) == 200
        assert base64.b64encode(await page.screenshot())
    finally:
        await context.close()


async def by_service(session: aiohttp.ClientSession, address: str, url: str) -> None:
    """The same page by the service."""
    async with session.post(
        f"{address}/navigate", json={"url": url}, headers={"X-VX11-Token": TOKEN}
    ) as response:
        answer = await response.json()
    assert (answer["status"], answer["http_status"], answer["title"]) == ("ok", 200, "A page")
    assert "Paragraph 199" in answer["text"]
    assert len(answer["links"]) == 200
    assert answer["screenshot"]


async def timed(work: Any) -> float:
    """Milliseconds that ``work`` takes."""
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * 1000


def memory(pid: int) -> dict[str, float]:
    """MiB of the service's own process, and of it with its driver and Chromium (shared parts
    divided among those who share them)."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    family = {pid}
    while more := {p for p, parent in parents.items() if parent in family} - family:
        family |= more
    return {
        "service": _kib(pid, "Rss") / 1024,
        "with_chromium": sum(_kib(p, "Pss") for p in family) / 1024,
    }


def _kib(pid: int, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)


async def settled_memory(pid: int) -> dict[str, float]:
    """The memory when it has stopped falling: the least of some looks."""
    looks = []
    for _ in range(10):
        looks.append(memory(pid))
        await asyncio.sleep(0.5)
    return {name: min(look[name] for look in looks) for name in looks[0]}


async def compare(pages: int, memory_pages: int) -> dict[str, Any]:
    """The whole benchmark; what it found."""
    settings = BrowserSettings()
    async with (
        site() as url,
        service() as (address, pid),
        async_playwright() as driver,
        aiohttp.ClientSession() as session,
    ):
        browser = await driver.chromium.launch(
            executable_path=find_executable(settings),
            chromium_sandbox=sandboxed(settings),
            # The service's Chromium has them too: what is compared is the service alone.
            args=["--disable-gpu", f"--disable-features={','.join(DISABLED_FEATURES)}"],
        )
        for _ in range(5):
            await directly(browser, url)
            await by_service(session, address, url)
        direct: list[float] = []
        served: list[float] = []
        for _ in range(pages):
            direct.append(await timed(directly(browser, url)))
            served.append(await timed(by_service(session, address, url)))
        await browser.close()

        async def many(count: int) -> None:
            for _ in range(0, count, 4):
                await asyncio.gather(*(by_service(session, address, url) for _ in range(4)))

        await many(WARM_UP)
        before = await settled_memory(pid)
        seconds = await timed(many(memory_pages)) / 1000
        after = await settled_memory(pid)
    return {
        "direct_ms": _summary(direct),
        "service_ms": _summary(served),
        "ratio": round(statistics.median(served) / statistics.median(direct), 3),
        "pages_per_second_at_4": round(memory_pages / seconds, 2),
        "memory_mib": {
            name: {
                "before": round(before[name], 1),
                "after": round(after[name], 1),
                "ratio": round(after[name] / before[name], 3),
            }
            for name in before
        },
    }


def _summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(len(ordered) * 0.95) - 1], 1),
        "mean": round(statistics.fmean(ordered), 1),
    }


def main() -> None:
    """Run it, print what came out, and fail where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pages", type=int, default=40)
    parser.add_argument("--memory-pages", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = asyncio.run(compare(options.pages, options.memory_pages))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    kept = found["memory_mib"]["service"]["ratio"]
    print(f"a page costs {found['ratio']} times Playwright's own time (goal: {GOAL_RATIO})")
    print(f"after {options.memory_pages} pages the service has {kept} times its memory")
    if found["ratio"] > GOAL_RATIO or kept > GOAL_MEMORY:
        sys.exit("a goal is missed")


if __name__ == "__main__":
    main()
