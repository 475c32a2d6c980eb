"""Several processes of the service behind one port: starts workers, replaces and ends them.

Each worker is forked from here and is a process of the service like any other, with a lease of its
own; they share the port (SO_REUSEPORT) and the database. Here is no event loop and no thread, which
a fork would break: signals are waited for, and a worker tells by one that it is ready.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from contextlib import suppress
from typing import NoReturn

import msgspec
import structlog

from operator_svc import lifecycle, logs
from operator_svc.commands import common
from operator_svc.db import check_urls
from operator_svc.errors import ConfigurationError
from operator_svc.rest.server.listener import reserve
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)

PAUSE, PAUSE_MAX = 0.25, 30.0
"""Seconds before a worker that ended is replaced: doubled for each one that ended soon."""
SOON = 10.0
"""Seconds within which a worker that ends has ended soon."""
IDLE = 3600.0
"""Longest wait for a signal, in seconds, where no worker is to be started."""
READY = signal.SIGRTMIN
"""A worker's signal that it accepts connections. Of this kind none is merged with another's."""
TERMINATED = 128 + signal.SIGTERM
"""Exit code of a worker that had the signal to end before it was ready."""
AWAITED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, READY})


class Worker:
    """One place among the workers, and the process that has it now."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0  # none
        self.ready = False
        self.served = False
        """True once a process of this place has been ready."""
        self.begun = self.due = 0.0
        self._ended_soon = 0

    def begin(self, pid: int) -> None:
        """Note that ``pid`` starts in this place."""
        self.pid, self.ready, self.begun = pid, False, time.monotonic()

    def end(self) -> float:
        """Note that the process ended; the seconds after which the place is to be filled."""
        now = time.monotonic()
        self._ended_soon = self._ended_soon + 1 if now - self.begun < SOON else 0
        pause = min(PAUSE * 2.0 ** min(self._ended_soon, 10), PAUSE_MAX)
        self.pid, self.ready, self.due = 0, False, now + pause
        return pause


class Supervisor:
    """Keeps as many workers as the settings want, until a signal or a worker that cannot start.

    Raises ConfigurationError where several cannot serve by these settings.
    """

    def __init__(self, settings: Settings) -> None:
        if sys.platform != "linux":
            raise ConfigurationError(["OPERATOR_WORKERS: several need Linux"])
        check_urls(settings)
        self._held = reserve(settings.host, settings.port)
        port = self._held[0].getsockname()[1]
        self._settings = msgspec.structs.replace(settings, port=port)
        self._workers = [Worker(number) for number in range(settings.workers)]
        self._pid = os.getpid()
        self._ending = False
        self._code = 0

    def run(self) -> int:
        """Supervise until all workers have ended after a signal, or one could not start.

        The exit code: 0, or the first of a worker that failed. Ends by SystemExit in each worker.
        """
        if not self._settings.metrics_port:
            log.warning(
                "settings warning", problem="OPERATOR_METRICS_PORT is 0: /metrics is any worker's"
            )
        # Workers share what stands in memory now for as long as no collection writes to it.
        gc.freeze()
        signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
        while not self._ending or any(worker.pid for worker in self._workers):
            self._start_those_due()
            received = signal.sigtimedwait(AWAITED, self._until_due())
            if received is not None:
                self._handle(received)
        return self._code

    def _start_those_due(self) -> None:
        first, now = self._workers[0], time.monotonic()
        # The first one migrates, and tells by itself what is wrong with the settings.
        for worker in self._workers if first.served else [first]:
            if not (worker.pid or self._ending) and worker.due <= now:
                pid = os.fork()
                if pid == 0:
                    self._work(worker.number)
                worker.begin(pid)

    def _until_due(self) -> float:
        waiting = [worker.due for worker in self._workers if not worker.pid]
        if self._ending or not self._workers[0].served or not waiting:
            return IDLE
        return max(0.0, min(waiting) - time.monotonic())

    def _handle(self, received: signal.struct_siginfo) -> None:
        if received.si_signo == signal.SIGCHLD:
            self._reap()
        elif received.si_signo == READY:
            for worker in self._workers:
                if worker.pid == received.si_pid:
                    worker.ready = worker.served = True
                    log.info("worker ready", worker=worker.number, pid=worker.pid)
        elif received.si_signo == signal.SIGHUP:
            self._send(signal.SIGHUP)
        else:
            log.info("workers end", signal=signal.Signals(received.si_signo).name)
            self._end()

    def _reap(self) -> None:
        with suppress(ChildProcessError):  # none is left
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                # Others than workers are those that the first process of a container inherits.
                for worker in self._workers:
                    if worker.pid == pid:
                        self._on_end(worker, os.waitstatus_to_exitcode(status))

    def _on_end(self, worker: Worker, code: int) -> None:
        code = 128 - code if code < 0 else code
        could_start = worker.ready
        pause = worker.end()
        if self._ending:
            if code != TERMINATED:
                self._code = self._code or code
            return
        complete = all(one.served for one in self._workers)
        others = any(one.ready for one in self._workers)
        if could_start or (complete and others):
            log.error("worker replaced", worker=worker.number, exit_code=code, seconds=pause)
        else:
            log.error("worker does not start", worker=worker.number, exit_code=code)
            self._code = code
            self._end()

    def _end(self) -> None:
        """Have all workers drain; called again, have them end at once."""
        self._send(signal.SIGINT if self._ending else signal.SIGTERM)
        self._ending = True

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)

    def _work(self, number: int) -> NoReturn:
        """Be the worker of this number."""
        # Ctrl-C is for the supervisor, which passes it on; else one would count as two.
        os.setpgid(0, 0)
        common.end_with_parent()
        if os.getppid() != self._pid:
            sys.exit(TERMINATED)
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED - {signal.SIGHUP})
        settings = self._settings
        logs.configure(settings.log_level, settings.log_format, worker=number)
        if settings.metrics_port:
            port = settings.metrics_port + number
            settings = msgspec.structs.replace(settings, metrics_port=port)

        def ready(_: str) -> None:
            with suppress(ProcessLookupError):  # its end has this process drain
                os.kill(self._pid, READY)

        common.run(lifecycle.serve(settings, ready), settings.event_loop)
        sys.exit(0)
