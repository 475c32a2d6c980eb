"""Chromium dies, hangs and forgets: it is repaired, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from operator_svc.browser_service.process_memory import group_members
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.navigate import NavigateRequest
from operator_svc.settings import BrowserSettings
from tests.browser_service.conftest import settings
from tests.browser_service.processes import (
    family,
    hanging,
    open_files,
    processes,
)
from tests.fakes.eventually import WITHIN, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGES = 2


@pytest.fixture(scope="module")
def browser_settings() -> BrowserSettings:
    return settings(pages=PAGES)


@pytest.mark.parametrize("victim", ["chromium", "driver"])
async def test_chromium_death_fails_open_pages_and_serves_the_queue(
    victim: str, service: Any, site: Any
) -> None:
    url = hanging(site)
    seen = len(site.seen)
    open_pages = [
        asyncio.create_task(service.visit(NavigateRequest(url=url))) for _ in range(PAGES)
    ]
    queued = [
        asyncio.create_task(service.visit(NavigateRequest(url=site.page("<p>queued"))))
        for _ in range(PAGES + 1)
    ]
    await eventually(lambda: len(site.seen) >= seen + PAGES)
    old = service.pool.running[0]
    members = set(group_members([old.group])[old.group])
    if victim == "chromium":
        os.killpg(old.group, signal.SIGKILL)
    else:
        os.kill(old.driver_pid, signal.SIGKILL)
    done, others = await asyncio.wait(
        open_pages, return_when=asyncio.FIRST_COMPLETED, timeout=WITHIN
    )
    (failed,) = done
    failure = failed.exception()
    assert isinstance(failure, OperatorError)
    assert failure.code is ErrorCode.BROWSER_UNAVAILABLE
    assert failure.retry_after == 1
    assert "Chromium died under the page" in failure.detail
    assert failure.extra == {"cause": "died"}
    answers = await asyncio.gather(*queued)
    assert [answer.text for answer in answers] == ["queued"] * (PAGES + 1)
    assert old not in service.pool.running
    await eventually(lambda: not (members | {old.driver_pid}) & set(processes()))
    assert not any(page.done() for page in others), "their Chromiums live"
    for page in others:
        page.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def test_idle_chromium_death_is_repaired_before_the_next_page(
    service: Any, site: Any
) -> None:
    for chromium in service.pool.running:
        os.killpg(chromium.group, signal.SIGKILL)
    answer = await service.visit(NavigateRequest(url=site.page("<p>next")))
    assert answer.text == "next"
    for chromium in service.pool.running:
        os.kill(chromium.driver_pid, signal.SIGKILL)
    answer = await service.visit(NavigateRequest(url=site.page("<p>again")))
    assert answer.text == "again"


async def test_hung_chromium_is_replaced(
    service: Any, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from operator_svc.browser_service import tab

    monkeypatch.setattr(tab, "OPEN_TIMEOUT", 3.0)
    await service.visit(NavigateRequest(url=site.page("<p>x")))
    old = [chromium for chromium in service.pool.running if chromium.group in processes()]
    assert old
    for chromium in old:
        os.killpg(chromium.group, signal.SIGSTOP)
    tasks = [
        asyncio.create_task(service.visit(NavigateRequest(url=site.page("<p>x"))))
        for _ in range(PAGES + 1)
    ]
    await eventually(lambda: all(chromium.died.is_set() for chromium in old))
    monkeypatch.undo()
    answers = await asyncio.gather(*tasks)
    assert [answer.text for answer in answers] == ["x"] * (PAGES + 1)
    assert not set(old) & set(service.pool.running)
    await eventually(lambda: not {chromium.group for chromium in old} & set(processes()))


@pytest.mark.timeout(400)
async def test_pages_of_all_kinds_leak_nothing(service: Any, site: Any) -> None:
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

    def left() -> tuple[dict[int, int], int, int]:
        """Open files of each process but the renderers; renderers; tasks."""
        members = family(os.getpid())
        pages = [pid for pid, line in members.items() if "--type=renderer" in line]
        files = {pid: open_files([pid]) for pid in members if pid not in pages}
        return files, len(pages), len(asyncio.all_tasks())

    def more(now: tuple[dict[int, int], int, int]) -> list[str]:
        """Processes and files that there are more of than before. Chromium starts a service or two
        of its own in time, with some files; a leak would be one for each page, or for each page
        of a kind."""
        files = sum(now[0][pid] - before[0][pid] for pid in now[0].keys() & before[0].keys())
        return [
            f"{name}: {many} more"
            for name, many, allowed in (
                ("processes", len(now[0]) - len(before[0]), 2),
                ("open files", files, 8),
                ("renderers", now[1] - before[1], 0),
                ("tasks", now[2] - before[2], 0),
            )
            if many > allowed
        ]

    from operator_svc.browser_service import visit_steps

    visit_steps.GRACE, kept = 0.1, visit_steps.GRACE
    try:
        await visit(16)
        await asyncio.sleep(3)  # Chromium ends what it keeps for a moment after a page
        before = left()
        await visit(80)
    finally:
        visit_steps.GRACE = kept
    assert {tuple(c.browser.contexts) for c in service.pool.running} == {()}
    assert service._policy.proxy_ports == set()
    # A busy Chromium takes its time to end processes; what it forgets, it forgets for ever.
    await eventually(lambda: not more(left()), every=0.2)
