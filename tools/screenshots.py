"""Writes docs/images/*.png: the console and the terminal as a newcomer meets them.

The service is the real one (``operator-svc dev``, with SQLite in a folder of its own). The model
behind it is a small server here that speaks OpenAI's protocol, so that the pictures are the same
each time but for dates. Chromium shows the console, and draws the screen of a terminal (tmux).
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import (
    Browser,
    Locator,
    Page,
    ViewportSize,
    async_playwright,
    expect,
)
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from operator_svc.browser_service.chromium import find_executable
from operator_svc.settings import BrowserSettings, load

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
TOKEN = "screenshots"  # noqa: S105 - of a service that lives for a minute
WIDE: ViewportSize = {"width": 1120, "height": 700}
PHONE: ViewportSize = {"width": 390, "height": 780}
PAUSE = 0.1
"""Seconds between two words of a reply."""
QUESTION = "How do I watch the log of a service?"
ANSWER = """With `journalctl`, which reads the journal of systemd:

```sh
journalctl --unit operator --follow --output cat
```

| option | does |
| --- | --- |
| `--follow` | goes on as lines come |
| `--since "1 hour ago"` | begins there |
| `--grep error` | shows matching lines alone |

The service writes **one JSON object a line**, so `jq` can filter it.
"""
LONG = " ".join(
    f"Step {number}: read the line, keep what it says, and go on to the one after it."
    for number in range(1, 60)
)


COLUMNS, LINES = 92, 30
"""Size of the terminal."""
TERMINAL = f"""<body style="margin:0"><pre style="display:inline-block;width:{COLUMNS}ch;margin:0;
padding:16px 20px;color:{{foreground}};background:{{background}};
font:14px/1.35 'DejaVu Sans Mono',monospace">{{code}}</pre>"""


async def complete(request: web.Request) -> web.StreamResponse:
    """Answer a chat of OpenAI's protocol, word by word."""
    asked = (await request.json())["messages"][-1]["content"]
    text, pause = (LONG, PAUSE) if "every step" in asked else (ANSWER, 0)
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    with suppress(ConnectionResetError):  # the reply was stopped
        for word in re.findall(r"\s*\S+\s*?", text):
            await _send(answer, {"delta": {"content": word}, "finish_reason": None})
            await asyncio.sleep(pause)
        await _send(answer, {"delta": {}, "finish_reason": "stop"})
        await answer.write(b"data: [DONE]\n\n")
    return answer


async def _send(answer: web.StreamResponse, choice: dict[str, Any]) -> None:
    chunk = {"model": "llama3.2", "choices": [{"index": 0, **choice}]}
    await answer.write(f"data: {json.dumps(chunk)}\n\n".encode())


@asynccontextmanager
async def model() -> AsyncIterator[str]:
    """The model server; gives its address."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def operator(upstream: str) -> AsyncIterator[str]:
    """A running Operator in front of ``upstream``; gives its address."""
    env = {
        "PATH": os.environ["PATH"],
        "OPERATOR_TOKEN": TOKEN,
        "OPERATOR_PORT": "0",
        "OPERATOR_LOG_FORMAT": "json",
        "BROWSER_URL": "",
        "SWITCH_URL": upstream,
        "SWITCH_DIALECT": "openai",
        "SWITCH_MODEL": "llama3.2",
    }
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "operator_svc", "dev", cwd=folder, env=env,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            yield await _address(process)
        finally:
            process.terminate()
            await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async for line in process.stdout:
        if b"Operator listens on" in line:
            return line.split()[-1].decode()
    raise SystemExit("Operator did not start")


async def signed_in(browser: Browser, url: str, **options: Any) -> Page:
    """A page of the console, with the token in its address as ``make run`` prints it."""
    page = await browser.new_page(**options)
    await page.goto(f"{url}/console#token={TOKEN}")
    await page.get_by_role("button", name="New session").wait_for()
    return page


async def ask(page: Page, text: str) -> None:
    """Send a message in the open session."""
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def written(page: Page, words: int) -> None:
    """Wait until a reply that is being written has so many words."""
    await expect(page.locator(".streaming")).to_have_text(re.compile(rf"(\S+\s+){{{words}}}"))


async def picture(page: Page | Locator, folder: Path, name: str) -> None:
    """Write one of the pictures."""
    path = folder / f"{name}.png"
    await page.screenshot(path=path, animations="disabled")
    sys.stdout.write(f"{path}\n")


async def newcomer(browser: Browser, url: str, folder: Path = IMAGES) -> None:
    """Chat, cut the connection, see it resume, open a second tab, stop a reply."""
    page = await signed_in(browser, url, viewport=WIDE, color_scheme="light")
    await page.get_by_role("button", name="New session").click()
    await ask(page, QUESTION)
    await page.get_by_role("button", name="Regenerate").wait_for()
    await ask(page, "Now every step of it, please.")
    await written(page, 30)
    await picture(page, folder, "console-live")
    cut = page.get_by_role("button", name="Cut connection")
    # It would be back before its picture is taken: its pause does not end until it is cut again.
    await page.evaluate("window.timeout = setTimeout; setTimeout = () => 0")
    await cut.click()
    await expect(page.locator(".badge")).to_have_text(re.compile("from seq"))
    await picture(page, folder, "console-resuming")
    await page.evaluate("setTimeout = window.timeout")
    await cut.click()
    await expect(page.locator(".badge")).to_have_text("live")
    await two_tabs(browser, page, folder)
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_text("cancelled", exact=True).wait_for()
    await picture(page, folder, "console-stopped")
    await page.close()


async def two_tabs(browser: Browser, first: Page, folder: Path) -> None:
    """Both tabs of one session, taken at once and put side by side."""
    half: ViewportSize = {"width": WIDE["width"] // 2 - 4, "height": WIDE["height"]}
    second = await browser.new_page(viewport=half, color_scheme="light")
    await second.goto(first.url)
    await second.get_by_label("Token").fill(TOKEN)
    await second.keyboard.press("Enter")
    await second.locator(".streaming").wait_for()
    await first.set_viewport_size(half)
    shots = await asyncio.gather(first.screenshot(), second.screenshot())
    await first.set_viewport_size(WIDE)
    images = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(shot).decode()}">' for shot in shots
    )
    await second.close()
    both = await browser.new_page(viewport=WIDE)
    await both.set_content(f"<body style='margin:0;display:flex;gap:8px;background:#888'>{images}")
    await picture(both, folder, "console-two-tabs")
    await both.close()


async def themes(browser: Browser, url: str, folder: Path = IMAGES) -> None:
    """The console in the dark and on a phone, and the page of the documents."""
    dark = await signed_in(browser, url, viewport=WIDE, color_scheme="dark")
    await dark.locator(".list li a").first.click()
    await dark.get_by_role("button", name="Regenerate").first.wait_for()
    await dark.locator(".messages").evaluate("list => list.scrollTop = 0")
    await picture(dark, folder, "console-dark")
    phone = await signed_in(browser, url, viewport=PHONE, color_scheme="light")
    await phone.locator(".list li a").first.click()
    await phone.get_by_role("button", name="Regenerate").first.wait_for()
    await phone.locator(".messages").evaluate("list => list.scrollTop = 0")
    await picture(phone, folder, "console-phone")
    docs = await browser.new_page(viewport=WIDE, color_scheme="light")
    await docs.goto(f"{url}/docs#getMe")
    await docs.get_by_label("Token").fill(TOKEN)
    form = docs.locator("details[id=getMe] form")
    await form.get_by_role("button", name="Send").click()
    await form.get_by_label("Body of the answer").wait_for()
    await form.scroll_into_view_if_needed()
    await picture(docs, folder, "docs-page")


async def terminal(browser: Browser, url: str) -> None:
    """``operator-svc chat`` with a reply in Markdown, as tmux shows it."""
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OPERATOR_TOKEN": TOKEN}
    with tempfile.TemporaryDirectory() as folder:
        env |= {"HOME": folder, "LANG": "C.UTF-8", "TERM": "xterm-256color"}

        async def tmux(*command: str) -> str:
            process = await asyncio.create_subprocess_exec(
                "tmux", "-S", f"{folder}/tmux", "-f", "/dev/null", *command, env=env, cwd=folder,
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            said, _ = await process.communicate()
            return said.decode()

        async def until(words: str) -> None:
            for _ in range(300):
                if re.search(words, await tmux("capture-pane", "-p")):
                    return
                await asyncio.sleep(PAUSE)
            raise SystemExit(f"the terminal does not show {words!r}")

        chat = f"operator-svc chat --url {url} --session journal"
        await tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), chat)
        try:
            await until(r"session journal\s*\n>")
            await tmux("send-keys", "-l", QUESTION)
            await tmux("send-keys", "Enter")
            await until(r"jq can filter it\.\s*\n>")
            screen = await tmux("capture-pane", "-p", "-e", "-N")
        finally:
            await tmux("kill-server")
    await draw(browser, screen, IMAGES)


async def draw(browser: Browser, screen: str, folder: Path) -> None:
    """Write the picture of a terminal's screen, given with its escape sequences of colours."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen.rstrip()), end="")
    page = await browser.new_page(viewport=WIDE)
    await page.set_content(
        console.export_html(theme=MONOKAI, inline_styles=True, code_format=TERMINAL)
    )
    await picture(page.locator("pre"), folder, "terminal-chat")
    await page.close()


async def main() -> None:
    """Write all pictures."""
    if shutil.which("tmux") is None:
        raise SystemExit("tmux is missing; on Debian: apt-get install tmux")
    IMAGES.mkdir(exist_ok=True)
    settings, _ = load(BrowserSettings, {"BROWSER_TOKEN": TOKEN})
    executable = find_executable(settings, os.environ["PATH"])
    async with model() as upstream, operator(upstream) as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox"]
        )
        await newcomer(browser, url)
        await themes(browser, url)
        await terminal(browser, url)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
