"""LiteLLM's proxy, which many put before their models, beside Operator's ``/v1``.

It is installed from PyPI into a folder of the user's cache, at the version below, and runs with
one worker and one key, without storage, callbacks and log lines. Operator stores each chat.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import processes
from bench.context import Bench
from bench.http import Load
from bench.parts_chat import CLIENTS, Round, costs, interleave, relative
from bench.parts_openai import completion, completions, stream
from bench.parts_stream import MESSAGE, RATE
from bench.processes import SERVER_CORE, TOKEN, Process, running
from bench.results import Figure, median_figure

VERSION = "1.108.7"
NAME = f"LiteLLM {VERSION}"
_CONFIG = """
model_list:
  - model_name: operator
    litellm_params: {{model: openai/operator, api_base: "{url}/v1", api_key: none}}
litellm_settings: {{telemetry: false}}
"""


async def litellm(bench: Bench) -> None:
    """Completions of many clients and of one, and streamed tokens, by way of either."""
    program = await asyncio.to_thread(_installed)
    await bench.tell_switch(mode="json")
    operator = processes.operator(
        bench.switch, bench.database("sqlite"), SWITCH_DIALECT="openai"
    )  # fmt: skip
    with running(operator, proxy := _proxy(bench, program)):
        both = operator, proxy
        many = [Load(process, CLIENTS, completions(process)) for process in both]
        ours, theirs = await interleave(bench, many, 5, 1.0 if bench.quick else 3.0)
        one = [Load(process, 1, completions(process)) for process in (*both, bench.switch)]
        alone = await interleave(bench, one, 5, 1.0 if bench.quick else 2.0)
        tokens = await _tokens(bench, both)
    servers = {"Operator": ours, NAME: theirs}
    bench.add(*relative("litellm", NAME, ours, theirs), *costs("litellm", servers))
    bench.add(*_added("Operator", alone[0], alone[2]), *_added(NAME, alone[1], alone[2]))
    for name, measured in zip(servers, tokens, strict=True):
        bench.add(median_figure("litellm", f"CPU time of a token of 50 streams, {name}",
                                measured, "µs"))  # fmt: skip


async def _tokens(bench: Bench, both: tuple[Process, Process]) -> list[list[float]]:
    """CPU time of a streamed token by way of each, in microseconds."""
    count = 100 if bench.quick else 200
    await bench.tell_switch(mode="ok", rate=RATE, tokens=count)
    measured: list[list[float]] = [[], []]
    for number in bench.rounds(3):
        for index in (0, 1) if number % 2 else (1, 0):
            measured[index].append(await stream(both[index], _streamed(both[index]), count))
    return measured


def _streamed(process: Process) -> Callable[[str], bytes]:
    return lambda session: completion(process, session, stream=True, message=MESSAGE)


def _added(name: str, rounds: list[Round], direct: list[Round]) -> Iterator[Figure]:
    """The time that a way adds for one client to the stand-in's own answer."""
    pairs = list(zip(rounds, direct, strict=True))
    added = [a.latency_ms - b.latency_ms for a, b in pairs]
    yield median_figure("litellm", f"latency added, one client, median, {name}", added, "ms")
    added = [a.p99_ms - b.p99_ms for a, b in pairs]
    yield median_figure(
        "litellm", f"latency added, one client, 99th percentile, {name}", added, "ms"
    )


def _proxy(bench: Bench, program: Path) -> Process:
    config = bench.folder / "litellm.yaml"
    config.write_text(_CONFIG.format(url=bench.switch.url))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return Process(
        "litellm",
        [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)],
        {
            "PYTHONPATH": "",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": TOKEN,
        },
        SERVER_CORE,
        python=program.with_name("python"),
        url=f"http://127.0.0.1:{port}",
    )


def _installed() -> Path:
    """The program of the proxy, installed the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "operator-bench" / f"litellm-{VERSION}"
    program = folder / "bin" / "litellm"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = folder / "bin" / "pip"
        subprocess.run([pip, "install", "--quiet", f"litellm[proxy]=={VERSION}"], check=True)
    return program
