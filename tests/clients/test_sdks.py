"""SDKs of OpenAI's protocol, as they come from their registries, against a running Operator."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.clients.node_suite import run_suite
from tests.project.process import dev_operator, python_path

SDKS = Path(__file__).parent / "sdks"
TOKEN = "sdk-token"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "standin_tool", "description": "Looks.", "parameters": {}},
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running Operator on SQLite, whose upstream speaks OpenAI's dialect."""
    folder = tmp_path_factory.mktemp("operator")
    with dev_operator(folder, TOKEN, SWITCH_DIALECT="openai") as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    """OpenAI's client, untyped, since its types want its own dicts."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key=TOKEN) as opened:
        yield opened


def test_python_stream_helper_gives_the_text_and_its_usage(client: Any) -> None:
    ask = [{"role": "user", "content": "hello from Python"}]
    with client.chat.completions.stream(
        model="operator", messages=ask, stream_options={"include_usage": True}
    ) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    assert text == final.choices[0].message.content == "[stand-in] You said: hello from Python"
    assert final.usage.completion_tokens > 0


def test_python_response_is_left_and_resumed_by_its_helper(client: Any) -> None:
    asked = {"input": "count [[rate=100]] [[tokens=60]]", "background": True}
    seen, identity = 0, ""
    with client.responses.stream(model="operator", **asked) as stream:
        for event in stream:
            seen = event.sequence_number
            if event.type == "response.created":
                identity = event.response.id
            if event.type == "response.output_text.delta":
                break
    with client.responses.stream(response_id=identity, starting_after=seen) as resumed:
        final = resumed.get_final_response()
    assert final.status == "completed"
    assert final.output_text == client.responses.retrieve(identity).output_text
    assert final.output_text.startswith("[stand-in] You said: count")


def test_node_sdk_chats_streams_resumes_and_fails_as_its_own(url: str) -> None:
    report = run_suite(SDKS / "openai.test.js", url, TOKEN)
    assert "resumed after an event" in report


@pytest.mark.parametrize("responses", [False, True], ids=["completions", "responses"])
def test_langchain_invokes_streams_and_answers_a_tool(url: str, responses: bool) -> None:
    # Seconds, in each process that collects the tests.
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    model = ChatOpenAI(
        base_url=f"{url}/v1",
        api_key=SecretStr(TOKEN),
        model="operator",
        use_responses_api=responses,
    )
    whole = model.invoke("hello from LangChain")
    assert whole.text == "[stand-in] You said: hello from LangChain"
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 0
    assert "".join(piece.text for piece in model.stream("hello from LangChain")) == whole.text
    tools = model.bind_tools([TOOL])
    question = HumanMessage("look [[only_tool_call]]")
    called = tools.invoke([question])
    (call,) = called.tool_calls
    assert call["name"] == "standin_tool"
    result = ToolMessage("a cat", tool_call_id=call["id"])
    assert tools.invoke([question, called, result]).text == "[stand-in] You said: a cat"


def test_llm_calls_a_tool_and_answers_with_its_result(url: str, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"[{{model_id: operator, model_name: operator, api_base: {url}/v1, "
        "api_key_name: operator, supports_tools: true}]"
    )
    tool = "def standin_tool(id: str = '', query: str = ''):\n    return 'a cat'"
    run = subprocess.run(
        ["llm", "-m", "operator", "--key", TOKEN, "--functions", tool, "look [[only_tool_call]]"],
        env={"PATH": python_path(), "LLM_USER_PATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert "[stand-in] You said: a cat" in run.stdout
