"""The fenced blocks of the how-tos."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

HOWTOS = Path(__file__).parents[2] / "docs" / "howto"


def blocks(page: str, language: str) -> list[str]:
    """All blocks of a page in one language, in their order."""
    text = (HOWTOS / page).read_text()
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(body) for _, body in found]
