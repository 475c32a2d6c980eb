"""Opens many connections that never send a whole request, and holds them: a process of its own.

    python tests/cluster/opener.py HOST PORT COUNT

Half of them say nothing, the others begin a head. A line of JSON tells when all are open; one
for each line on standard input tells how many are still held; the end of the input ends it.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys

HALF_A_HEAD = b"POST /operator/chat HTTP/1.1\r\nHost: x\r\nX-Slow: "
AT_ONCE = 250
PATIENCE = 30.0


def main(host: str, port: int, count: int) -> None:
    """Open, tell, and answer until the input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held: dict[int, socket.socket] = {}
    while len(held) < count:
        batch = [socket.socket() for _ in range(min(AT_ONCE, count - len(held)))]
        for one in batch:
            one.settimeout(PATIENCE)
            one.connect((host, port))
            if len(held) % 2:
                one.sendall(HALF_A_HEAD)
            one.setblocking(False)
            held[one.fileno()] = one
    tell(opened=len(held))
    ends = select.epoll()
    for number in held:
        ends.register(number, select.EPOLLIN)
    for _ in sys.stdin:
        for number, _ in ends.poll(0, len(held) or 1):
            ends.unregister(number)
            held.pop(number).close()
        tell(held=len(held))


def tell(**what: int) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
