"""React's hook and component as they stand in the pages: compiled, and run in a real Chromium."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.clients.react_page import MODULES, serve_bundle
from tests.fakes.chromium import MODULE_LOOP
from tests.project.process import dev_operator, python_path

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "js"
TSC = CLIENT / "node_modules" / ".bin" / "tsc"
TOKEN = "react-token"
PAGE = """
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Chat } from "./Chat";

const main = document.querySelector("main");
createRoot(main).render(<StrictMode><Chat id={location.hash.slice(1)} /></StrictMode>);
"""
OPTIONS = {
    "strict": True, "noUncheckedIndexedAccess": True, "exactOptionalPropertyTypes": True,
    "noEmit": True, "target": "es2022", "module": "esnext", "moduleResolution": "bundler",
    "jsx": "react-jsx", "lib": ["es2023", "dom", "dom.iterable"], "types": [],
    "paths": {"@vx11/operator-client": ["./types/index.d.ts"]},
}  # fmt: skip


def example(page: str) -> str:
    """The one block of TypeScript with JSX of a page."""
    (code,) = re.findall(
        r"^```tsx\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL
    )
    return str(code)


def tsc(*arguments: str | Path, folder: Path) -> str:
    """Faults that the compiler of TypeScript finds."""
    run = subprocess.run(
        [TSC, *arguments], cwd=folder, env={"PATH": python_path()}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (run.returncode == 0) == (run.stdout == ""), run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of a user: both examples, React, and the client's types as they are published."""
    folder = tmp_path_factory.mktemp("react")
    (folder / "node_modules").symlink_to(MODULES)
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS}))
    (folder / "useSession.tsx").write_text(example("clients/js/README.md"))
    (folder / "Chat.tsx").write_text(example("docs/howto/clients.md"))
    (folder / "token.d.ts").write_text("declare const token: string;\n")
    types = CLIENT / "tsconfig.types.json"
    assert tsc("--project", types, "--outDir", folder / "types", folder=folder) == ""
    return folder


def test_examples_are_typed_strictly(project: Path) -> None:
    wrong = (project / "Chat.tsx").read_text()
    for before, after in (
        ("session?.ask", "session.ask"),  # there may be none yet
        ('String(form.get("message"))', "5"),
        ("message.content", "message.contents"),
    ):
        assert before in wrong
        wrong = wrong.replace(before, after, 1)
    (project / "Wrong.tsx").write_text(wrong)
    try:
        found = tsc("--project", project, folder=project)
    finally:
        (project / "Wrong.tsx").unlink()
    # Of the files that it checks together, the examples have no error.
    errors = re.findall(r"^([^(]+)\(.*: error (TS\d+)", found, re.MULTILINE)
    assert errors == [("Wrong.tsx", code) for code in ("TS18048", "TS2345", "TS2551")], found
    assert found.count("error TS") == len(errors), found


@MODULE_LOOP
async def test_examples_chat_resume_and_survive_strict_mode(
    project: Path, browser: Browser, tmp_path: Path
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    with dev_operator(tmp_path, TOKEN) as url:
        component = example("docs/howto/clients.md")
        (project / "page.jsx").write_text(PAGE.replace("./Chat", "./ChatHere"))
        (project / "ChatHere.tsx").write_text(
            component.replace("https://operator.example.com", url)
        )
        names = {"token": TOKEN, "process.env.NODE_ENV": "development"}
        alias = f"--alias:@vx11/operator-client={CLIENT / 'src' / 'index.js'}"
        with serve_bundle(project / "page.jsx", served, names, alias) as address:
            page = await browser.new_page()
            faults: list[str] = []
            page.on("pageerror", lambda error: faults.append(f"error: {error}"))
            page.on(
                "console", lambda line: faults.append(line.text) if line.type == "error" else None
            )
            await page.goto(f"{address}/#hooked")
            await expect(page.get_by_role("status")).to_have_text("live")
            await page.get_by_label("Message").fill("from React")
            await page.keyboard.press("Enter")
            said = page.locator("p:not([role])")
            await expect(said).to_have_text(["from React", "[stand-in] You said: from React"])
            await page.reload()
            await expect(said).to_have_count(2)
            assert [fault for fault in faults if fault.startswith(("error", "warning"))] == []
