"""No page gets to where it may not: every trick is tried with the real browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from operator_svc.browser_service import egress_policy
from operator_svc.browser_service.addresses import ANY_PORT
from operator_svc.browser_service.chromium import find_executable
from operator_svc.settings import BrowserSettings
from tests.browser_service.blocked import LOOPBACK
from tests.browser_service.ssrf_pages import FRAMES, INSIDE, WEBRTC
from tests.fakes.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def browser_settings() -> BrowserSettings:
    return BrowserSettings(token="the-token", allow="pages.test:*, pages.localhost:*, 127.0.0.2:*")


@pytest.fixture(autouse=True, scope="module")
def _every_port_is_open() -> Iterator[None]:
    """Canaries listen on any free port: here only the addresses decide."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(egress_policy, "WEB_PORTS", ANY_PORT)
        yield


@pytest.fixture(autouse=True)
def _canary_is_safe(canary: Any) -> Any:
    canary.visits.clear()
    yield
    assert canary.visits == [], "the canary was reached"


WITH_USERINFO = [host for host in LOOPBACK if "@" in host]
"""Chromium opens no frame of such an address."""


@pytest.mark.parametrize(
    "start", [f"http://{host}" for host in LOOPBACK] + [f"https://{host}" for host in WITH_USERINFO]
)
async def test_loopback_in_every_spelling_is_blocked(
    start: str, navigate: Any, canary: Any, names: Any
) -> None:
    names["loopback.test"] = [["127.0.0.1"]]
    names["mixed.test"] = [["93.184.215.14", "127.0.0.1"]]
    answer = await navigate(f"{start}:{canary.port}/")
    assert answer["status"] == "blocked"
    assert "refused" in answer["error"]
    assert answer["text"] == ""
    assert answer["screenshot"] is None


async def test_frame_of_loopback_in_every_spelling_is_refused_by_the_proxy(
    navigate: Any, site: Any, canary: Any, names: Any
) -> None:
    names["loopback.test"] = [["127.0.0.1"]]
    names["mixed.test"] = [["93.184.215.14", "127.0.0.1"]]
    framed = [host for host in LOOPBACK if host not in WITH_USERINFO]
    urls = [f"https://{host}:{canary.port}/" for host in framed]
    answer = await navigate(site.page("<p>page"), script=FRAMES % json.dumps(urls))
    assert (answer["status"], answer["error"]) == ("ok", None)
    hosts = answer["script_result"]
    assert len(hosts) == len(framed)
    for host in hosts:
        start = f"refused: {host.strip('[]')}:{canary.port} ("
        assert any(line.startswith(start) for line in answer["console"]), start


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "metadata.test"])
async def test_metadata_service_is_blocked_with_its_reason(
    host: str, navigate: Any, names: Any
) -> None:
    """All special networks: `test_network_namespace`, where their addresses answer."""
    names["metadata.test"] = [["169.254.169.254"]]
    answer = await navigate(f"http://{host}/")
    assert answer["status"] == "blocked"
    assert "metadata" in answer["error"]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://pages.test/",
        "chrome://version/",
        "data:text/html,hello",
        "javascript:alert(1)",
        "view-source:http://pages.test/",
        "about:blank",
        "ws://pages.test/",
        "blob:http://pages.test/1",
        "localhost:80",
    ],
)
async def test_other_schemes_are_blocked(url: str, navigate: Any) -> None:
    answer = await navigate(url)
    assert answer["status"] == "blocked"
    assert "not opened" in answer["error"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_to_loopback_is_blocked(
    status: int, navigate: Any, site: Any, canary: Any
) -> None:
    targets = [f"{scheme}://127.0.0.1:{canary.port}/" for scheme in ("http", "https")]
    answers = await asyncio.gather(
        *(navigate(site.redirect(site.redirect(to, status), status)) for to in targets)
    )
    assert [answer["status"] for answer in answers] == ["blocked", "blocked"]
    assert [answer["final_url"] for answer in answers] == targets


async def test_allowed_host_is_opened(navigate: Any, site: Any) -> None:
    answer = await navigate(site.page("<title>welcome</title>"))
    assert (answer["status"], answer["title"]) == ("ok", "welcome")


async def test_canary_is_reachable_by_an_allowed_name(navigate: Any, decoy: Any) -> None:
    """Else all the other tests would show nothing: by the allowed name, it answers."""
    answer = await navigate(f"http://pages.test:{decoy.port}/")
    assert (answer["status"], answer["text"]) == ("ok", "the canary's secret")
    assert "tcp" in decoy.visits


def safe(url: str) -> str:
    """The same page under a name that Chromium trusts like https: more of it works there."""
    return url.replace("pages.test", "pages.localhost")


@pytest.mark.parametrize("way", INSIDE)
async def test_page_request_of_every_kind_to_loopback_fails(
    way: str, navigate: Any, site: Any, canary: Any
) -> None:
    target = f"http://127.0.0.1:{canary.port}/"
    script = INSIDE[way].format(url=target, redirect=site.redirect(target))
    answer = await navigate(safe(site.page("<p>page")), script=script, timeout_ms=15000)
    assert (answer["status"], answer["error"]) == ("ok", None)
    assert answer["script_result"] == "failed"
    assert answer["text"].startswith("page")


async def test_webrtc_reaches_nothing(navigate: Any, site: Any, canary: Any) -> None:
    script = WEBRTC.format(port=canary.port, wait=2500)
    answer = await navigate(safe(site.page("<p>page")), script=script)
    assert (answer["status"], answer["error"]) == ("ok", None)
    assert answer["script_result"] == [], "no way was offered, and no address of ours told"


@pytest_asyncio.fixture(loop_scope="module")
async def bare_page(site: Any) -> AsyncIterator[Any]:
    """A page of a Chromium without our flags and proxies, on the site's address."""
    async with async_playwright() as driver:
        chromium = await driver.chromium.launch(executable_path=find_executable(BrowserSettings()))
        page = await chromium.new_page()
        yield page
        await chromium.close()


async def test_webrtc_without_the_flags_reaches_the_canary(
    bare_page: Any, site: Any, decoy: Any
) -> None:
    """Proves that the test above can fail."""
    await bare_page.goto(site.page("<p>page").replace("pages.test", "127.0.0.1"))
    await bare_page.evaluate(WEBRTC.format(port=decoy.port, wait=500))
    await eventually(lambda: {"udp", "tcp"} <= set(decoy.visits))


async def test_webtransport_without_the_flags_reaches_the_canary(
    bare_page: Any, site: Any, decoy: Any
) -> None:
    await bare_page.goto(site.page("<p>page").replace("pages.test", "127.0.0.1"))
    way = INSIDE["webtransport"].format(url=f"http://127.0.0.1:{decoy.port}/")
    task = asyncio.ensure_future(bare_page.evaluate(way))
    await eventually(lambda: "udp" in decoy.visits)
    task.cancel()


async def test_service_worker_request_to_loopback_fails(
    navigate: Any, site: Any, canary: Any
) -> None:
    target = f"http://127.0.0.1:{canary.port}/"
    code = (
        "self.oninstall = () => self.skipWaiting();"
        "self.onactivate = e => e.waitUntil(self.clients.claim());"
        f"self.onmessage = e => fetch('{target}').then("
        "() => e.source.postMessage('reached'), () => e.source.postMessage('failed'));"
    )
    site.page(code, "text/javascript", path="/sw.js")
    url = safe(site.page("<p>page"))
    script = (
        "new Promise(async done => { try {"
        " navigator.serviceWorker.onmessage = e => done(e.data);"
        " await navigator.serviceWorker.register('/sw.js');"
        " (await navigator.serviceWorker.ready).active.postMessage('go');"
        "} catch (e) { done(String(e)) } })"
    )
    answer = await navigate(url, script=script)
    assert (answer["status"], answer["error"], answer["script_result"]) == ("ok", None, "failed")


async def test_rebound_name_keeps_its_first_address(
    navigate: Any, canary: Any, names: Any, site: Any
) -> None:
    """The first answer is judged and connected to; a second one is never asked for."""
    names["flip.test"] = [["127.0.0.2"], ["127.0.0.1"]]
    names.asked.clear()
    script = (
        f"fetch('http://flip.test:{canary.port}/').then(r => r.text(), () => 'failed')"
        f".then(() => fetch('http://flip.test:{canary.port}/').then(r => r.text(), () => 'failed'))"
    )
    answer = await navigate(site.page("<p>page"), script=script)
    assert answer["script_result"] == "failed"
    assert names.asked.count("flip.test") == 1


async def test_later_navigation_to_loopback_is_refused_and_logged(
    navigate: Any, site: Any, canary: Any
) -> None:
    for scheme in ("http", "https"):
        target = f"{scheme}://127.0.0.1:{canary.port}/"
        answer = await navigate(
            site.page(f"<title>t</title><p>stays<script>location = '{target}'</script>")
        )
        assert (answer["status"], answer["title"], answer["text"]) == ("ok", "t", "stays")
        assert answer["http_status"] == 200
        assert any(line.startswith(f"refused: {target}") for line in answer["console"])


async def test_refused_subresource_is_in_the_console(navigate: Any, site: Any, canary: Any) -> None:
    answer = await navigate(site.page(f"<p>page<img src='http://127.0.0.1:{canary.port}/i.png'>"))
    assert answer["status"] == "ok"
    line = f"refused: 127.0.0.1:{canary.port} (the address 127.0.0.1 is refused: loopback)"
    assert line in answer["console"]


async def test_local_file_is_not_readable(navigate: Any, site: Any) -> None:
    answer = await navigate(
        site.page("<p>page<iframe src='file:///etc/passwd'></iframe>"),
        script="fetch('file:///etc/passwd').then(r => r.text(), () => 'failed')",
    )
    assert answer["script_result"] == "failed"
    assert "root:" not in answer["text"]
