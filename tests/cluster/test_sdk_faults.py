"""OpenAI's SDK as it comes, behind a proxy that cuts, delays and fails, and before processes that
are killed.

``SDK_CALLS`` says how many calls are made and ``SDK_CUTS`` how many streams are cut; where they
are given, what was counted is kept in ``bench/results/sdks.jsonl``. ``SDK_SEED`` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import httpx
import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI

from bench.results import append
from operator_svc import devpeers
from tests.cluster.conftest import Cluster
from tests.cluster.processes import TOKEN, Pod, environment
from tests.fakes.eventually import eventually
from tests.fakes.faulty_proxy import Fault, FaultyProxy, Kind

CALLS = int(os.environ.get("SDK_CALLS", "24"))
CUTS = int(os.environ.get("SDK_CUTS", "6"))
SEED = int(os.environ.get("SDK_SEED", random.SystemRandom().randrange(10**6)))
AT_ONCE = 16
ROUND = 10
"""Cut streams of a round, three of them by a SIGKILL."""
FAULTS: tuple[Kind, ...] = ("none", "none", "refuse", "fail", "lose", "answer_for", "cut")
SCRIPTS = ("", "[[delay=0.2]]", "[[rate=200]] [[tokens=40]]")
"""Replies that end soon, so that most are there before their caller comes back."""
SHORTEST = 120
"""Tokens of the shortest reply that is cut."""
CUT_AT = (4_000, SHORTEST * 160)
"""Bytes of a stream up to which it is shown: some after its first event, and fewer than the
shortest one has (a token's event has 190)."""
PATIENT = {
    "OPERATOR_SWITCH_FIRST_BYTE_TIMEOUT": "120",
    "OPERATOR_SWITCH_IDLE_TIMEOUT": "120",
    "OPERATOR_DISCONNECT_GRACE": "120",
}
"""The stand-in shares this process with all callers, and is slow where the machine is busy: replies
stand still then, and callers come back late."""
DELTA = "response.output_text.delta"
BROKEN = (openai.APIConnectionError, httpx.TransportError)
"""Errors of a stream that was cut: the SDK does not repeat it."""

pytestmark = pytest.mark.timeout(240 + CALLS + CUTS * 20)


class Intents:
    """Calls of the SDK, each for a message of its own, and what came of them."""

    def __init__(self, client: Any, chance: random.Random) -> None:
        self._client = client
        self._chance = chance
        self.messages: list[str] = []
        self.broken = 0

    async def run(self, count: int) -> None:
        """Make so many calls, some at once."""
        numbers = iter(range(count))

        async def caller() -> None:
            for number in numbers:
                await self._call(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(caller())

    async def _call(self, number: int) -> None:
        message = f"intent {number} {self._chance.choice(SCRIPTS)}".strip()
        self.messages.append(message)
        stream = self._chance.random() < 0.5
        kind = self._chance.choice((self._completion, self._response))
        try:
            text = await kind(message, stream)
        except BROKEN:
            assert stream, message  # what is whole is repeated until it is there
            self.broken += 1
        else:
            assert text.startswith(f"[stand-in] You said: {message}"), text
            assert "tokens" not in message or len(text.split()) == 40, text

    async def _completion(self, message: str, stream: bool) -> str:
        named = {"X-Operator-Session": f"s-{self._chance.randrange(20)}"}
        headers = named if self._chance.random() < 0.5 else {}
        asked = {"model": "operator", "messages": [{"role": "user", "content": message}]}
        create = self._client.chat.completions.create
        if not stream:
            return str((await create(**asked, extra_headers=headers)).choices[0].message.content)
        chunks = await create(**asked, extra_headers=headers, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    async def _response(self, message: str, stream: bool) -> str:
        create = self._client.responses.create
        if not stream:
            return str((await create(input=message)).output_text)
        events = await create(input=message, stream=True)
        return "".join([event.delta async for event in events if event.type == DELTA])


@asynccontextmanager
async def sdk(url: str, **options: Any) -> AsyncIterator[Any]:
    """OpenAI's client, untyped, since its types want its own dicts."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=TOKEN, **options) as client:
        yield client


def chooser(pods: list[Pod], chance: random.Random) -> Callable[[web.Request], Fault]:
    """Chooses a fault, at any process, for each attempt but the last that the SDK makes."""

    def choose(request: web.Request) -> Fault:
        last = request.headers["x-stainless-retry-count"] == "2"
        return Fault(
            "none" if last else chance.choice(FAULTS),
            target=chance.choice(pods).url,
            delay=chance.choice((0.0, 0.0, 0.3)) * chance.random(),
            after=0.3 * chance.random(),
            status=chance.choice((500, 502, 503, 504)),
            size=int(3000 * chance.random()),
        )

    return choose


async def stored_messages(pod: Pod) -> Counter[str]:
    """The messages of users in all sessions."""
    found: Counter[str] = Counter()
    async with aiohttp.ClientSession(pod.url, headers={"X-VX11-Token": TOKEN}) as http:

        async def get(path: str, **query: str) -> Any:
            async with http.get(path, params=query, raise_for_status=True) as answer:
                return await answer.json()

        page = await get("/operator/sessions", limit="100")
        while True:
            for session in page["sessions"]:
                history = await get(f"/operator/session/{session['session_id']}", limit="1000")
                found.update(m["content"] for m in history["messages"] if m["role"] == "user")
            if page["next_cursor"] is None:
                return found
            page = await get("/operator/sessions", limit="100", cursor=page["next_cursor"])


async def test_one_intent_is_one_message_and_one_call_to_the_engine(database_url: str) -> None:
    engine = database_url.partition(":")[0]
    chance = random.Random(SEED)  # noqa: S311 - it chooses faults
    print(f"\nseed {SEED}")  # noqa: T201 - to repeat a run
    async with AsyncExitStack() as stack:
        peers = await stack.enter_async_context(await devpeers.start(TOKEN))
        pods = [
            Pod(environment(database_url, peers, **PATIENT))
            for _ in range(1 + (engine != "sqlite"))
        ]
        for pod in pods:
            await pod.start()
            stack.push_async_callback(pod.end)
        proxy = await stack.enter_async_context(FaultyProxy(chooser(pods, chance)))
        client = await stack.enter_async_context(sdk(proxy.url))
        intents = Intents(client, chance)
        await intents.run(CALLS)
        asked = {message: counts.calls for message, counts in peers.switch.by_message.items()}
        stored = await stored_messages(pods[0])
    counted = {
        "seed": SEED,
        "engine": engine,
        "intents": len(intents.messages),
        "calls to the engine": sum(asked.values()),
        "stored messages of users": stored.total(),
        "streams that broke": intents.broken,
        "requests by fault": dict(proxy.counts),
    }
    print(counted)  # noqa: T201 - the result of a run
    if "SDK_CALLS" in os.environ:
        append("sdks", counted)
    once = dict.fromkeys(intents.messages, 1)
    assert asked == once
    assert stored == once


class CutStream:
    """A response that is streamed until its connection is cut, and then on another process."""

    def __init__(self, number: int, chance: random.Random) -> None:
        long = "no-space-" * chance.randrange(12)
        tokens = chance.randrange(SHORTEST, 2 * SHORTEST)
        self.message = f"cut {number} é🎉 {long} [[rate=80]] [[tokens={tokens}]]"
        self.background = chance.random() < 0.7
        self._after = -1
        self.text = ""
        self.broken = False
        self.identity = ""
        self.ended = ""

    async def begin(self, client: Any) -> None:
        """Ask, and read until the connection breaks; some end before it does."""
        try:
            await self._read(
                await client.responses.create(
                    input=self.message, stream=True, background=self.background
                )
            )
        except BROKEN:
            self.broken = True

    async def resume(self, client: Any) -> None:
        """Read the rest, up to the last event, where there is one."""
        if self.ended:
            return
        assert self.identity, "it was cut before its first event"
        await self._read(
            await client.responses.retrieve(
                self.identity, stream=True, starting_after=max(self._after, 0)
            )
        )

    async def _read(self, events: Any) -> None:
        async for event in events:
            assert event.sequence_number > self._after
            self._after = event.sequence_number
            if event.type == "response.created":
                self.identity = event.response.id
            elif event.type == DELTA:
                self.text += event.delta
            elif event.type in ("response.completed", "response.failed", "response.incomplete"):
                self.ended = event.response.status

    async def check(self, cluster: Cluster, pod: Pod) -> None:
        """Hold the text that was shown to the history."""
        reply_id = self.identity.removeprefix("resp_")
        async with cluster.http.get(f"{pod.url}/operator/reply/{reply_id}") as answer:
            session_id = (await answer.json())["session_id"]
        async with cluster.http.get(f"{pod.url}/operator/session/{session_id}") as answer:
            messages = (await answer.json())["messages"]
        (reply,) = [message for message in messages if message["id"] == int(reply_id)]
        assert self.ended, self.message
        assert self.text == reply["content"], (self.message, reply["status"])


async def one_round(
    cluster: Cluster, pods: list[Pod], streams: list[CutStream], chance: random.Random
) -> int:
    """Cut so many streams of the first pod, the last three by its death; the number of these."""
    victim, other = pods
    kills = -(-len(streams) * 3 // ROUND)
    cuts, killed = streams[:-kills], streams[-kills:]

    def choose(request: web.Request) -> Fault:
        return Fault("cut", victim.url, size=chance.randrange(*CUT_AT))

    async with (
        FaultyProxy(choose) as proxy,
        sdk(proxy.url, max_retries=0) as cut,
        sdk(victim.url, max_retries=0) as direct,
        sdk(other.url) as elsewhere,
    ):
        await asyncio.gather(*(stream.begin(cut) for stream in cuts))
        await asyncio.gather(*(stream.resume(elsewhere) for stream in cuts))
        reading = [asyncio.create_task(stream.begin(direct)) for stream in killed]
        await eventually(lambda: all(stream.text for stream in killed))
        await asyncio.sleep(0.6 * chance.random())  # anywhere between two ticks and further
        await victim.end(signal.SIGKILL)
        await asyncio.gather(*reading)
        await asyncio.gather(*(stream.resume(elsewhere) for stream in killed))
        await asyncio.gather(*(stream.check(cluster, other) for stream in streams))
    await victim.start()
    assert all(stream.broken for stream in killed)
    return kills


async def test_streams_that_are_cut_go_on_at_another_process_without_a_loss(
    empty_cluster: Cluster,
) -> None:
    chance = random.Random(SEED)  # noqa: S311 - it chooses faults
    print(f"\nseed {SEED}")  # noqa: T201 - to repeat a run
    pods = [await empty_cluster.add(), await empty_cluster.add()]
    endings, kills = Counter[str](), 0
    for begin in range(0, CUTS, ROUND):
        streams = [CutStream(n, chance) for n in range(begin, min(begin + ROUND, CUTS))]
        kills += await one_round(empty_cluster, pods, streams, chance)
        endings.update(stream.ended for stream in streams)
        pods.reverse()
    counted = {"seed": SEED, "cuts": CUTS, "by_sigkill": kills, "ended": dict(endings)}
    print(counted)  # noqa: T201 - the result of a run
    if "SDK_CUTS" in os.environ:
        append("sdks", counted)
