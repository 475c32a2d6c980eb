"""The contract of ``/navigate``: what a browser task hands on is what the browser service takes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from operator_svc.errors import OperatorError
from operator_svc.protocol.browser import BrowserTaskBody, task_of
from operator_svc.protocol.decoding import decode
from operator_svc.protocol.navigate import (
    PAGE_FIELDS,
    NavigateRequest,
    Viewport,
    Visit,
    checked_url,
)

PAGE = "https://example.org/"


def test_options_of_a_task_with_all_page_fields_are_a_request() -> None:
    given: dict[str, Any] = {
        "timeout_ms": 1,
        "wait_until": "commit",
        "full_page": True,
        "viewport": {"width": 16, "height": 16},
        "script": "1 + 1",
        "text_limit": 0,
    }
    assert set(given) == set(PAGE_FIELDS)
    body = decode(msgspec.json.encode({"url": f" {PAGE}\n", **given}), BrowserTaskBody)
    task = task_of(body)
    request = msgspec.convert({"url": task.url, **task.options}, NavigateRequest)
    assert request == NavigateRequest(PAGE, 1, "commit", True, Viewport(16, 16), "1 + 1", 0)


def test_options_of_a_bare_task_are_left_to_the_browser_service() -> None:
    assert task_of(BrowserTaskBody(PAGE)).options == {}


@pytest.mark.parametrize(
    "url",
    ["HTTP://EXAMPLE.ORG", "ftp://x", "javascript:alert(1)", "file:///etc/passwd", "http:x",
     "x:y", "http://[", "data:text/html,x", "about:blank", " https://example.org/\r\n"],
)  # fmt: skip
def test_an_address_that_can_be_read_passes_with_space_around_it_taken_off(url: str) -> None:
    assert checked_url(url) == url.strip()


@pytest.mark.parametrize(
    "url",
    ["", " ", "example.org", "//example.org", "http://", "https:///", "a\tb", "http://a b/",
     "\x7f:", "1http://x", "\u00e9://x", "http://a/\x00"],
)  # fmt: skip
def test_an_address_that_cannot_be_read_is_a_named_field(url: str) -> None:
    with pytest.raises(OperatorError) as caught:
        checked_url(url)
    assert caught.value.errors is not None
    assert [fault["field"] for fault in caught.value.errors] == ["url"]


def test_a_screenshot_travels_as_base64() -> None:
    visit = Visit(status="ok", url=PAGE, final_url=PAGE, screenshot=b"\x89PNG\xff", duration_ms=1)
    sent = msgspec.json.encode(visit)
    assert b'"screenshot":"iVBOR/8="' in sent
    assert msgspec.json.decode(sent, type=Visit) == visit
