"""The service without the look at the server's timeline that begins each transaction by way of a
pooler: what that look costs is the difference. It is no product: a failover would be noticed late.

    python -m bench.without_timeline
"""

from __future__ import annotations

import sys

from operator_svc.cli import main
from operator_svc.db import postgresql_pooler

if __name__ == "__main__":
    if not postgresql_pooler._ON_TIMELINE.startswith("; SELECT"):
        raise RuntimeError("the look is written in another way than this file expects")
    postgresql_pooler._ON_TIMELINE = ""
    sys.exit(main())
