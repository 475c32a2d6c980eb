"""The file of tokens: what is read, what is refused, and that nothing shows a secret."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import msgspec
import pytest

from operator_svc.errors import ConfigurationError
from operator_svc.models import Caller
from operator_svc.services.auth import ANONYMOUS, Tokens, problems
from operator_svc.services.token_file import MAX_TOKENS
from operator_svc.settings import Settings, load


def settings(folder: Path, *lines: str) -> Settings:
    """Settings with a file of these lines."""
    path = folder / "tokens"
    path.write_text("\n".join(lines))
    return Settings(token="the-main-token", tokens_file=str(path))


def test_each_token_finds_its_caller(tmp_path: Path) -> None:
    tokens = Tokens(
        settings(
            tmp_path,
            '{"name": "ana", "token": "a-token", "user_id": "Ana"}',
            "",
            '{"name": "ops", "token": "o-token", "role": "operator"}',
        )
    )
    assert len(tokens) == 3
    assert tokens.required
    assert tokens.find("the-main-token") == Caller("default", "operator", None)
    assert tokens.find("a-token") == Caller("ana", "client", "Ana")
    assert tokens.find("o-token") == Caller("ops", "operator", None)
    for wrong in ("", "a-toke", "a-token ", "A-token", "\udc80", "ü"):
        assert tokens.find(wrong) is None


def test_settings_without_a_file_have_the_one_token() -> None:
    tokens = Tokens(Settings(token="only"))
    assert tokens.find("only") == Caller("default", "operator")
    assert tokens.find("other") is None


def test_a_file_alone_is_enough_and_a_start_with_an_empty_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    alone, _ = load(Settings, {"OPERATOR_TOKENS_FILE": str(path)})
    path.write_text('{"name": "ana", "token": "a-token"}')
    tokens = Tokens(alone)
    assert tokens.find("a-token") == Caller("ana", "client")
    assert tokens.find("") is None
    path.write_text("\n")
    assert problems(alone) == [f"OPERATOR_TOKENS_FILE: {path} has no token, nor is another set"]
    with pytest.raises(ConfigurationError, match="has no token"):
        Tokens(alone)
    assert tokens.reload()  # all tokens of a running service may be taken away
    assert tokens.find("a-token") is None
    for more in ({"token": "t"}, {"auth": "off"}, {"jwks_url": "https://login.example/keys"}):
        assert problems(msgspec.structs.replace(alone, **more)) == []


def test_any_token_with_auth_off_is_anonymous() -> None:
    tokens = Tokens(Settings(auth="off"))
    assert not tokens.required
    assert tokens.find("") is tokens.find("whatever") is ANONYMOUS


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "it is not JSON"),
        ("\udcff", "it is not JSON"),
        ("[]", "must be a JSON object with the fields name, token,"),
        ('{"name": "x", "token": 7}', "token must be text"),
        ('{"name": "x", "token": "t", "role": "first-token"}', "role must be client or operator"),
        ('{"name": "x", "token": "t", "first-token": 1}', "a field that is none of name"),
        ("{}", "the field name is missing"),
        ('{"name": "x"}', "the field token is missing"),
        ('{"name": "x y", "token": "t"}', "name must be 1 to 64 letters, digits, dots"),
        ('{"name": "x\\n", "token": "t"}', "name must be 1 to 64 letters, digits, dots"),
        ('{"name": "x", "token": ""}', "token must be text of 1 to 4,096 characters"),
        ('{"name": "x", "token": "two words"}', "ASCII without spaces"),
        ('{"name": "x", "token": "tökn"}', "ASCII without spaces"),
        ('{"name": "x", "token": "t\\u0007"}', "ASCII without spaces"),
        ('{"name": "x", "token": "t", "role": "root"}', "role must be client or operator"),
        (
            '{"name": "x", "token": "t", "user_id": ""}',
            "user_id must be text of 1 to 128",
        ),
        ('{"name": "x", "token": "t", "user_id": "a\\u0000"}', "U+0000"),
        (
            '{"name": "x", "token": "t", "user": "typo"}',
            "a field that is none of name, token",
        ),
        ('{"name": "default", "token": "t"}', "the name default stands twice"),
        ('{"name": "first", "token": "t"}', "the name first stands twice"),
        ('{"name": "x", "token": "first-token"}', "x has the same token as first"),
        ('{"name": "x", "token": "the-main-token"}', "x has the same token as default"),
    ],
)
def test_a_faulty_line_is_named_and_not_quoted(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "tokens"
    first = '{"name": "first", "token": "first-token"}\n'
    path.write_bytes((first + line).encode("utf-8", "surrogateescape"))
    configured = Settings(token="the-main-token", tokens_file=str(path))
    (found,) = problems(configured)
    assert found.startswith(f"OPERATOR_TOKENS_FILE: {path}, line 2: ")
    assert fault in found
    assert "first-token" not in found
    assert "main-token" not in found
    with pytest.raises(ConfigurationError) as caught:
        Tokens(configured)
    assert caught.value.problems == [found]


def test_every_faulty_line_is_named(tmp_path: Path) -> None:
    assert len(problems(settings(tmp_path, "{", "[]", '{"name": "x", "token": "t"}'))) == 2


def test_a_missing_file_or_too_many_tokens_are_refused(tmp_path: Path) -> None:
    (fault,) = problems(Settings(token="t", tokens_file=str(tmp_path / "none")))
    assert fault == f"OPERATOR_TOKENS_FILE: {tmp_path / 'none'} cannot be read: " + (
        "No such file or directory"
    )
    many = [json.dumps({"name": f"n{i}", "token": f"t{i}"}) for i in range(MAX_TOKENS)]
    assert problems(settings(tmp_path, *many)) == [
        f"OPERATOR_TOKENS_FILE: more than {MAX_TOKENS} tokens"
    ]
    assert problems(settings(tmp_path, *many[1:])) == []


def test_nothing_that_is_kept_is_a_secret(tmp_path: Path) -> None:
    tokens = Tokens(settings(tmp_path, '{"name": "ana", "token": "a-secret"}'))
    kept = repr(tokens._known)
    assert "a-secret" not in kept
    assert "the-main-token" not in kept


def calls_of(work: Callable[[], object]) -> int:
    """The functions that are called while ``work`` is done, those in C too."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_a_token_takes_no_more_steps_where_there_are_many_others(tmp_path: Path) -> None:
    """Neither to be found, nor to be read from the file."""
    found, read = [], []
    for others in (90, 900):
        lines = [json.dumps({"name": f"n{n}", "token": f"t{n}"}) for n in range(others)]
        configured = settings(tmp_path, *lines)
        known = Tokens(configured)
        found.append([calls_of(partial(known.find, token)) for token in ("t0", "t89", "none")])
        read.append(calls_of(partial(problems, configured)))
    assert found[0] == found[1]
    assert read[1] < read[0] * 10.5
