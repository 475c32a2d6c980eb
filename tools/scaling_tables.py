"""The inputs of docs/scaling.md, from the results of the benchmarks, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bench.results import short
from operator_svc.bus.nats import SUBJECTS
from operator_svc.settings import NATS_CHECKPOINT, Settings
from tools.results import newest, value

SECONDS_A_CHAT = 300
"""Seconds between the messages of a person online."""
TOKENS_A_REPLY, TOKENS_A_SECOND = 400, 50
COMMITS_A_CHAT = 2
"""Its beginning and its end, where none is stored together with others."""
COMMITS_A_PROCESS = 1 + 1 / NATS_CHECKPOINT
"""Each second, with NATS: the lease, and a checkpoint of all its replies."""
NOTIFICATIONS = 1 / Settings().tick
"""A busy process sends one with each tick where it has no NATS."""
LOAD = 0.5
"""Share of a core that a process uses."""
SOCKETS = Settings().sockets
PEOPLE = {"10,000": 10**4, "1 million": 10**6, "10 million": 10**7}


class Input(NamedTuple):
    """A measured figure that the model needs."""

    meaning: str
    part: str
    figure: str
    unit: str

    @property
    def value(self) -> float:
        """Its newest value, in ``unit``."""
        return value(self.part, self.figure)


_LOG = "log of PostgreSQL of a reply of 400 tokens, 50 a second"
INPUTS = {
    "chat": Input("CPU time of Operator for a JSON chat", "chat-postgresql",
                  "CPU time of a chat, Operator", "ms"),
    "chat_database": Input("CPU time of PostgreSQL for a chat", "chat-postgresql",
                           "CPU time of a chat in PostgreSQL, Operator", "ms"),
    "token": Input("CPU time of Operator for a token shown to one client", "stream-500",
                   "CPU time of a token, Operator", "µs"),
    "start": Input("memory of a process at start", "memory", "memory at start", "MiB"),
    "socket": Input("memory of an idle socket", "memory", "memory of an idle socket, Operator",
                    "KiB"),
    "queries": Input("queries of an idle process", "idle",
                     "queries per second of an idle process", "/s"),
    "watched": Input("CPU time of PostgreSQL to look at an idle socket's session each second",
                     "idle", "CPU time of PostgreSQL for an idle socket", "µs/s"),
    "unheard": Input("CPU time of a process for a token sent to NATS that nobody hears", "nats",
                     "CPU time of the processes for a message sent that nobody hears", "µs"),
    "heard": Input("CPU time of both processes for a token sent by NATS and received", "nats",
                   "CPU time of the processes for a message sent and received", "µs"),
    "server": Input("CPU time of the NATS server for a message that is heard", "nats",
                    "CPU time of NATS for a message sent and received", "µs"),
    "log": Input("log of PostgreSQL for a reply of 400 tokens in 8 s, text stored every 0.1 s",
                 "pods", _LOG, "KiB"),
    "log_nats": Input("the same with NATS, text stored every second", "pods-nats", _LOG, "KiB"),
    "notification": Input("CPU time of PostgreSQL for a notification, for each of 100 processes",
                          "capacity", "CPU time of PostgreSQL for each of 100 listeners of a"
                          " notification", "µs"),
    "commits_borne": Input("commits that one PostgreSQL bears, on one core", "capacity",
                           "commits that PostgreSQL bears", "/s"),
    "log_borne": Input("log that it bears", "capacity", "log that PostgreSQL bears", "MiB/s"),
}  # fmt: skip
CHECKPOINTS = [
    Input(f"log of the chunks of a reply of 400 words, stored every {seconds} s", "checkpoints",
          f"log of the chunks of a reply of 400 words, stored every {seconds} s", "B")
    for seconds in ("0.1", "1", "3")
]  # fmt: skip
"""Inputs that the model does not need: what a longer checkpoint saves."""


def inputs() -> Iterable[str]:
    """The inputs, each with the command that measures it."""
    for each in (*INPUTS.values(), *CHECKPOINTS):
        run = newest()[each.part]
        said = f"{short(each.value)} {each.unit}".replace(" /s", "/s")
        command = f"`python -m bench --only {each.part}`"
        yield f"| {each.meaning} | {said} | {run.name}, load {run.load} | {command} |"


def needs(people: int, cost: Mapping[str, float]) -> dict[str, str]:
    """The resources that so many people need, by resource."""
    chats = people / SECONDS_A_CHAT
    tokens = chats * TOKENS_A_REPLY
    cores = chats * cost["chat"] / 1e3 + tokens * (cost["token"] + cost["unheard"]) / 1e6
    processes = max(cores / LOAD, people / SOCKETS, 2)
    others = tokens * min(1.0, SOCKETS / SUBJECTS)
    read = others * (cost["heard"] - cost["unheard"]) / 1e6
    commits = chats * COMMITS_A_CHAT + processes * COMMITS_A_PROCESS
    database = chats * cost["chat_database"] / 1e3
    looks = people * cost["watched"] / 1e6
    notifying = processes**2 * NOTIFICATIONS * cost["notification"] / 1e6
    log, log_nats = (chats * cost[name] / 2**10 for name in ("log", "log_nats"))
    borne = {
        "CPU": database + looks,
        "commits": commits / cost["commits_borne"],
        "log": log_nats / cost["log_borne"],
    }
    return {
        "chats a second": _number(chats),
        "running replies": _number(tokens / TOKENS_A_SECOND),
        "tokens a second": _number(tokens),
        "CPU of Operator, with NATS": f"{_number(cores)} cores",
        "processes (one core each, half loaded; 10,000 sockets at most)": _number(processes),
        "memory for sockets": f"{_number(people * cost['socket'] / 2**20)} GiB",
        "memory for processes": f"{_number(processes * cost['start'] / 2**10)} GiB",
        "CPU of PostgreSQL for chats, without checkpoints and reads": (
            f"{_number(database)} cores"
        ),
        "CPU of PostgreSQL for looks at the sessions of sockets": f"{_number(looks)} cores",
        "CPU of PostgreSQL for notifications, without NATS": f"{_number(notifying)} cores",
        "commits a second, with NATS, where none is stored with others": _number(commits),
        "queries a second of idle processes": _number(processes * cost["queries"]),
        "log of PostgreSQL without NATS": f"{_number(log)} MiB/s",
        "log of PostgreSQL with NATS": f"{_number(log_nats)} MiB/s",
        "PostgreSQLs on one core each that this takes, with NATS, by what runs out": ", ".join(
            f"{name} {_number(share)}"
            for name, share in sorted(borne.items(), key=lambda each: -each[1])
        ),
        "CPU of NATS, each token heard by one process": (
            f"{_number(tokens * cost['server'] / 1e6)} cores"
        ),
        "messages a second that a process gets of others' sessions by hash": _number(others),
        "CPU of a process for them": f"{_number(read)} cores",
    }


def model() -> Iterable[str]:
    """The needs of each number of people."""
    cost = {name: each.value for name, each in INPUTS.items()}
    columns = [needs(people, cost) for people in PEOPLE.values()]
    for resource in columns[0]:
        yield f"| {resource} | {' | '.join(column[resource] for column in columns)} |"


def _number(number: float) -> str:
    """A number with two digits, which is more than the model knows."""
    rounded = float(f"{number:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"
