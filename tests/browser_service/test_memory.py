"""The memory of a page is bounded, whichever way it takes: it ends, and its neighbours go on."""

from __future__ import annotations

import asyncio
import os
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from operator_svc.browser_service import process_memory
from operator_svc.browser_service.chromium import UNUSED_DATA, Chromium
from operator_svc.browser_service.navigation_guard import STORAGE_QUOTA
from operator_svc.browser_service.service import BrowserService
from operator_svc.settings import BrowserSettings
from tests.browser_service.processes import family
from tests.fakes.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 2**20
PAGES = 2
BUDGET = 400 * MIB
OVERSHOOT = 400 * MIB
"""Memory that a page may allocate between two looks on a busy machine."""


@pytest.fixture(scope="module")
def browser_settings() -> BrowserSettings:
    return BrowserSettings(
        token="the-token", allow="pages.test:*, *.localhost:*", pages=PAGES, page_memory=BUDGET
    )


HOARD = "const keep = []; self.keep = keep;"
PAUSE = "await new Promise(done => setTimeout(done, 0));"
WORKER = "new Worker(URL.createObjectURL(new Blob([`{code}`])))"

HOGS = {
    "typed arrays at once": HOARD + "for (let i = 0; i < 48; i++)"
    " keep.push(new Uint8Array(64 << 20).fill(7));",
    "typed arrays": HOARD + "(async () => { for (let i = 0; i < 200; i++) {"
    f" keep.push(new Uint8Array(16 << 20).fill(7)); {PAUSE} }} }})()",
    "strings": HOARD + "(async () => { for (let i = 0; i < 30; i++) {"
    f" keep.push('x'.repeat(1e8) + i); keep[i].charCodeAt(5); {PAUSE} }} }})()",
    "eight workers": HOARD
    + "for (let i = 0; i < 8; i++) keep.push("
    + WORKER.format(
        code="const k = []; setInterval(() =>"
        " { if (k.length < 24) k.push(new Uint8Array(16 << 20).fill(7)) }, 1)"
    )
    + ");",
    "heaps of workers": HOARD
    + "for (let i = 0; i < 8; i++) keep.push("
    + WORKER.format(
        code="const k = []; setInterval(() =>"
        " { if (k.length < 60) k.push(new Array(5e5).fill(1.5).map((x, i) => ({i}))) }, 1)"
    )
    + ");",
    "memory of WebAssembly": HOARD + "for (let i = 0; i < 4; i++) {"
    " const m = new WebAssembly.Memory({initial: 8192, maximum: 16384});"
    " new Uint8Array(m.buffer).fill(7); keep.push(m); }",
    "shared memory of WebAssembly": HOARD + "for (let i = 0; i < 32; i++) { const m ="
    " new WebAssembly.Memory({initial: 1024, maximum: 1024, shared: true});"
    " new Uint8Array(m.buffer).fill(7); keep.push(m); }",
    "canvases": HOARD + "(async () => { for (let i = 0; i < 40; i++) {"
    " const c = document.createElement('canvas'); c.width = c.height = 4096;"
    " const x = c.getContext('2d'); x.fillRect(0, 0, 4096, 4096); x.getImageData(0, 0, 1, 1);"
    f" keep.push(c); {PAUSE} }} }})()",
    "image bitmaps": HOARD + "(async () => { const c = new OffscreenCanvas(4096, 4096);"
    " const x = c.getContext('2d'); for (let i = 0; i < 40; i++) { x.fillStyle = `rgb(${i},2,3)`;"
    " x.fillRect(0, 0, 4096, 4096); keep.push(await createImageBitmap(c)); } })()",
    "blobs": HOARD + "(async () => { const a = new Uint8Array(32 << 20).fill(7);"
    " for (let i = 0; i < 80; i++) { keep.push(new Blob([a]));"
    " await new Promise(done => setTimeout(done, 5)); } })()",
    # Hidden, as the layout of so much text would take a minute.
    "a huge document": "document.body.hidden = true; (async () => { for (let j = 0; j < 200; j++) {"
    " const f = document.createDocumentFragment(); for (let i = 0; i < 10000; i++) {"
    " const d = document.createElement('div'); d.textContent = 'x'.repeat(4000) + i; f.append(d); }"
    f" document.body.append(f); {PAUSE} }} }})()",
    "frames": "for (let i = 0; i < 32; i++) { const f = document.createElement('iframe');"
    " f.srcdoc = '<script>window.k = new Uint8Array(32 << 20).fill(7)</' + 'script>';"
    " document.body.append(f); }",
    "console of a worker": WORKER.format(code="for (;;) console.log('z'.repeat(3e8))"),
    "messages": "const c = new MessageChannel(); (async () => { for (let i = 0; i < 48; i++) {"
    f" c.port1.postMessage(new Uint8Array(64 << 20).fill(7)); {PAUSE} }} }})()",
    "sound": HOARD + "(async () => { for (let i = 0; i < 40; i++) { keep.push(new AudioBuffer("
    "{length: 16e6, sampleRate: 48000, numberOfChannels: 1}));"
    f" keep[i].getChannelData(0).fill(.5); {PAUSE} }} }})()",
}

WAIT = "new Promise(done => setTimeout(done, 20000))"


async def peak_of_pages(service: BrowserService, done: asyncio.Event) -> int:
    """The most memory that the service's Chromiums and their drivers use until ``done``."""
    peak = 0
    seen: set[Chromium] = set()
    while not done.is_set():
        seen.update(service.pool.running)
        groups = process_memory.group_members(chromium.group for chromium in seen)
        drivers = [chromium.driver_pid for chromium in seen]
        peak = max(peak, process_memory.memory_of([*drivers, *chain(*groups.values())]))
        await asyncio.sleep(0.05)  # the pace of the measurement
    return peak


@pytest.mark.parametrize("kind", HOGS)
async def test_page_that_exceeds_its_memory_is_ended_and_its_neighbour_goes_on(
    kind: str, navigate: Any, site: Any, service: Any
) -> None:
    hog = site.page(f"<p>hog<script>{HOGS[kind]}</script>")
    neighbour = site.page("<title>neighbour</title><p>text")
    done = asyncio.Event()

    async def held(request: web.Request) -> web.Response:
        await done.wait()
        return web.Response(text="went on")

    watching = asyncio.create_task(peak_of_pages(service, done))
    waits = f"fetch('{site.on(held)}').then(answer => answer.text())"
    beside = asyncio.create_task(navigate(neighbour, script=waits))
    ended = await navigate(hog, script=WAIT)
    assert not beside.done()
    done.set()
    fine = [await beside, await navigate(neighbour)]
    assert ended["status"] == "error"
    assert "MiB of memory" in ended["error"]
    assert ended["duration_ms"] < 20_000
    assert {(answer["status"], answer["title"]) for answer in fine} == {("ok", "neighbour")}
    assert [answer["script_result"] for answer in fine] == ["went on", None]
    # The hog, and the neighbour's Chromium with its page.
    assert await watching < BUDGET + OVERSHOOT + BUDGET


@pytest.mark.parametrize(
    ("kind", "script"),
    [
        ("OPFS", "const d = await navigator.storage.getDirectory();"
         " const f = await d.getFileHandle('x', {create: true});"
         " const w = await f.createWritable();"
         " for (let i = 0; i < 8; i++) await w.write(chunk); await w.close();"),
        ("IndexedDB", "await new Promise((yes, no) => { const r = indexedDB.open('a');"
         " r.onupgradeneeded = () => r.result.createObjectStore('s');"
         " r.onsuccess = () => { const t = r.result.transaction('s', 'readwrite');"
         " for (let i = 0; i < 8; i++) t.objectStore('s').put(chunk, i);"
         " t.oncomplete = yes; t.onabort = () => no(t.error); } });"),
        ("caches", "const c = await caches.open('a');"
         " for (let i = 0; i < 8; i++) await c.put('/x' + i, new Response(chunk));"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["page", "frame of another site"])
async def test_storage_of_an_origin_is_bounded(
    kind: str, script: str, where: str, navigate: Any, site: Any
) -> None:
    code = (
        "(async () => { const chunk = new Uint8Array(1 << 20).fill(7); try {"
        f" {script} return 'stored'; }} catch (e) {{ return e.name; }} }})()"
    )
    # Such names are secure contexts, which have all kinds of storage.
    outer = site.page("<p>x").replace("pages.test", "pages.localhost")
    if where == "page":
        answer = await navigate(outer, script=code)
    else:
        inner = site.page(f"<script>{code}.then(r => parent.postMessage(r, '*'))</script>")
        inner = inner.replace("pages.test", "other.localhost")
        answer = await navigate(
            outer,
            script="new Promise(done => { onmessage = e => done(e.data);"
            " const f = document.createElement('iframe');"
            f" f.src = '{inner}'; document.body.append(f); }})",
        )
    assert answer["status"] == "ok"
    assert answer["script_result"] == "QuotaExceededError"
    assert STORAGE_QUOTA == MIB


async def test_kernel_limits_each_process_of_chromium(
    navigate: Any, site: Any, service: Any
) -> None:
    # As many as there are Chromiums: one without a page is looked at when the next page opens.
    pages = [asyncio.create_task(navigate(site.page("<p>x"), script=WAIT)) for _ in range(PAGES)]

    def limits() -> list[set[str]]:
        """The limits of the processes of each Chromium that runs now."""
        groups = process_memory.group_members(chromium.group for chromium in service.pool.running)
        return [set(chain.from_iterable(map(data_limits, pids))) for pids in groups.values()]

    def each_is_limited() -> bool:
        lines = family(os.getpid()).values()
        assert sum("--type=renderer" in line for line in lines) >= PAGES, lines
        assert limits() == [{str(BUDGET + UNUSED_DATA)}] * PAGES
        assert not [page for page in pages if page.done()]
        return True

    # A process that has just begun is limited at the next look at it.
    assert await eventually(each_is_limited, every=0.1)
    for page in pages:
        page.cancel()
    await asyncio.gather(*pages, return_exceptions=True)


def data_limits(pid: int) -> list[str]:
    """The limit of a process's data; none where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return []
    return [line.split()[3] for line in lines if line.startswith("Max data size")]
