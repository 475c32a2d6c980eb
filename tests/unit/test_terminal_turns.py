"""Turns of the terminal that Ctrl-C interrupts before they are asked."""

from __future__ import annotations

from typing import Any

import pytest
import rich.console

from operator_client import Reply
from operator_svc.commands.terminal.link import Background, ServiceLink
from operator_svc.commands.terminal.target import Token
from operator_svc.commands.terminal.turns import Turns


def test_ctrl_c_while_a_view_is_prepared_leaves_no_question_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Reply] = []

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    class Link(ServiceLink):
        @property
        def conversation(self) -> Any:
            return self

        def ask(self, _: str) -> Any:
            asked.append(Reply(1))

    monkeypatch.setattr(rich.console, "Console", interrupted)
    with Background() as background:
        turns = Turns(Link(background, "http://127.0.0.1:1", Token("t", "here")), plain=False)
        with pytest.raises(KeyboardInterrupt):
            turns.ask("hello")
    assert not asked
