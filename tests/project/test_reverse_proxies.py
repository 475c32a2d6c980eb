"""The proxies of the how-tos, as they run: real ones, with TLS, before a running Operator."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, expect

from operator_svc.protocol import headers
from tests.fakes.chromium import MODULE_LOOP, browser, chromium
from tests.fakes.eventually import block_until
from tests.project.howtos import blocks
from tests.project.process import dev_operator, free_port

__all__ = ["browser", "chromium"]
pytestmark = MODULE_LOOP
TOKEN = "proxy-test"
SLOW = "[[tokens=2000]] [[rate=50]] slow"
NGINX = """
daemon off;
pid {folder}/pid;
error_log stderr;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found is not None, f"{name} is not installed: make machine"
    return found


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host and port of a running Operator."""
    address = "https://localhost/chat"
    with dev_operator(tmp_path_factory.mktemp("operator"), TOKEN, OPERATOR_URL=address) as url:
        yield url.removeprefix("http://")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", "operator.key", "-out", "operator.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[str]:
    """A proxy that listens on ``port``; its address."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={"HOME": str(folder), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        try:

            def is_up() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            block_until(is_up)
            yield f"https://localhost:{port}"
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def nginx(operator: str, certificate: Path, folder: Path, *, keeps: bool = False) -> Iterator[str]:
    """nginx with the server of the page, and with the two locations that the pages add to it.
    ``keeps`` leaves the prefix before the paths, as the page says."""
    port = free_port()
    site, prefixed = blocks("reverse-proxies.md", "nginx")
    if keeps:
        assert "proxy_pass http://operator/;" in prefixed
        prefixed = prefixed.replace("proxy_pass http://operator/;", "proxy_pass http://operator;")
    (signed_in,) = blocks("clients.md", "nginx")
    more = f"{prefixed}\n{signed_in}\nlocation = /signed-in {{ return 204; }}\n"
    site = site.rstrip().removesuffix("}") + more + "}"
    site = (
        site.replace("127.0.0.1:8011", operator)
        .replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
        .replace("/etc/ssl/certs", str(certificate))
        .replace("/etc/ssl/private", str(certificate))
        .replace('"the token"', f'"{TOKEN}"')
    )
    user = "user root;" if os.geteuid() == 0 else ""
    settings = folder / "nginx.conf"
    settings.write_text(NGINX.format(folder=folder, site=site, user=user))
    command = [program("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(settings)]
    with running(command, port, folder) as url:
        yield url


@contextmanager
def caddy(operator: str, certificate: Path, folder: Path) -> Iterator[str]:
    """Caddy with the site of the page, but for the certificate, which it cannot fetch here."""
    port = free_port()
    (site,) = blocks("reverse-proxies.md", "caddyfile")
    site = site.replace("127.0.0.1:8011", operator).replace(
        "operator.example.com {",
        f"https://localhost:{port} {{\n    tls {certificate}/operator.pem "
        f"{certificate}/operator.key",
    )
    options = "{\n    admin off\n    auto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + site)
    command = [program("caddy"), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    with running(command, port, folder) as url:
        yield url


PROXIES = {"nginx": nginx, "caddy": caddy}


@pytest.fixture(scope="module", params=PROXIES)
def proxy(
    request: pytest.FixtureRequest, operator: str, certificate: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:  # fmt: skip
    with PROXIES[request.param](operator, certificate, tmp_path_factory.mktemp("proxy")) as url:
        yield url


@pytest.fixture(scope="module", params=[False, True], ids=["prefix taken", "prefix kept"])
def behind_nginx(
    request: pytest.FixtureRequest, operator: str, certificate: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:  # fmt: skip
    folder = tmp_path_factory.mktemp("proxy")
    with nginx(operator, certificate, folder, keeps=request.param) as url:
        yield url


async def event(stream: aiohttp.ClientResponse, name: str) -> dict[str, Any]:
    """The next event of a stream with this name; the type of a frame that is no event is one."""
    async for line in stream.content:
        if line.startswith(b"data: "):
            frame: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            if frame.get("event", frame["type"]) == name:
                return frame
    raise AssertionError(f"the stream ended without {name}")


async def test_stream_and_websocket_pass_as_they_are_written(proxy: str, certificate: Path) -> None:
    trusted = ssl.create_default_context(cafile=certificate / "operator.pem")
    async with aiohttp.ClientSession(
        headers={headers.TOKEN: TOKEN}, connector=aiohttp.TCPConnector(ssl=trusted)
    ) as session:
        body = {"session_id": "proxied", "message": SLOW, "stream": True}
        async with (
            session.ws_connect(f"{proxy}/ws/proxied", protocols=["operator.v1"]) as websocket,
            session.post(f"{proxy}/operator/chat", json=body) as stream,
        ):
            assert (await websocket.receive_json())["type"] == "ready"
            started = await event(stream, "reply.started")
            reply = started["data"]["reply_id"]
            # A proxy that buffers shows no piece before the reply has ended, 40 s later.
            await event(stream, "delta")
            await websocket.send_json({"type": "cancel", "id": 1, "reply_id": reply})
            assert (await event(stream, "reply.cancelled"))["data"]["reply_id"] == reply
    await asyncio.sleep(0.5)  # aiohttp does not wait for the end of TLS; this is what it advises


async def test_pages_work_under_a_path_with_tls(behind_nginx: str, browser: Browser) -> None:
    page = await browser.new_page(ignore_https_errors=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("wss", "https", 1)))
    await page.goto(f"{behind_nginx}/chat/#token={TOKEN}")
    await page.get_by_role("button", name="New session").click()
    await page.get_by_label("Message", exact=True).fill("through nginx")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message.reply .body")).to_contain_text("You said: through nginx")
    await expect(page.locator(".badge")).to_have_text("live")
    await page.goto(f"{behind_nginx}/chat/docs#getMe")
    form = page.locator("details[id=getMe] form")
    await form.get_by_role("button", name="Send").click()
    await expect(form.get_by_label("Body of the answer")).to_contain_text('"role": "operator"')
    assert any("/ws/" in address for address in asked)
    assert [address for address in asked if not address.startswith(f"{behind_nginx}/chat/")] == []


async def test_event_source_works_where_the_proxy_brings_the_token(
    behind_nginx: str, browser: Browser
) -> None:
    page = await browser.new_page(ignore_https_errors=True)
    await page.goto(f"{behind_nginx}/docs")
    await page.evaluate(
        """token => fetch("operator/chat", {method: "POST", headers: {"X-VX11-Token": token,
        "Content-Type": "application/json"}, body: '{"session_id": "s", "message": "hi"}'})""",
        TOKEN,
    )
    first = await page.evaluate(
        """() => new Promise((resolve, reject) => {
            const source = new EventSource("operator/session/s/events");
            source.onmessage = (event) => { source.close(); resolve(event.data); };
            source.onerror = () => reject(new Error("refused"));
        })"""
    )
    assert '"type":"ready"' in first
