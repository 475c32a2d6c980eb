"""Wall clocks of processes that jump while they run, by Debian's libfaketime."""

from __future__ import annotations

import random
from pathlib import Path

DAY = 86_400
FURTHEST = 400 * DAY


class FakeClock:
    """The wall clock of one process; its monotonic clock stays as it is.

    Raises FileNotFoundError where libfaketime is missing (``make machine`` installs it).
    """

    def __init__(self, folder: Path, name: str) -> None:
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not found:
            raise FileNotFoundError("libfaketime is not installed: make machine")
        self._file = folder / f"clock-{name}"
        self._set(0)
        self.environment = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self) -> int:
        """Put the clock up to 400 days forward or back; the seconds. It takes a second."""
        offset = random.choice((-1, 1)) * random.randrange(60, FURTHEST)  # noqa: S311
        self._set(offset)
        return offset

    def _set(self, offset: int) -> None:
        whole = self._file.with_suffix(".new")
        whole.write_text(f"{offset:+d}\n")
        whole.replace(self._file)
