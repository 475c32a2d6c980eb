"""Pages, good and bad, and what the service answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_ordinary_page_is_ok(navigate: Any, site: Any) -> None:
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
    assert answer["screenshot"].startswith("iVBORw0KGgo"), "a PNG"
    assert 0 < answer["duration_ms"] < 10_000
    assert set(answer) == {
        "status", "url", "final_url", "http_status", "title", "text", "links", "screenshot",
        "script_result", "console", "error", "duration_ms",
    }  # fmt: skip


async def test_http_and_client_redirects_are_followed(navigate: Any, site: Any) -> None:
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


async def test_redirect_loop_is_an_error(navigate: Any, site: Any) -> None:
    url = site.page("", status=302, path="/loop", Location="/loop")
    answer = await navigate(url)
    assert answer["status"] == "error"
    assert "ERR_TOO_MANY_REDIRECTS" in answer["error"]


@pytest.mark.parametrize("status", [404, 500])
async def test_page_with_an_http_error_is_ok(status: int, navigate: Any, site: Any) -> None:
    answer = await navigate(site.page("<p>sorry", status=status))
    assert (answer["status"], answer["http_status"]) == ("ok", status)
    assert answer["text"] == "sorry"


@pytest.mark.parametrize(
    "challenge",
    [
        'Basic realm="x"',
        'Digest realm="x", nonce="n", qop="auth"',
        "Bearer",
        "Negotiate",
        "NTLM",
        "Odd",
    ],
)
async def test_page_that_asks_for_a_password_is_ok_with_401(
    challenge: str, navigate: Any, site: Any
) -> None:
    url = site.page("<title>who</title><p>sorry", status=401, WWW_Authenticate=challenge)
    answer = await navigate(url)
    assert (answer["status"], answer["http_status"], answer["error"]) == ("ok", 401, None)
    assert (answer["title"], answer["text"]) == ("who", "sorry")
    redirected = await navigate(site.redirect(url))
    assert (redirected["status"], redirected["http_status"]) == ("ok", 401)
    within = await navigate(site.page(f"<p>outer<img src='{url}'><iframe src='{url}'></iframe>"))
    assert (within["status"], within["http_status"]) == ("ok", 200)
    assert within["text"].split() == ["outer", "sorry"]
    named = await navigate(url.replace("://", "://user:secret@"))
    assert (named["status"], named["http_status"]) == ("ok", 401)


async def test_unreachable_server_is_an_error_with_its_reason(
    navigate: Any, site: Any, names: Any
) -> None:
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


async def test_server_without_http_is_an_error(navigate: Any) -> None:
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


async def test_wait_until_decides_when_the_page_is_ready(navigate: Any, site: Any) -> None:
    may_end = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await may_end.wait()
        return web.Response(body=b"x")

    url = site.page(f"<p>page<img src='{site.on(slow)}'>")
    quick = await navigate(url, wait_until="domcontentloaded")
    assert (quick["status"], quick["text"]) == ("ok", "page")
    for until in ("load", "networkidle"):
        late = await navigate(url, wait_until=until, timeout_ms=300)
        assert late["status"] == "timeout"
    may_end.set()
    for until in ("load", "networkidle", "commit"):
        assert (await navigate(url, wait_until=until))["status"] == "ok"


async def test_page_errors_are_in_the_console(navigate: Any, site: Any) -> None:
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


@pytest.mark.parametrize(
    ("kind", "disposition"),
    [("application/octet-stream", ""), ("text/html", "attachment; filename=x.html")],
)
async def test_download_is_an_error(kind: str, disposition: str, navigate: Any, site: Any) -> None:
    headers = {"Content_Disposition": disposition} if disposition else {}
    answer = await navigate(site.page(b"\x00\x01binary", kind, **headers))
    assert (answer["status"], answer["text"]) == ("error", "")
    assert "download" in answer["error"]


async def test_later_download_is_refused_and_the_page_stays(navigate: Any, site: Any) -> None:
    file = site.page(b"x", "application/octet-stream")
    answer = await navigate(site.page(f"<p>x<script>location = '{file}'</script>"))
    assert (answer["status"], answer["text"]) == ("ok", "x")
    assert f"refused: the download of {file}" in answer["console"]


async def test_popups_are_closed_and_the_page_stays(navigate: Any, site: Any, service: Any) -> None:
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


async def test_page_closing_itself_stays_open(navigate: Any, site: Any) -> None:
    url = site.page("<p>x<script>close()</script>")
    answer = await navigate(url, script="(close(), new Promise(done => setTimeout(done, 200, 1)))")
    assert (answer["status"], answer["text"], answer["script_result"]) == ("ok", "x", 1)


async def test_next_page_gets_no_state_of_the_last(navigate: Any, site: Any) -> None:
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


async def test_unparsable_address_is_a_validation_error(client: Any) -> None:
    for url in ("http://0x100000000/", "http://a b/", "http://[::1", "http://1.2.3.4.5/"):
        async with client.post(
            "/navigate", json={"url": url}, headers={"X-VX11-Token": "the-token"}
        ) as response:
            assert response.status == 422, url
            body = await response.json()
            assert [fault["field"] for fault in body["errors"]] == ["url"]
