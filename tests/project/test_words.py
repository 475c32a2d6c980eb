"""Names are the field's own words, and docstrings say at once what a thing is or does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "clients/python", "tests", "bench", "tools")

CLASSES = {
    "Outbox": "SendQueue",
    "Sockets": "ClientRegistry",
    "Live": "SessionHub",
    "LiveReply": "ReplyStream",
    "Watching": "Subscriptions",
    "Following": "ReplyFollower",
    "Replies": "ReplyWriter",
    "Running": "RunningReply",
    "Ownership": "Lease",
    "Told": "SourceResult",
    "Cached": "TtlCache",
    "Fresh": "CacheHit",
    "SwitchTuning": "Adjustments",
    "Leftovers": "TaskReclaimer",
    "Wheel": "Pacer",
    "Paced": "PacedStream",
    "Lane": "PageProxy",
    "Relay": "ProxyConnection",
    "Road": "ProxyContext",
    "Gate": "EgressPolicy, RequestPipeline",
    "Guard": "NavigationGuard",
    "Keeper": "ChromiumSupervisor",
    "Slots": "AdmissionQueue",
    "Notebook": "IdMap",
    "SessionNote": "MappedSession",
    "OldDatabase": "LegacyDatabase",
    "OldFile": "LegacyFile",
    "Raw": "SqliteConnection",
    "UnusableFrameError": "InvalidFrameError",
}
"""Retired names of classes, and the names that took their place."""

METHODS = {
    "told": ("services/system", "call_source"),
    "without": ("peers", "mask"),
    "waiters": ("services/live", "listeners"),
    "heard": ("services/live", "on_notification"),
    "offer": ("services/live", "publish"),
    "announce": ("services/live", "notify_pods"),
    "_look_why": ("services/live", "diagnose_gap"),
    "look": ("services/live", "poll_closed"),
    "beat": ("services/live", "heartbeat"),
    "gone": ("services/live", "session_deleted"),
    "overflow": ("services/live", "disconnect_slow"),
    "look_around": ("services/chat", "apply_remote_changes"),
    "lose": ("services/chat", "abandon_all"),
    "leave": ("services/chat", "cancel_upstream"),
    "_others_acted": ("services/chat", "_remote_change"),
    "free": ("stores", "release_orphaned"),
    "at_work": ("stores", "in_progress"),
    "open_old": ("adopt", "open_legacy"),
    "old": ("adopt", "legacy"),
    "left": ("peers/breaker", "abandoned"),
    "alive": ("peers/breaker", "first_byte"),
    "hurry": ("", "force_exit"),
    "_spare_the_collector": ("", "_tune_interpreter"),
}
"""Retired names of functions and attributes, with their place and the name to use there."""

MODULES = {
    "keys": "context",
    "ownership": "lease",
    "tokens": "auth",
    "places": "access",
    "limits": "rate_limit",
    "cached": "ttl_cache",
    "live": "hub",
    "feeds": "feed",
    "watching": "subscriptions",
    "outbox": "send_queue",
    "sockets": "clients",
    "conversations": "chats",
    "following": "reply_follower",
    "browser_runs": "runner",
    "browser_leftovers": "reclaimer",
    "browser_facts": "outcomes",
    "switch_tuning": "adjustments",
    "switch_steps": "config_changes",
    "engines": "engine_ranking",
    "dashboard": "shub_dashboard",
    "resources": "model_catalog",
    "sources": "source_calls",
    "notebook": "id_map",
    "old_rows": "legacy_rows",
    "needs": "schema_rules",
    "reading": "frame_decoder",
    "said": "peer_errors",
    "parts": "chat_types",
    "wheel": "pacer",
    "heads": "http_heads",
    "steps": "visit_steps",
    "facts": "event_data",
    "calls": "request_context",
    "parsing": "requests",
    "answers": "responses",
}
"""Retired names of the service's modules."""

PROSE = {
    r"neighbours?": "peer",
    r"old (?:VX11|database|backend)": "legacy",
}
"""Retired words of pages and docstrings, as patterns, and the words to use."""

PROSE_KEPT = {"src/operator_svc/protocol/search_words.py"}  # neighbours in a text
"""Exact exceptions of ``PROSE``."""

KEPT = {
    ("src/operator_svc/services/chat/replies.py", "Replies"),  # what clients ask of replies
    ("tests/fakes/relay.py", "Relay"),  # it relays bytes, which is what the word means
}
"""Exact exceptions: the file and the name."""

OPENINGS = re.compile(r"(What|Who|Whether|How|Where|That)\b")


class Found(NamedTuple):
    """A place of a source file."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


def _modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """The source files of the project below ``root``, parsed."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            yield str(path.relative_to(root)), ast.parse(path.read_text(encoding="utf-8"))


def _definitions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The names that a module gives to functions and attributes, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def retired_names(root: Path) -> Iterator[Found]:
    """The definitions that use a retired name."""
    for file, tree in _modules(root):
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef) or (file, node.name) in KEPT:
                continue
            if word := CLASSES.get(node.name.lstrip("_")):
                yield Found(file, node.lineno, f"class {node.name}: say {word}")
        if not file.startswith("src/"):
            continue
        if (stem := Path(file).stem) in MODULES:
            yield Found(file, 1, f"module {stem}: say {MODULES[stem]}")
        for name, line in _definitions(tree):
            package, word = METHODS.get(name, ("none", ""))
            if file.startswith(f"src/operator_svc/{package}") and (file, name) not in KEPT:
                yield Found(file, line, f"{name}: say {word}")


def riddles(root: Path) -> Iterator[Found]:
    """The docstrings that open with a question's word."""
    for file, tree in _modules(root):
        for node in ast.walk(tree):
            for text in _docstrings(node):
                if OPENINGS.match(text):
                    yield Found(file, getattr(node, "lineno", 1), text.splitlines()[0])


def doubled_names(root: Path) -> Iterator[str]:
    """The public classes of the service whose names stand twice, with their files."""
    places: dict[str, list[str]] = {}
    for file, tree in _modules(root):
        for node in ast.walk(tree) if file.startswith("src/") else ():
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(file)
    for name, files in sorted(places.items()):
        if len(files) > 1:
            yield f"{name}: {', '.join(files)}"


def retired_prose(root: Path) -> Iterator[Found]:
    """The places of code, queries and pages that use a retired word."""
    paths = [root / "README.md", *(root / "docs").rglob("*.md")]
    paths += [*(root / "src").rglob("*.py"), *(root / "sql").rglob("*.sql")]
    for path in sorted(paths):
        file = str(path.relative_to(root))
        if file in PROSE_KEPT:
            continue
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for pattern, word in PROSE.items():
                if found := re.search(rf"\b{pattern}\b", text):
                    yield Found(file, line, f"{found[0]}: say {word}")


def _docstrings(node: ast.AST) -> Iterator[str]:
    """The docstring of ``node``, and those that stand behind its constants and fields."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        for statement in node.body:
            if (
                isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ):
                yield statement.value.value


def test_retired_words_are_in_no_name() -> None:
    assert [str(found) for found in retired_names(ROOT)] == []


def test_a_class_name_has_one_meaning() -> None:
    assert list(doubled_names(ROOT)) == []


def test_retired_words_are_in_no_page_and_no_comment() -> None:
    assert [str(found) for found in retired_prose(ROOT)] == []


def test_named_page_exists() -> None:
    there = {path.name for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]}
    for path in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
        named = set(re.findall(r"\(([a-z_-]+\.md)", path.read_text(encoding="utf-8")))
        assert named <= there, path


def test_docstrings_open_with_a_verb_or_a_noun_phrase() -> None:
    assert [str(found) for found in riddles(ROOT)] == []


def test_a_retired_word_and_a_riddle_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "src" / "operator_svc" / "services" / "live"
    folder.mkdir(parents=True)
    (folder / "outbox.py").write_text(
        'class Outbox:\n    """What waits."""\n    def look(self):\n        self.heard = 1\n'
    )
    assert [str(found).partition(": ")[2] for found in retired_names(tmp_path)] == [
        "class Outbox: say SendQueue",
        "module outbox: say send_queue",
        "look: say poll_closed",
        "heard: say on_notification",
    ]
    assert [found.what for found in riddles(tmp_path)] == ["What waits."]
    (folder / "queue.py").write_text("class Outbox:\n    pass\n")
    (double,) = doubled_names(tmp_path)
    assert double.startswith("Outbox: ")
