"""Nothing that a page has is without bounds: its time, weight, text, pictures, console, memory."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from typing import Any

import pytest
from aiohttp import web

from operator_svc.browser_service import screenshot, visit_steps
from operator_svc.settings import BrowserSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE_BYTES = 2 * 2**20
SCREENSHOT_BYTES = 400_000


@pytest.fixture(scope="module")
def browser_settings() -> BrowserSettings:
    return BrowserSettings(
        token="the-token",
        allow="pages.test:*",
        pages=2,
        page_bytes=PAGE_BYTES,
        screenshot_bytes=SCREENSHOT_BYTES,
    )


def picture_size(answer: dict[str, Any]) -> tuple[int, int]:
    """Width and height of the answer's PNG, from its header."""
    data = base64.b64decode(answer["screenshot"], validate=True)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


async def test_slow_page_times_out(navigate: Any, site: Any) -> None:
    async def slow(request: web.Request) -> web.Response:
        await site.hold.wait()
        return web.Response()

    began = time.monotonic()
    answer = await navigate(site.on(slow), timeout_ms=500)
    assert time.monotonic() - began < 15
    assert (answer["status"], answer["http_status"], answer["screenshot"]) == (
        "timeout",
        None,
        None,
    )
    assert "500 ms" in answer["error"]


async def test_endless_page_times_out_with_partial_content(navigate: Any, site: Any) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        await response.write(b"<title>endless</title><p>the beginning" + b" " * 2000)
        await site.hold.wait()
        return response

    answer = await navigate(site.on(endless), timeout_ms=5000)
    assert (answer["status"], answer["http_status"]) == ("timeout", 200)
    assert (answer["title"], answer["text"]) == ("endless", "the beginning")
    assert answer["screenshot"] is not None


async def test_endless_page_script_times_out(
    navigate: Any, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit_steps, "GRACE", 0.5)
    began = time.monotonic()
    answer = await navigate(site.page("<p>x<script>while (true) {}</script>"), timeout_ms=500)
    assert answer["status"] == "timeout"
    assert time.monotonic() - began < 15


async def test_download_past_the_transfer_limit_is_cut(navigate: Any, site: Any) -> None:
    shown = asyncio.Event()

    async def picture(request: web.Request) -> web.Response:
        shown.set()
        return web.Response()

    start = f"<title>heavy</title><p>start<img src='{site.on(picture)}'>{' ' * 2000}"

    async def heavy(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        await response.write(start.encode())
        await shown.wait()  # Chromium has the title by now
        while not site.hold.is_set():
            await response.write(b"<!--" + b"x" * 65536 + b"-->")
        return response

    answer = await navigate(site.on(heavy))
    assert (answer["status"], answer["title"]) == ("error", "heavy")
    assert str(PAGE_BYTES) in answer["error"]
    assert answer["duration_ms"] < 15_000


async def test_upload_past_the_transfer_limit_is_cut(navigate: Any, site: Any) -> None:
    async def sink(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    sink_url = site.on(sink)
    answer = await navigate(
        site.page("<p>x"),
        script=f"fetch('{sink_url}', {{method: 'POST', body: 'x'.repeat({2 * PAGE_BYTES})}})"
        ".then(() => 'sent', () => 'cut')",
    )
    assert answer["status"] == "error"
    assert str(PAGE_BYTES) in answer["error"]


async def test_transfer_limit_counts_each_page_alone(navigate: Any, site: Any) -> None:
    url = site.page("<p>x<!--" + "x" * (PAGE_BYTES // 2))
    answers = await asyncio.gather(*(navigate(url, text_limit=10) for _ in range(3)))
    assert [answer["status"] for answer in answers] == ["ok"] * 3


async def test_text_limit_counts_code_points(navigate: Any, site: Any) -> None:
    url = site.page("<p>" + "😀" * 50_000)
    assert (await navigate(url, text_limit=7))["text"] == "😀" * 7
    assert (await navigate(url, text_limit=0))["text"] == ""
    assert (await navigate(url))["text"] == "😀" * 20_000


async def test_links_console_and_title_are_bounded(navigate: Any, site: Any) -> None:
    answer = await navigate(
        site.page(
            "<body><script>document.title = 'x'.repeat(1e6);"
            "document.body.innerHTML = Array.from({length: 3000},"
            " (_, i) => `<a href='/${i}'>${'y'.repeat(1000)}</a>`).join('');"
            "for (let i = 0; i < 20000; i++) console.log('z'.repeat(5000));</script>"
        )
    )
    assert answer["status"] == "ok"
    assert len(answer["title"]) == 1000
    assert len(answer["links"]) == 200
    assert {len(link["text"]) for link in answer["links"]} == {200}
    assert len(answer["console"]) == 100
    assert {len(line) for line in answer["console"]} == {1000}


async def test_giant_console_line_harms_no_other_page(navigate: Any, site: Any) -> None:
    """Also where the page avoids the console that we cut short, by a worker."""
    size = "1e8"
    code = f"new Worker(URL.createObjectURL(new Blob([`console.log('z'.repeat({size}))`])))"
    giant, other = await asyncio.gather(
        navigate(
            site.page(f"<p>x<script>console.log('z'.repeat({size})); {code}</script>"),
            script="new Promise(done => setTimeout(done, 2000))",
        ),
        navigate(site.page("<p>other")),
    )
    assert {len(line) for line in giant["console"][:1]} == {1000}
    assert (other["status"], other["text"]) == ("ok", "other")


async def test_endless_dialogs_time_out(
    navigate: Any, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit_steps, "GRACE", 0.5)
    answer = await navigate(
        site.page(
            "<p>x<script>onbeforeunload = e => e.preventDefault(); while (1) alert(1)</script>"
        ),
        timeout_ms=700,
    )
    assert answer["status"] == "timeout"


async def test_renderer_crash_is_an_error_of_its_page_only(navigate: Any, site: Any) -> None:
    hog = site.page("<script>const a = []; while (1) a.push(new Array(1e5).fill(1.5))</script>")
    dead, alive = await asyncio.gather(navigate(hog), navigate(site.page("<p>alive")))
    assert dead["status"] == "error"
    assert "the page crashed; it used" in dead["error"]
    assert alive["text"] == "alive"


async def test_viewport_sets_the_window_size(navigate: Any, site: Any) -> None:
    answer = await navigate(
        site.page("<p>x"),
        viewport={"width": 400, "height": 300},
        script="[innerWidth, innerHeight]",
    )
    assert answer["script_result"] == [400, 300]
    assert picture_size(answer) == (400, 300)


async def test_full_page_screenshot_is_cut_at_the_pixel_limit(navigate: Any, site: Any) -> None:
    tall = site.page("<body style='margin:0'><div style='height:2500px;background:red'>")
    whole = await navigate(tall, full_page=True)
    assert (picture_size(whole), whole["error"]) == ((1280, 2500), None)
    assert picture_size(await navigate(tall)) == (1280, 720)
    wide = site.page("<body style='margin:0'><div style='width:3000px;height:900px'>")
    assert picture_size(await navigate(wide, full_page=True)) == (3000, 900)
    endless = site.page(
        "<body style='margin:0'><div style='width:99999px;height:9999999px;background:blue'>"
    )
    answer = await navigate(endless, full_page=True, viewport={"width": 100, "height": 100})
    assert picture_size(answer) == (4096, 12_000)
    assert (answer["status"], answer["error"]) == (
        "ok",
        "the screenshot is cut: it shows 4096 x 12000 of 99999 x 9999999 pixels",
    )


async def test_cut_of_the_screenshot_is_told_beside_the_failure_of_the_script(
    navigate: Any, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screenshot, "MAX_HEIGHT", 900)
    tall = site.page("<body style='margin:0'><div style='height:1000px'>")
    answer = await navigate(tall, full_page=True, script="throw_this")
    assert picture_size(answer) == (1280, 900)
    assert "throw_this" in answer["error"]
    assert "the screenshot is cut" in answer["error"]


async def test_large_screenshot_is_scaled_down_to_the_byte_limit(navigate: Any, site: Any) -> None:
    noise = site.page(
        "<body style='margin:0'><canvas id=c width=1280 height=720></canvas><script>"
        "const x = c.getContext('2d'), d = x.createImageData(1280, 720);"
        "for (let i = 0; i < d.data.length; i += 65536)"
        " crypto.getRandomValues(d.data.subarray(i, i + 65536));"
        "x.putImageData(d, 0, 0)</script>"
    )
    answer = await navigate(noise)
    assert answer["status"] == "ok"
    assert len(base64.b64decode(answer["screenshot"])) <= SCREENSHOT_BYTES
    width, height = picture_size(answer)
    assert 100 < width < 1280
    assert abs(width / height - 1280 / 720) < 0.05
