"""A browser service in a network namespace where every address on earth answers.

Run under ``unshare --user --map-root-user --net``; prints what it saw as JSON. A second namespace
is the rest of the world: it accepts connections to any address, private and link-local ones
included, on WORLD_PORTS. So a page is kept from an address by the policy or not at all.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from operator_svc.browser_service.service import BrowserService
from operator_svc.protocol.navigate import NavigateRequest
from operator_svc.settings import BrowserSettings
from tests.browser_service.blocked import NETWORKS, in_url
from tests.browser_service.conftest import Names

WORLD_PORTS = (80, 8080)
OWN = ("8.8.4.9", "8.8.9.1", "2600:1234::9")
"""Global addresses of the service's machine; the second and third are on the way out."""
LATER = "8.8.5.5"
"""An address that the machine gets while the service runs."""
WORLD = "9.9.9.9"
DENIED = "9.8.7.6"

FETCH_ALL = """
Promise.all(%s.map(
  name => fetch(`http://${name}/`, {mode: "no-cors"}).then(() => "reached", () => "failed")
))
"""


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def say(line: str) -> None:
    """Write a line to standard output at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@asynccontextmanager
async def listening(ports: tuple[int, ...], visited: Callable[[str], None]) -> AsyncIterator[None]:
    """Answer HTTP on all addresses of this namespace; ``visited`` gets the address and port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("sockname")[:2]
        visited(f"{host} {port}")
        await reader.readline()
        body = f"<title>{host}</title>".encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nAccess-Control-Allow-Origin: *\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
        )
        writer.close()

    servers = [
        await asyncio.start_server(serve, host, port)
        for host in ("0.0.0.0", "::")
        for port in ports
    ]
    try:
        yield
    finally:
        for server in servers:
            server.close()


async def be_the_world() -> None:
    """Accept everything and print each visit; a line of standard input asks for a full stop."""
    say(".")
    await asyncio.to_thread(sys.stdin.readline)
    for command in (
        "ip link set lo up",
        "ip link set v1 up",
        "ip address add 8.8.9.2/24 dev v1",
        "ip -6 address add 2600:1234::1/64 dev v1 nodad",
        # Every address is local, except those of the other machine.
        "ip rule add to 8.8.9.1 lookup main pref 1",
        "ip rule add lookup local pref 2",
        "ip rule delete pref 0",
        "ip route add local 0.0.0.0/0 dev lo table local",
        "ip -6 rule add to 2600:1234::9 lookup main pref 1",
        "ip -6 rule add lookup local pref 2",
        "ip -6 rule delete pref 0",
        "ip -6 route add local ::/0 dev lo table local",
    ):
        run(command)
    async with listening(WORLD_PORTS, say):
        say(".")
        while await asyncio.to_thread(sys.stdin.readline):
            say(".")


class World:
    """The other namespace's process, connected by a pair of interfaces."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> World:
        unshared = ("unshare", "--net", sys.executable, "-m", __spec__.name, "world")
        pipe = asyncio.subprocess.PIPE
        world = cls(await asyncio.create_subprocess_exec(*unshared, stdin=pipe, stdout=pipe))
        await world._sentence()
        run(f"ip link add v0 type veth peer name v1 netns {world._process.pid}")
        world._ask()
        for command in (
            "ip link set lo up",
            "ip link set v0 up",
            "ip address add 8.8.9.1/24 dev v0",
            "ip address add 8.8.4.9/32 dev lo",
            "ip -6 address add 2600:1234::9/64 dev v0 nodad",
            "ip route add default via 8.8.9.2",
            "ip -6 route add default via 2600:1234::1",
        ):
            run(command)
        await world._sentence()
        return world

    async def visits(self) -> list[str]:
        """Return the addresses and ports that were connected to since the last call."""
        self._ask()
        return await self._sentence()

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    def _ask(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def _sentence(self) -> list[str]:
        """Read lines up to a full stop."""
        assert self._process.stdout is not None
        lines = []
        while (line := (await self._process.stdout.readline()).decode().strip()) != ".":
            assert line, "the world ended"
            lines.append(line)
        return lines


async def reachable(address: str) -> bool:
    """Connect without any policy."""
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(address, 80)
    except OSError:
        return False
    writer.close()
    return True


async def visit_everything(world: World) -> dict[str, Any]:
    names = Names()
    settings = BrowserSettings(
        token="t", pages=2, queue=100, deny="9.8.0.0/16", allow="open.test:8080, 10.9.8.7"
    )
    service = BrowserService(settings, resolver=names)
    found: dict[str, Any] = {"visits_here": []}
    addresses = [*(address for address, _ in NETWORKS), *OWN]
    await service.start()
    try:

        async def visit(url: str, script: str | None = None) -> dict[str, Any]:
            answer = await service.visit(NavigateRequest(url=url, script=script))
            return {
                "status": answer.status, "error": answer.error, "title": answer.title,
                "script": answer.script_result, "console": answer.console,
            }  # fmt: skip

        async with listening((80,), found["visits_here"].append):
            tried = await asyncio.gather(*map(reachable, addresses))
            found["reachable"] = [a for a, yes in zip(addresses, tried, strict=True) if yes]
            visited = found["visits_here"]
            # A connection is there before the one who accepts it has noted the visit.
            while len(visited) < len(found["reachable"]):
                visited += await world.visits()
                await asyncio.sleep(0)  # and those of this machine
            visited.clear()
            answers = await asyncio.gather(*(visit(f"http://{in_url(a)}/") for a in addresses))
            found["opened"] = dict(zip(addresses, answers, strict=True))
            by_name = {f"n{number}.test": address for number, address in enumerate(addresses)}
            for name, address in by_name.items():
                names[name] = [[address]]
            found["names"] = by_name
            found["fetching"] = await visit(f"http://{WORLD}/", FETCH_ALL % json.dumps([*by_name]))
            found["world"] = await visit(f"http://{WORLD}/")
            found["denied"] = await visit(f"http://{DENIED}/")
            found["allowed"] = await visit("http://10.9.8.7/")
            found["port"] = await visit(f"http://{WORLD}:8080/")
            names["open.test"] = [[WORLD]]
            found["allowed_port"] = await visit("http://open.test:8080/")
            names["rebound.test"] = [[WORLD], [OWN[0]]]
            again = "fetch('http://rebound.test/').then(r => r.text(), () => 'failed')"
            found["rebound"] = [await visit("http://rebound.test/", again) for _ in range(2)]
            found["before"] = await visit(f"http://{LATER}/")
            run(f"ip address add {LATER}/32 dev lo")
            found["after"] = await visit(f"http://{LATER}/")
            run(f"ip address delete {LATER}/32 dev lo")
            found["removed"] = await visit(f"http://{LATER}/")
    finally:
        await service.aclose()
        found["visits_there"] = await world.visits()
        await world.end()
    return found


async def main() -> None:
    if sys.argv[1:] == ["world"]:
        await be_the_world()
    else:
        say(json.dumps(await visit_everything(await World.start())))


if __name__ == "__main__":
    asyncio.run(main())
