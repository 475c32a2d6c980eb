"""The text of a page: frames, encodings, bytes that are none, and documents that are no HTML."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_text_includes_frames_of_the_same_origin(navigate: Any, site: Any) -> None:
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
async def test_other_encodings_are_decoded(charset: str, navigate: Any, site: Any) -> None:
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


async def test_invalid_bytes_become_storable_text(navigate: Any, site: Any) -> None:
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
async def test_other_document_types_are_ok(
    kind: str, body: str, text: str, navigate: Any, site: Any
) -> None:
    answer = await navigate(site.page(body, kind))
    assert answer["status"] == "ok"
    assert text in answer["text"]


async def test_response_without_content_is_an_error(navigate: Any, site: Any) -> None:
    answer = await navigate(site.page("", status=204))
    assert (answer["status"], answer["text"]) == ("error", "")
