"""The service, and a sampled profile of its event loop: CPU time by package.

The first SIGUSR2 begins the profile, the second one writes it to the file in ``PROFILE``. A timer
of the process's CPU time interrupts the main thread; a sample weighs the CPU time of this thread
since the one before, because other threads run the timer as well.

    PROFILE=/tmp/profile.json python -m bench.with_profile
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

import msgspec

from operator_svc.cli import main

INTERVAL = 0.002
PACKAGE = "operator_svc"
ENDS = {"client": "client", "connector": "client", "web": "server"}
"""The ends of aiohttp, by the first word of a module's name; bodies, for one, are of both."""
LOOP = "the loop: waiting, sockets, parsing in C"


class Profile:
    """CPU seconds of the main thread by package."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._names: dict[str, str] = {}
        self._last = 0.0

    def switch(self, *_: object) -> None:
        """Begin, or end and write the file."""
        if self._last:
            signal.setitimer(signal.ITIMER_PROF, 0)
            made = self._file.with_suffix(".part")
            made.write_bytes(msgspec.json.encode(self._seconds))
            made.rename(self._file)
            return
        self._last = time.thread_time()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def sample(self, _: int, frame: FrameType | None) -> None:
        """Count the time since the last sample to the package of the innermost frame."""
        now = time.thread_time()
        path = frame.f_code.co_filename if frame else ""
        name = self._names.get(path)
        if name is None:
            name = self._names[path] = package_of(path)
        self._seconds[name] += now - self._last
        self._last = now


def package_of(path: str) -> str:
    """The package of a source file, those of the service and of aiohttp in more detail."""
    parts = Path(path).with_suffix("").parts
    if PACKAGE in parts:
        inside = parts[parts.index(PACKAGE) + 1 : -1]
        return f"Operator, {'/'.join(inside[:2]) or 'its root'}"
    if "aiohttp" in parts:
        module = parts[-1].partition("_")[0]
        return f"aiohttp, {ENDS.get(module, 'what both ends use')}"
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return LOOP if parts[-2:-1] == ("asyncio",) else "the standard library"


if __name__ == "__main__":
    profile = Profile(Path(os.environ["PROFILE"]))
    signal.signal(signal.SIGPROF, profile.sample)
    signal.signal(signal.SIGUSR2, profile.switch)
    sys.argv[1:] = ["serve"]
    main()
