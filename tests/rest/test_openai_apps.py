"""Calls for chat completions as Open WebUI and LibreChat send them.

Sources: ``routers/openai.py``, ``routers/tasks.py``, ``utils/headers.py`` and ``config.py`` of Open
WebUI 0.11; ``packages/api/src/endpoints/openai``, ``utils/env.ts`` and
``controllers/agents/client.js`` of LibreChat 0.8.
"""

from __future__ import annotations

from typing import Any

from tests.rest.conftest import Start
from tests.rest.openai_calls import chunks, completion, says, sent, stored
from tests.rest.response_calls import message, streamed
from tests.rest.rest_service import Service

CHAT = "5ff0c9a2-7d0b-4b7e-9a4e-0c8c3f6b1d11"
OF_WEBUI = {
    "X-OpenWebUI-User-Name": "Ana%20M%C3%BCller",
    "X-OpenWebUI-User-Id": "3f0d8c1e-ana",
    "X-OpenWebUI-User-Email": "ana@example.org",
    "X-OpenWebUI-User-Role": "user",
    "X-OpenWebUI-Chat-Id": CHAT,
}
TASKS = [
    "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.",
    "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history.",
    "### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might ask next.",
    "### Task:\nAnalyze the chat history to determine the necessity of generating search queries.",
    "### Task:\nYou are an autocompletion system. Continue the text in `<text>`.",
]
"""The beginnings of the prompts with which Open WebUI asks about a chat."""
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def chunk_text(seen: list[Any]) -> str:
    choices = [chunk["choices"][0] for chunk in seen[:-1] if chunk["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def sessions(service: Service) -> list[str]:
    listed = await (await service.get("/operator/sessions")).json()
    return [session["session_id"] for session in listed["sessions"]]


async def test_open_webui_lists_models_and_streams_a_chat_into_its_session(start: Start) -> None:
    service = await start(switch_dialect="openai")
    bearer = {"Authorization": "Bearer token-of-the-tests", **OF_WEBUI}
    models = await (await service.get("/v1/models", token=None, headers=bearer)).json()
    assert {"id", "object", "created", "owned_by"} <= models["data"][0].keys()
    asked = says("hello")
    for question in ("hello", "and now?"):
        if question != "hello":
            asked = [*asked, {"role": "assistant", "content": "hi"}, *says(question)]
        seen = await chunks(
            service,
            model="operator",
            messages=asked,
            stream_options={"include_usage": True},
            temperature=0.7,
            headers=OF_WEBUI,
        )
        assert chunk_text(seen) == f"[stand-in] You said: {question}"
        assert seen[-2]["usage"]["total_tokens"] > 0
    assert sent(service)["messages"] == asked
    kept = [m["content"] for m in await stored(service, CHAT) if m["role"] == "user"]
    assert kept == ["hello", "and now?"]
    session = await (await service.get(f"/operator/session/{CHAT}")).json()
    assert session["user_id"] == OF_WEBUI["X-OpenWebUI-User-Id"]


async def test_tasks_of_open_webui_are_answered_and_are_no_part_of_the_chat(
    service: Service,
) -> None:
    await chunks(service, messages=says("hello"), headers=OF_WEBUI)
    before = await stored(service, CHAT)
    for prompt in TASKS:
        body = {"messages": says(prompt), "stream": False, "max_completion_tokens": 1000}
        answer = await completion(service, body, headers=OF_WEBUI)
        assert answer.status == 200
        assert (await answer.json())["choices"][0]["message"]["content"].startswith("[stand-in]")
    assert await stored(service, CHAT) == before
    assert await sessions(service) == [CHAT]


async def test_a_chat_that_begins_as_a_task_does_is_kept(service: Service) -> None:
    """A stream, a second message and a session of one's own are no task of Open WebUI's."""
    ours = {"X-Operator-Session": "s-own"}
    task = says("### Task:\nMake a plan.")
    assert (await completion(service, {"messages": task}, headers=ours)).status == 200
    await chunks(service, messages=task, headers=OF_WEBUI)
    more = [{"role": "system", "content": "be brief"}, *task]
    assert (await completion(service, {"messages": more}, headers=OF_WEBUI)).status == 200
    assert len(await stored(service, "s-own")) == 2
    assert len(await stored(service, CHAT)) == 4


async def test_temporary_chats_of_open_webui_have_a_session_too(service: Service) -> None:
    headers = {**OF_WEBUI, "X-OpenWebUI-Chat-Id": "local:Zk3_x-9QyTt0AAAB"}
    assert (await completion(service, {}, headers=headers)).status == 200
    assert len(await stored(service, "local:Zk3_x-9QyTt0AAAB")) == 2


async def test_open_webui_streams_responses_with_what_it_has_of_earlier_ones(start: Start) -> None:
    """Its connections may be of the type Responses: it makes items of its own messages then."""
    service = await start(switch_dialect="openai")
    call = {"type": "function_call", "call_id": "call_1", "id": "fc_1", "name": "look"}
    events = await streamed(
        service,
        [
            message("user", [{"type": "input_text", "text": "look"}]),
            {"type": "reasoning", "id": "rs_1", "summary": []},
            message("assistant", [{"type": "output_text", "text": "I look."}]),
            {**call, "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1",
             "output": [{"type": "input_text", "text": "a cat"}]},
            message("assistant", [{"type": "output_text", "text": "A cat."}]),
            message("user", [{"type": "input_text", "text": "and?"}]),
        ],
        model="operator",
        instructions="Be kind.",
        reasoning={"summary": "auto"},
        tools=[{"type": "function", "name": "look", "parameters": {"type": "object"}}],
    )  # fmt: skip
    assert events[-1]["response"]["status"] == "completed"
    messages = sent(service)["messages"]
    assert [m["role"] for m in messages] == [
        "system", "user", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip
    assert messages[3]["content"] == "a cat"


async def test_librechat_streams_a_conversation_and_asks_its_title_apart(start: Start) -> None:
    service = await start(switch_dialect="openai")
    headers = {
        "X-Operator-Session": "c0ffee00-1111-4222-8333-444455556666",
        "X-Operator-User": "68f0c0ffee",
        "x-stainless-retry-count": "0",
        "x-stainless-lang": "js",
    }
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "what is this?"}, PICTURE]},
    ]
    fields = {"user": "68f0c0ffee", "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
    seen = await chunks(
        service,
        model="operator",
        messages=messages,
        stream_options={"include_usage": True},
        headers=headers,
        **fields,
    )
    assert chunk_text(seen).startswith("[stand-in] You said: what is this?")
    assert {name: sent(service)[name] for name in fields} == fields
    title = {
        "model": "operator",
        "store": False,
        "user": "68f0c0ffee",
        "messages": says("Provide a concise, 5-word-or-less title for the conversation."),
    }
    answer = await completion(service, title)
    assert answer.status == 200
    assert (await answer.json())["choices"][0]["finish_reason"] == "stop"
    (named,) = await sessions(service)
    assert named == headers["X-Operator-Session"]
    session = await (await service.get(f"/operator/session/{named}")).json()
    assert (session["user_id"], len(session["messages"])) == ("68f0c0ffee", 2)


async def test_headers_of_a_template_that_are_empty_name_nothing(service: Service) -> None:
    names = ("X-Operator-Session", "X-Operator-User", "X-OpenWebUI-Chat-Id", "X-OpenWebUI-User-Id")
    assert (await completion(service, {}, headers=dict.fromkeys(names, ""))).status == 200
    assert len(await sessions(service)) == 1
    wrong = await completion(service, {}, headers={"X-Operator-User": "u" * 129})
    assert (wrong.status, (await wrong.json())["error"]["param"]) == (400, "X-Operator-User")
