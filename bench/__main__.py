"""``python -m bench``: measure, print, and write the figures as JSON."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from bench import (
    parts_active,
    parts_browser,
    parts_burst,
    parts_capacity,
    parts_chat,
    parts_checkpoints,
    parts_held,
    parts_history,
    parts_litellm,
    parts_nats,
    parts_openai,
    parts_pods,
    parts_pooler,
    parts_profile,
    parts_records,
    parts_recovery,
    parts_retention,
    parts_search,
    parts_stream,
    parts_swarm,
    parts_workers,
)
from bench.context import Bench, Part
from bench.processes import CLIENT_CORE, pin
from bench.results import machine, write

STREAMS: dict[str, Any] = {
    "stream-50": {"count": 50, "rate": 50.0, "cpu_goal": 1.0, "late_goal": 5},
    "stream-500": {"count": 500, "rate": 50.0, "cpu_goal": 0.7, "late_goal": 50},
    "stream-500-fast": {"count": 500, "rate": 100.0, "cpu_goal": 0.5, "late_goal": 50},
}
PARTS: dict[str, Part] = {
    "chat-sqlite": partial(parts_chat.chat, engine="sqlite"),
    "chat-postgresql": partial(parts_chat.chat, engine="postgresql"),
    "latency": parts_chat.latency,
    "profile-chat": parts_profile.profile_chat,
    "profile-token": parts_profile.profile_token,
    "health": parts_chat.health,
    "streamed-chat-sqlite": partial(parts_burst.streamed_chat, engine="sqlite"),
    "streamed-chat-postgresql": partial(parts_burst.streamed_chat, engine="postgresql"),
    "decoding": parts_burst.decoding,
    **{part: partial(parts_stream.streams, part=part, **how) for part, how in STREAMS.items()},
    "held": parts_held.held,
    "workers": parts_workers.workers,
    "openai": parts_openai.openai,
    "first-token": parts_stream.first_token,
    "fan-out": parts_stream.fan_out,
    "history-sqlite": partial(parts_history.history, engine="sqlite"),
    "history-postgresql": partial(parts_history.history, engine="postgresql"),
    "memory": parts_history.memory,
    "log-cost-sqlite": partial(parts_chat.log_cost, engine="sqlite"),
    "log-cost-postgresql": partial(parts_chat.log_cost, engine="postgresql"),
    "pods": parts_pods.pods,
    "nats": parts_nats.nats,
    "pods-nats": partial(parts_pods.pods, nats=True),
    "pooler": parts_pooler.pooler,
    "active": parts_active.active,
    "active-nats": partial(parts_active.active, nats=True),
    "checkpoints": parts_checkpoints.checkpoints,
    "capacity": parts_capacity.capacity,
    "idle": parts_pods.idle,
    "resume": parts_recovery.resume,
    "recovery": parts_recovery.recovery,
    "browser": parts_browser.browser,
    "adopt-sqlite": partial(parts_records.adopt, engine="sqlite"),
    "adopt-postgresql": partial(parts_records.adopt, engine="postgresql"),
    "ranking": parts_records.ranking,
    "forwarding": parts_records.forwarding,
    "overviews": parts_records.overviews,
}
LONG: dict[str, Part] = {
    "litellm": parts_litellm.litellm,
    "memory-long": parts_history.memory_long,
    "swarm": parts_swarm.swarm,
    "retention": parts_retention.retention,
    "event-days": parts_retention.event_days,
    "search-sqlite": partial(parts_search.search, engine="sqlite"),
    "search-postgresql": partial(parts_search.search, engine="postgresql"),
}
"""Parts that run only when they are named: long ones, and one that installs a package."""


def main() -> int:
    """Run the parts; 1 where one of them could not be run, whatever its figures."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", nargs="+", metavar="PART", choices=PARTS | LONG,
                        help=", ".join(PARTS | LONG))  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures are written")
    arguments = parser.parse_args()
    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, "
          f"Python {about['python']}; load {about['load_average']:.1f}")  # fmt: skip
    pin(0, CLIENT_CORE)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the processes are ended first
    failed = []
    with Bench(quick=arguments.quick) as bench:
        for name in arguments.only or PARTS:
            print(f"\n{name}", flush=True)
            begun = time.monotonic()
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run((PARTS | LONG)[name](bench))
            except Exception:
                traceback.print_exc()
                failed.append(name)
            bench.note(f"({time.monotonic() - begun:.0f} s)")
        path = write(arguments.json, about, bench.figures, arguments.quick)
    missed = [figure for figure in bench.figures if figure.met is False]
    targets = sum(figure.met is not None for figure in bench.figures)
    print(f"\n{len(bench.figures)} figures in {path}; {len(missed)} of {targets} targets missed")
    for figure in missed:
        print(f"  {figure.part}: {figure.name}: {figure.value:.3g} {figure.unit}")
    for name in failed:
        print(f"  {name} could not be run")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
