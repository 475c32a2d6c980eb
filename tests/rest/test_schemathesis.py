"""schemathesis reads the OpenAPI document and tries every call of it: no 500, no mismatch."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from operator_svc import devpeers
from tests.rest.conftest import Start
from tests.rest.rest_service import TOKEN

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.timeout(300)
async def test_the_service_is_as_its_document_says(start: Start, tmp_path: Path) -> None:
    async with await devpeers.start(TOKEN) as peers:
        service = await start(
            browser_url="",
            hermes_url=peers.hermes.url,
            shub_url=peers.shub.url,
            tentaculo_link_url=peers.tentaculo_link.url,
        )
        code, said = await schemathesis(service.url, tmp_path)
    assert code == 0, said
    assert "Tested: " in said


async def schemathesis(url: str, folder: Path) -> tuple[int | None, str]:
    """Its exit code, and what it said."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        f"--config-file={CONFIG}",
        "--no-color",
        "run",
        f"{url}/openapi.json",
        "--checks=all",
        "--warnings=off",
        cwd=folder,
        env={**os.environ, "OPERATOR_TEST_TOKEN": TOKEN},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    lines = said.decode(errors="replace").splitlines()
    return process.returncode, "\n".join(line[:400] for line in lines)
