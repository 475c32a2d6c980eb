"""What pages do, good and bad, and what the service answers."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from typing import Any

import pytest
from aiohttp import web

from operator_svc.settings import BrowserSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE_BYTES = 2 * 2**20
SCREENSHOT_BYTES = 400_000


@pytest.fixture(scope="module")
def browser_settings() -> BrowserSettings:
    return BrowserSettings(
        token="the-token",
        allow="pages.test",
        page_bytes=PAGE_BYTES,
        screenshot_bytes=SCREENSHOT_BYTES,
    )


def picture_size(answer: dict[str, Any]) -> tuple[int, int]:
    """Width and height of the answer's PNG, from its header."""
    data = base64.b64decode(answer["screenshot"], validate=True)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


async def test_an_ordinary_page(navigate: Any, site: Any) -> None:
    url = site.page(
        "<title> The  title </title><h1>Grüße</h1><p>one<br>two<p style='display:none'>hidden</p>"
        "<script>console.log('a', 1); console.warn('b')</script>"
        "<a href='/rel?x=1#f'>a <b>link</b></a> <a href='mailto:x@y.z'>m</a>"
        "<a href='https://example.org/'>abs</a><a href='/rel?x=1#f'>again</a>"
    )
    answer = await navigate(url, script="document.querySelectorAll('a').length")
    assert answer["status"] == "ok"
    assert (answer["url"], answer["final_url"], answer["http_status"]) == (url, url, 200)
    assert answer["title"] == "The title"
    assert answer["text"].startswith("Grüße\n\none\ntwo\n\n")
    assert "hidden" not in answer["text"]
    assert answer["links"] == [
        {"url": site.base + "/rel?x=1#f", "text": "a link"},
        {"url": "https://example.org/", "text": "abs"},
    ]
    assert answer["console"][:2] == ["log: a 1", "warning: b"]
    assert answer["script_result"] == 4
    assert answer["error"] is None
    assert picture_size(answer) == (1280, 720)
    assert 0 < answer["duration_ms"] < 10_000
    assert set(answer) == {
        "status", "url", "final_url", "http_status", "title", "text", "links", "screenshot",
        "script_result", "console", "error", "duration_ms",
    }  # fmt: skip


async def test_redirects_and_client_redirects_are_followed(navigate: Any, site: Any) -> None:
    end = site.page("<title>end</title>", status=203)
    for start in (
        site.redirect(end),
        site.page(f"<script>location = '{end}'</script>"),
        site.page(f"<script>location.replace('{end}')</script>"),
        site.page(f"<meta http-equiv=refresh content='0;url={end}'>"),
    ):
        answer = await navigate(start)
        assert (answer["status"], answer["final_url"]) == ("ok", end)
        assert (answer["title"], answer["http_status"]) == ("end", 203)


async def test_a_redirect_loop_is_an_error(navigate: Any, site: Any) -> None:
    url = site.page("", status=302, path="/loop", Location="/loop")
    answer = await navigate(url)
    assert answer["status"] == "error"
    assert "ERR_TOO_MANY_REDIRECTS" in answer["error"]


@pytest.mark.parametrize("status", [404, 500])
async def test_an_error_page_is_a_page(status: int, navigate: Any, site: Any) -> None:
    answer = await navigate(site.page("<p>sorry", status=status))
    assert (answer["status"], answer["http_status"]) == ("ok", status)
    assert answer["text"] == "sorry"


async def test_a_server_that_is_not_there(navigate: Any, site: Any, names: Any) -> None:
    names["pages.test"] = [["127.0.0.1"]]
    answer = await navigate("http://nowhere.test/")
    assert (answer["status"], answer["http_status"]) == ("error", None)
    assert answer["error"] == "the name nowhere.test does not resolve"
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    closed = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    answer = await navigate(f"http://pages.test:{closed}/")
    assert answer["status"] == "error"
    assert answer["error"].endswith("it refused the connection")


async def test_a_server_that_talks_nonsense(navigate: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"220 mail.test ESMTP\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for scheme in ("http", "https"):
        answer = await navigate(f"{scheme}://pages.test:{port}/")
        assert answer["status"] == "error"
        assert "ERR_" in answer["error"]
    server.close()


async def test_a_slow_page_times_out(navigate: Any, site: Any) -> None:
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


async def test_a_page_that_never_ends_shows_what_came(navigate: Any, site: Any) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        await response.write(b"<title>endless</title><p>the beginning" + b" " * 2000)
        await site.hold.wait()
        return response

    answer = await navigate(site.on(endless), timeout_ms=2500)
    assert (answer["status"], answer["http_status"]) == ("timeout", 200)
    assert (answer["title"], answer["text"]) == ("endless", "the beginning")
    assert answer["screenshot"] is not None


async def test_a_script_without_end_times_out(navigate: Any, site: Any) -> None:
    began = time.monotonic()
    answer = await navigate(site.page("<p>x<script>while (true) {}</script>"), timeout_ms=500)
    assert answer["status"] == "timeout"
    assert time.monotonic() - began < 15


async def test_wait_until_is_heeded(navigate: Any, site: Any) -> None:
    may_end = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await may_end.wait()
        return web.Response(body=b"x")

    url = site.page(f"<p>page<img src='{site.on(slow)}'>")
    quick = await navigate(url, wait_until="domcontentloaded")
    assert (quick["status"], quick["text"]) == ("ok", "page")
    for until in ("load", "networkidle"):
        late = await navigate(url, wait_until=until, timeout_ms=1000)
        assert late["status"] == "timeout"
    may_end.set()
    for until in ("load", "networkidle", "commit"):
        assert (await navigate(url, wait_until=until))["status"] == "ok"


async def test_a_page_that_weighs_too_much_is_cut(navigate: Any, site: Any) -> None:
    async def heavy(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        await response.write(b"<title>heavy</title><p>start")
        while not site.hold.is_set():
            await response.write(b"<!--" + b"x" * 65536 + b"-->")
        return response

    answer = await navigate(site.on(heavy))
    assert (answer["status"], answer["title"]) == ("error", "heavy")
    assert str(PAGE_BYTES) in answer["error"]
    assert answer["duration_ms"] < 15_000


async def test_what_a_page_sends_is_weighed_too(navigate: Any, site: Any) -> None:
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


async def test_weight_is_each_pages_own(navigate: Any, site: Any) -> None:
    url = site.page("<p>x<!--" + "x" * (PAGE_BYTES // 2))
    answers = await asyncio.gather(*(navigate(url, text_limit=10) for _ in range(6)))
    assert [answer["status"] for answer in answers] == ["ok"] * 6


async def test_text_is_cut_in_code_points(navigate: Any, site: Any) -> None:
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


async def test_giant_console_lines_harm_nobody(navigate: Any, site: Any) -> None:
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


async def test_errors_of_a_page_stand_in_the_console(navigate: Any, site: Any) -> None:
    answer = await navigate(
        site.page(
            "<p>x<script>throw new TypeError('first')</script>"
            "<script>Promise.reject(new Error('second'))</script><script>syntax error</script>"
        )
    )
    assert answer["status"] == "ok"
    lines = "\n".join(answer["console"])
    assert "error: first" in lines or "error: TypeError: first" in lines
    assert "second" in lines
    assert "Unexpected identifier" in lines


@pytest.mark.parametrize("kind", ["alert", "confirm", "prompt", "print"])
async def test_dialogs_are_dismissed(kind: str, navigate: Any, site: Any) -> None:
    answer = await navigate(
        site.page(f"<p>x<script>document.body.append(' ' + {kind}('hello'))</script>")
    )
    assert answer["status"] == "ok"
    told = {"alert": "undefined", "confirm": "false", "prompt": "null", "print": "undefined"}
    assert answer["text"].split() == ["x", told[kind]]


async def test_a_page_that_asks_without_end_times_out(navigate: Any, site: Any) -> None:
    answer = await navigate(
        site.page(
            "<p>x<script>onbeforeunload = e => e.preventDefault(); while (1) alert(1)</script>"
        ),
        timeout_ms=700,
    )
    assert answer["status"] == "timeout"


@pytest.mark.parametrize(
    ("kind", "disposition"),
    [("application/octet-stream", ""), ("text/html", "attachment; filename=x.html")],
)
async def test_a_download_is_an_error(
    kind: str, disposition: str, navigate: Any, site: Any
) -> None:
    headers = {"Content_Disposition": disposition} if disposition else {}
    answer = await navigate(site.page(b"\x00\x01binary", kind, **headers))
    assert (answer["status"], answer["text"]) == ("error", "")
    assert "download" in answer["error"]


async def test_a_later_download_is_refused(navigate: Any, site: Any) -> None:
    file = site.page(b"x", "application/octet-stream")
    answer = await navigate(site.page(f"<p>x<script>location = '{file}'</script>"))
    assert (answer["status"], answer["text"]) == ("ok", "x")
    assert f"refused: the download of {file}" in answer["console"]


async def test_frames_of_the_same_origin_are_read(navigate: Any, site: Any) -> None:
    inner = site.page("<p>inner<iframe srcdoc='<p>innermost'></iframe>")
    foreign = site.page("<p>foreign").replace("pages.test", "127.0.0.1")
    answer = await navigate(
        site.page(f"<p>outer<iframe src='{inner}'></iframe><iframe src='{foreign}'></iframe>")
    )
    assert answer["status"] == "ok"
    assert answer["text"].split() == ["outer", "inner", "innermost"]
    frameset = site.page(f"<frameset cols='50%,50%'><frame src='{inner}'></frameset>")
    assert (await navigate(frameset))["text"].split() == ["inner", "innermost"]


@pytest.mark.parametrize("charset", ["iso-8859-1", "shift_jis", "utf-16", "koi8-r", "gbk"])
async def test_other_encodings_are_read(charset: str, navigate: Any, site: Any) -> None:
    text = {
        "iso-8859-1": "Füße",
        "shift_jis": "こんにちは",
        "utf-16": "Grüße 😀",
        "koi8-r": "привет",
        "gbk": "你好",
    }[charset]
    answer = await navigate(
        site.page(f"<p>{text}".encode(charset), f"text/html; charset={charset}")
    )
    assert answer["text"] == text


async def test_broken_bytes_become_storable_text(navigate: Any, site: Any) -> None:
    answer = await navigate(
        site.page(
            b"<title>a\xff\xfeb</title><p>\xf0\x28\x8c\x28 x\x00y<p id=h>"
            b"<script>h.textContent = '\\ud83d! \\u0000'; console.log('\\udc00 \\u0000')</script>"
        ),
        script="({'k\\ud800\\u0000': ['\\udfff', '\\u0000']})",
    )
    assert answer["status"] == "ok"
    assert answer["title"] == "a\ufffd\ufffdb"
    assert "\ufffd!" in answer["text"]
    assert answer["script_result"] == {"k\ufffd\ufffd": ["\ufffd", "\ufffd"]}
    whole = repr(answer)
    assert "\\x00" not in whole
    assert "\\ud8" not in whole


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain", "just <b>text</b>", "just <b>text</b>"),
        ("application/json", '{"a": [1, 2]}', '{"a": [1, 2]}'),
        ("application/xml", "<a><b>xml</b></a>", "xml"),
        ("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'><text>svg</text></svg>", "svg"),
        ("text/html", "", ""),
    ],
)
async def test_other_kinds_of_documents(
    kind: str, body: str, text: str, navigate: Any, site: Any
) -> None:
    answer = await navigate(site.page(body, kind))
    assert answer["status"] == "ok"
    assert text in answer["text"]


async def test_an_answer_without_content_is_an_error(navigate: Any, site: Any) -> None:
    answer = await navigate(site.page("", status=204))
    assert (answer["status"], answer["text"]) == ("error", "")


async def test_popups_are_closed(navigate: Any, site: Any, service: Any) -> None:
    other = site.page("<p>popup")
    answer = await navigate(
        site.page(f"<p>x<script>for (let i = 0; i < 20; i++) open('{other}')</script>"),
        script=f"(open('{other}'), new Promise(d => setTimeout(d, 300, 1)))",
    )
    assert (answer["status"], answer["text"], answer["final_url"]) == (
        "ok",
        "x",
        answer["url"],
    )


async def test_a_page_can_not_close_itself(navigate: Any, site: Any) -> None:
    url = site.page("<p>x<script>close()</script>")
    answer = await navigate(url, script="(close(), new Promise(done => setTimeout(done, 200, 1)))")
    assert (answer["status"], answer["text"], answer["script_result"]) == ("ok", "x", 1)


async def test_a_page_that_kills_its_renderer_is_an_error_of_its_own(
    navigate: Any, site: Any, service: Any
) -> None:
    hog = site.page("<script>const a = []; while (1) a.push(new Array(1e5).fill(1.5))</script>")
    before = service.keeper.current.pid
    dead, alive = await asyncio.gather(navigate(hog), navigate(site.page("<p>alive")))
    assert dead["status"] == "error"
    assert dead["error"] == "the page crashed"
    assert alive["text"] == "alive"
    assert service.keeper.current.pid == before


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("1 + 1", 2),
        ("document.title", "T"),
        ("window.appVersion", "7"),
        ("Promise.resolve({a: [1, null, 'x', true]})", {"a": [1, None, "x", True]}),
        ("await new Promise(done => setTimeout(done, 50, 'late'))", "late"),
        ("undefined", None),
        ("() => 1", None),
        ("NaN", None),
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("{a: 1}", {"a": 1}),
        ("1 // a comment", 1),
        ("(document.body.append('added'), 'done')", "done"),
        ("'x'.repeat(200000)", "x" * 200_000),
    ],
)
async def test_a_script_gives_its_result(
    script: str, result: Any, navigate: Any, site: Any
) -> None:
    url = site.page("<title>T</title><script>var appVersion = '7'</script>")
    answer = await navigate(url, script=script)
    assert (answer["status"], answer["error"]) == ("ok", None)
    assert answer["script_result"] == result
    if "append" in script:
        assert answer["text"] == "added", "the page is read after the script"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("nothing.here", "ReferenceError: nothing is not defined"),
        ("Promise.reject(new Error('no'))", "Error: no"),
        ("(() => { throw 'text' })()", "text"),
        ("(() => { throw {toString() { throw 1 }} })()", "the script failed"),
        ("1 +", "SyntaxError: Unexpected token ')'"),
        ("const x = 1; x", "SyntaxError: Unexpected token 'const'"),
        ("return 1", "SyntaxError: Unexpected token 'return'"),
        ("0)); while (1) {} ((0", "did not end"),
        ("0))(); return 'x'.repeat(1e6); ((async () => (0", "SyntaxError: Illegal return"),
        ("'x'.repeat(300000)", "larger than 256 KiB"),
        ("'ü'.repeat(140000)", "larger than 256 KiB"),
        ("'x'.repeat(1e8)", "larger than 256 KiB"),
        ("(JSON.stringify = () => 'x'.repeat(1e8), 1)", "larger than 256 KiB"),
        ("(() => { throw 'x'.repeat(1e8) })()", "the script failed"),
        ("window.self.self", "circular"),
        ("1n", "BigInt"),
        ("(() => { let a = []; for (let i = 0; i < 99; i++) a = [a]; return [a] })()", "nested"),
        ("(() => { let a = []; for (let i = 0; i < 3000; i++) a = [a]; return a })()", "result"),
        ("new Promise(() => 0)", "did not end"),
        ("(() => { while (true) {} })()", "did not end"),
        ("(location.href = '/gone', new Promise(() => 0))", "went elsewhere"),
    ],
)
async def test_a_script_that_fails_leaves_the_page_ok(
    script: str, error: str, navigate: Any, site: Any
) -> None:
    site.page("<p>gone", path="/gone")
    stuck = error in ("did not end", "went elsewhere")
    timeout_ms = 2500 if stuck else 30_000
    answer = await navigate(site.page("<p>page"), script=script, timeout_ms=timeout_ms)
    assert answer["status"] == "ok"
    assert error in answer["error"]
    assert answer["script_result"] is None
    assert answer["text"] in ("page", "gone")
    assert answer["screenshot"] is not None


async def test_a_page_can_not_forge_what_is_seen_of_it(navigate: Any, site: Any) -> None:
    """Names of elements hide the document's own properties, and pages replace functions."""
    answer = await navigate(
        site.page(
            "<title>true</title><p>text<form name=body><input name=innerText></form>"
            "<img name=title><img name=links><img name=querySelectorAll><img name=location>"
            "<a href='/a'>a</a><script>"
            "JSON.stringify = () => 'forged'; Array.prototype.slice = () => ['forged'];"
            "String.prototype.slice = () => 'forged'; performance.getEntriesByType = () => [];"
            "Object.getOwnPropertyDescriptor = () => ({get: () => 'forged'});"
            "Object.prototype.toJSON = () => 'forged';</script>"
        )
    )
    assert (answer["status"], answer["title"], answer["http_status"]) == ("ok", "true", 200)
    assert answer["text"].startswith("text")
    assert answer["links"] == [{"url": site.base + "/a", "text": "a"}]


async def test_the_window_has_the_size_that_was_asked_for(navigate: Any, site: Any) -> None:
    answer = await navigate(
        site.page("<p>x"),
        viewport={"width": 400, "height": 300},
        script="[innerWidth, innerHeight]",
    )
    assert answer["script_result"] == [400, 300]
    assert picture_size(answer) == (400, 300)


async def test_a_full_page_is_taken_whole_and_cut_where_it_is_too_large(
    navigate: Any, site: Any
) -> None:
    tall = site.page("<body style='margin:0'><div style='height:2500px;background:red'>")
    assert picture_size(await navigate(tall, full_page=True)) == (1280, 2500)
    assert picture_size(await navigate(tall)) == (1280, 720)
    wide = site.page("<body style='margin:0'><div style='width:3000px;height:900px'>")
    assert picture_size(await navigate(wide, full_page=True)) == (3000, 900)
    endless = site.page(
        "<body style='margin:0'><div style='width:99999px;height:9999999px;background:blue'>"
    )
    size = picture_size(
        await navigate(endless, full_page=True, viewport={"width": 100, "height": 100})
    )
    assert size == (4096, 12_000)


async def test_a_picture_is_made_smaller_until_it_fits(navigate: Any, site: Any) -> None:
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


async def test_nothing_of_one_page_is_left_for_the_next(navigate: Any, site: Any) -> None:
    url = site.page(
        "<p>x", Set_Cookie="stays=1; Path=/; Max-Age=9999", Cache_Control="max-age=9999"
    )
    await navigate(url, script="(localStorage.setItem('stays', 1), 1)")
    asked = site.seen.count(url.removeprefix(site.base))
    answer = await navigate(url, script="[document.cookie, localStorage.getItem('stays')]")
    assert answer["script_result"] == ["stays=1", None], "the cookie is this answer's own"
    assert site.seen.count(url.removeprefix(site.base)) == asked + 1
    seen: list[str] = []

    async def tell(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie", ""))
        return web.Response()

    await navigate(site.on(tell))
    assert seen == [""]


async def test_an_address_that_chromium_does_not_understand_is_refused(client: Any) -> None:
    for url in ("http://0x100000000/", "http://a b/", "http://[::1", "http://1.2.3.4.5/"):
        async with client.post(
            "/navigate", json={"url": url}, headers={"X-VX11-Token": "the-token"}
        ) as response:
            assert response.status == 422, url
            body = await response.json()
            assert [fault["field"] for fault in body["errors"]] == ["url"]
