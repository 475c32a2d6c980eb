"""The words of a text, as search compares them; pure, and so the same on both engines.

Text is brought to NFKC, folded in case and freed of marks, and split at all that is no letter or
digit. Han, Kana, Thai and others are written without spaces (Unicode's line breaking classes ID, CJ
and SA), Hangul with endings on the words: of a run of them each pair of neighbours is a word, and
its last letter is one by itself, so that a single letter can be found as the beginning of a pair.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

import msgspec

MAX_WORD = 64
"""Characters of a word that are compared; longer ones are seldom words."""
MAX_BYTES = 512 * 1024
"""Bytes of a text's different words that are kept: a tsvector of PostgreSQL has room for 1 MiB."""

_ASCII_WORD = re.compile(r"[0-9a-z]+")
_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(
    "(?:["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf"  # Tai Le, New Tai Lue, Tai Tham, Tai Viet
    "\u1100-\u11ff\u3131-\u318e\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u3041-\u30ff\u31f0-\u31ff"  # Kana
    "\u3105-\u312f\u31a0-\u31bf\ua000-\ua48f"  # Bopomofo, Yi
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b"  # Han: radicals, signs, numerals
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    # Kana and Han above U+FFFF, apart: the engine of re looks a class up at once only where
    # all of it is below.
    "]|[\U0001aff0-\U0001b16f\U00020000-\U0003ffff])+"
)
_MARKS_END = 0x1F000
"""Above it are no marks but the variation selectors of plane 14."""
_VOICED = "\u3099\u309a"
"""The sounding marks of Kana: they make another letter, as が of か, and are no accents."""


class SearchQuery(msgspec.Struct, frozen=True):
    """Conditions on a text: all ``words``, and for each of ``prefixes`` a word that begins so."""

    words: tuple[str, ...]
    prefixes: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.words or self.prefixes)


def words_of(text: str) -> str:
    """The different words of ``text``, with a space between each two."""
    found: dict[str, None] = {}
    for word, unspaced in _split(text):
        if unspaced:
            found.update((word[i : i + 2], None) for i in range(len(word)))
        else:
            found[word[:MAX_WORD]] = None
    words = " ".join(found)
    if len(words) * 4 <= MAX_BYTES or len(data := words.encode()) <= MAX_BYTES:
        return words
    return data[: MAX_BYTES + 1].rpartition(b" ")[0].decode()


def search_query(text: str) -> SearchQuery:
    """The search that ``text`` asks for: its last word may be the beginning of a longer one."""
    words: dict[str, None] = {}
    prefixes: dict[str, None] = {}
    split = _split(text)
    for n, (word, unspaced) in enumerate(split, start=1):
        if unspaced and len(word) > 1:
            words.update((word[i : i + 2], None) for i in range(len(word) - 1))
        elif unspaced or n == len(split):
            prefixes[word[:MAX_WORD]] = None
        else:
            words[word[:MAX_WORD]] = None
    return SearchQuery(tuple(words), tuple(p for p in prefixes if p not in words))


def _split(text: str) -> list[tuple[str, bool]]:
    """The words in their order; True where one is a run that has no spaces within."""
    folded = text.lower() if text.isascii() else _folded(text)
    if folded.isascii():
        return [(word, False) for word in _ASCII_WORD.findall(folded)]
    split: list[tuple[str, bool]] = []
    for word in _WORD.findall(folded):
        if word.isascii():
            split.append((word, False))
            continue
        at = 0
        for run in _UNSPACED.finditer(word):
            if at < run.start():
                split.append((word[at : run.start()], False))
            split.append((run[0], True))
            at = run.end()
        if at < len(word):
            split.append((word[at:], False))
    return split


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = unicodedata.normalize("NFKD", folded)
    low, high = _marks()
    bare = low.sub("", bare)
    if max(bare, default="") > "\uffff":
        bare = high.sub("", bare)
    composed = unicodedata.normalize("NFC", bare)
    for mark in _VOICED:  # on a letter that has no such form
        composed = composed.replace(mark, "")
    return composed


@cache
def _marks() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Runs of marks: Unicode's general category M, without Kana's; up to U+FFFF, and above."""
    low = _class_of(range(0x300, 0x10000))
    high = _class_of((*range(0x10000, _MARKS_END), *range(0xE0100, 0xE01F0)))
    return re.compile(low), re.compile(high)


def _class_of(codes: Iterable[int]) -> str:
    """The marks among ``codes``, as a class of a regular expression."""
    ranges: list[list[int]] = []
    for code in codes:
        if unicodedata.category(chr(code))[0] != "M" or chr(code) in _VOICED:
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in ranges) + "]"
