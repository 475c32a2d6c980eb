"""Counts of tokens, by the names that upstreams have for them."""

from __future__ import annotations

from operator_svc.models import Json
from operator_svc.peers.chat_types import count_or_none

NAMES = {
    "prompt_tokens": ("prompt_tokens", "input_tokens"),
    "completion_tokens": ("completion_tokens", "output_tokens"),
    "total_tokens": ("total_tokens",),
}
"""Counts that are kept, each with its names."""


def token_counts(usage: dict[str, Json]) -> dict[str, int]:
    """The counts of ``usage`` by their names in OpenAI's protocol."""
    counts: dict[str, int] = {}
    for name, names in NAMES.items():
        found = (count_or_none(usage.get(n)) for n in names)
        if (count := next((c for c in found if c is not None), None)) is not None:
            counts[name] = count
    return counts
