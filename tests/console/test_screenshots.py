"""The script that writes docs/images: its walk through the console, and a terminal's picture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.fakes.chromium import MODULE_LOOP
from tools import screenshots

ROOT = Path(__file__).resolve().parents[2]


@MODULE_LOOP
async def test_a_newcomer_chats_cuts_resumes_opens_a_second_tab_and_stops(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screenshots, "PAUSE", 0.05)
    async with screenshots.model() as upstream, screenshots.operator(upstream) as url:
        await screenshots.newcomer(browser, url, tmp_path)
    written = {path.stem for path in tmp_path.glob("*.png")}
    assert written == {"console-live", "console-resuming", "console-stopped", "console-two-tabs"}
    await screenshots.draw(browser, "> hello\n\x1b[1mbold\x1b[0m and \x1b[36mcyan\x1b[0m", tmp_path)
    for path in tmp_path.glob("*.png"):
        head = path.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        width = int.from_bytes(head[16:20])
        wanted = screenshots.WIDE["width"]
        assert width == wanted or (path.stem == "terminal-chat" and 600 < width <= wanted), path


def test_each_picture_of_the_documents_is_written_by_the_script() -> None:
    shown = {
        name
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for name in re.findall(r"images/([\w-]+)\.png", page.read_text())
    }
    written = set(re.findall(r'folder, "([\w-]+)"\)', Path(screenshots.__file__).read_text()))
    assert {path.stem for path in (ROOT / "docs" / "images").iterdir()} == shown == written
