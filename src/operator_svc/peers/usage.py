"""Counts of tokens, by the names that upstreams have for them."""

from __future__ import annotations

from collections.abc import Iterable

from operator_svc.models import Json
from operator_svc.peers.chat_types import count_or_none

NAMES = {
    "prompt_tokens": ("prompt_tokens", "input_tokens"),
    "completion_tokens": ("completion_tokens", "output_tokens"),
    "total_tokens": ("total_tokens",),
}
"""Counts that are kept, each with its names."""
DETAILS = {
    "cached_tokens": (
        ("prompt_tokens_details", "input_tokens_details"),
        ("cached_tokens", "prompt_cache_hit_tokens"),
    ),
    "reasoning_tokens": (
        ("completion_tokens_details", "output_tokens_details"),
        ("reasoning_tokens",),
    ),
}
"""Parts of those counts, each with the objects that have it, and with its names beside them."""


def token_counts(usage: dict[str, Json]) -> dict[str, int]:
    """The counts of ``usage`` by their names in OpenAI's protocol."""
    counts: dict[str, int] = {}
    for name, names in NAMES.items():
        _keep(counts, name, (usage.get(n) for n in names))
    for name, (objects, names) in DETAILS.items():
        details = (usage.get(n) for n in objects)
        nested = [found.get(name) for found in details if isinstance(found, dict)]
        _keep(counts, name, (*nested, *(usage.get(n) for n in names)))
    return counts


def _keep(counts: dict[str, int], name: str, values: Iterable[Json]) -> None:
    """Keep the first of ``values`` that is a count."""
    found = (count_or_none(value) for value in values)
    if (count := next((c for c in found if c is not None), None)) is not None:
        counts[name] = count


def total_of(counts: dict[str, int]) -> int | None:
    """The tokens of the prompt and the reply; None where neither was counted."""
    total = counts.get("total_tokens")
    parts = [counts[name] for name in ("prompt_tokens", "completion_tokens") if name in counts]
    return sum(parts) if total is None and parts else total
