"""The caller's script in a stranger's page, and what such a page can do to it and to us."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
async def test_script_returns_its_result(
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
async def test_failing_script_leaves_the_page_ok(
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


async def test_page_cannot_forge_its_content(navigate: Any, site: Any) -> None:
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
