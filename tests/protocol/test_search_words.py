"""The words that a search finds in a text, and the search that it asks for."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_svc.protocol import search_words
from operator_svc.protocol.search_words import SearchQuery, search_query, words_of

LETTERS = st.characters(codec="utf-8") | st.sampled_from("aÉéßがｶﾞ本語한국ทé_.- 1½")
TEXTS = st.text(LETTERS, max_size=40)


def matches(query: SearchQuery, words: str) -> bool:
    """The meaning of a query, spelled out."""
    have = words.split()
    return all(w in have for w in query.words) and all(
        any(w.startswith(p) for w in have) for p in query.prefixes
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("  -- __ !", ""),
        ("The THE the", "the"),
        ("foo_bar app_main.py", "foo bar app main py"),
        ("don't 3.14", "don t 3 14"),
        ("Café CAFE\u0301 naïve", "cafe naive"),
        ("Straße STRASSE ﬁne", "strasse fine"),
        ("ＡＢＣ１２３ ①", "abc123 1"),
        ("Ωμέγας ΩΜΈΓΑΣ", "ωμεγασ"),
        ("İstanbul", "istanbul"),
        ("日本語", "日本 本語 語"),
        ("本", "本"),
        ("東京へ行くiPhone15を", "東京 京へ へ行 行く く iphone15 を"),
        ("カメラ ｶﾒﾗ", "カメ メラ ラ"),
        ("がか ｶﾞ あ゙い", "がか か ガ あい い"),
        ("한국어 검색", "한국 국어 어 검색 색"),
        ("ค้นหา", "คน นห หา า"),
        ("ພາສາລາວ", "ພາ າສ ສາ າລ ລາ າວ ວ"),
        ("ខ្មែរ", "ខម មរ រ"),
        ("မြန်မာ", "မန နမ မ"),
        ("ㄅㄆㄇ ꆈꌠꁱ", "ㄅㄆ ㄆㄇ ㄇ ꆈꌠ ꌠꁱ ꁱ"),
        ("हिन्दी", "हनद"),
        ("😀 a😀b", "a b"),
        ("𝔘𝔫𝔦", "uni"),
        ("x" * 100, "x" * 64),
    ],
)
def test_words_of_a_text_are_those_that_are_searched_for(text: str, words: str) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("asked", "words", "prefixes"),
    [
        ("", (), ()),
        ("--", (), ()),
        ("one", (), ("one",)),
        ("One TWO thr", ("one", "two"), ("thr",)),
        ("two two", ("two",), ()),
        ("app_main.py", ("app", "main"), ("py",)),
        ("日本語", ("日本", "本語"), ()),
        ("本", (), ("本",)),
        ("本 camera", (), ("本", "camera")),
        ("camera 日本", ("camera", "日本"), ()),
        ("x" * 100, (), ("x" * 64,)),
        ('"good" OR NOT (mor*', ("good", "or", "not"), ("mor",)),
    ],
)
def test_a_query_asks_for_words_and_a_last_beginning(
    asked: str, words: tuple[str, ...], prefixes: tuple[str, ...]
) -> None:
    assert search_query(asked) == SearchQuery(words, prefixes)
    assert bool(search_query(asked)) == bool(words or prefixes)


@given(TEXTS, TEXTS, TEXTS)
def test_a_text_is_found_by_any_part_between_spaces(before: str, part: str, after: str) -> None:
    assert matches(search_query(part), words_of(f"{before} {part} {after}"))


@given(TEXTS)
def test_forms_of_one_text_have_the_same_words(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert words_of(unicodedata.normalize(form, text)) == words_of(text)


@given(TEXTS)
def test_words_have_letters_and_digits_only_and_no_capitals(text: str) -> None:
    for word in words_of(text).split(" "):
        assert word.isalnum() or word == ""
        assert not any("A" <= letter <= "Z" for letter in word)


@pytest.mark.parametrize("letters", ["日本語", "カメラ", "한국어", "ชาว"])
def test_a_single_letter_is_found_wherever_it_stands(letters: str) -> None:
    for letter in letters:
        assert matches(search_query(letter), words_of(f"x {letters} y"))


def test_all_marks_are_known() -> None:
    """The table of marks ends where Unicode's marks end, in this Python's version of it."""
    low, high = search_words._marks()
    for code in range(sys.maxunicode + 1):
        is_mark = unicodedata.category(chr(code))[0] == "M"
        found = low.fullmatch(chr(code)) or high.fullmatch(chr(code))
        assert bool(found) == (is_mark and code not in (0x3099, 0x309A))


def test_the_words_of_a_text_are_bounded() -> None:
    numbers = " ".join(f"n{n}é" for n in range(200_000))
    words = words_of(numbers)
    assert search_words.MAX_BYTES - 16 < len(words.encode()) <= search_words.MAX_BYTES
    assert words.startswith("n0e n1e ")
    assert words.split()[-1] in numbers.replace("é", "e").split()


@pytest.mark.parametrize("text", ["word " * 40_000, "日本語" * 66_000, "é" * 200_000])
def test_the_longest_reply_is_prepared_in_a_moment(text: str) -> None:
    words_of(text)
    started = time.thread_time()
    words_of(text)
    assert time.thread_time() - started < 1.0
