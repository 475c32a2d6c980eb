"""The event stream codec: whatever the cuts between reads, the events are the same."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_svc.protocol.sse import Decoder, EventTooLargeError, ServerSentEvent, comment, encode

BOUND = 10_000


def decode(*chunks: bytes, bound: int = BOUND) -> list[ServerSentEvent]:
    decoder = Decoder(bound)
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def reference(stream: bytes) -> list[ServerSentEvent]:
    """The standard's algorithm on a whole stream, written for reading and not for speed."""
    events = []
    data: list[bytes] = []
    name, last_id = "", ""
    lines = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in lines[:-1]:  # what follows the last line end is no line yet
        if not line:
            if data:
                events.append(ServerSentEvent(b"\n".join(data), name or "message", last_id))
            data, name = [], ""
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"id" and b"\0" not in value:
            last_id = value.decode("utf-8", "replace")
    return events


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b'data: {"a":1}\n\n', [ServerSentEvent(b'{"a":1}')]),
        (b"data:x\n\n", [ServerSentEvent(b"x")]),
        (b"data:  x\n\n", [ServerSentEvent(b" x")]),
        (b"data\n\n", [ServerSentEvent(b"")]),
        (b"data:\n\n", [ServerSentEvent(b"")]),
        (b"data: a\ndata: b\n\n", [ServerSentEvent(b"a\nb")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [ServerSentEvent(b"a"), ServerSentEvent(b"b")]),
        (b"data: a\r\rdata: b\r\r", [ServerSentEvent(b"a"), ServerSentEvent(b"b")]),
        (b"data: a\n\r\ndata: b\r\n\n", [ServerSentEvent(b"a"), ServerSentEvent(b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [ServerSentEvent(b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [ServerSentEvent(b"a")]),
        (b": ping\n\ndata: a\n\n:\n\n", [ServerSentEvent(b"a")]),
        (b": ping\ndata: a\n: pong\n\n", [ServerSentEvent(b"a")]),
        (b"event: e\ndata: a\n\ndata: b\n\n", [ServerSentEvent(b"a", "e"), ServerSentEvent(b"b")]),
        (b"event: e\n\ndata: b\n\n", [ServerSentEvent(b"b")]),
        (
            b"id: 7\ndata: a\n\ndata: b\n\n",
            [ServerSentEvent(b"a", id="7"), ServerSentEvent(b"b", id="7")],
        ),
        (b"id: 7\n\ndata: b\n\n", [ServerSentEvent(b"b", id="7")]),
        (b"id: 7\0\ndata: b\n\n", [ServerSentEvent(b"b")]),
        (b"retry: 5\nnonsense\ndatum: x\ndata: a\n\n", [ServerSentEvent(b"a")]),
        (b"data: cut", []),
        (b"data: cut\n", []),
        (b"\n\n\n", []),
        (b"", []),
        ("data: ñ😀\n\n".encode(), [ServerSentEvent("ñ😀".encode())]),
    ],
)
def test_a_sample_in_any_two_pieces_is_the_same_events(
    stream: bytes, expected: list[ServerSentEvent]
) -> None:
    assert reference(stream) == expected
    assert decode(stream) == expected
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == expected
    for cut in range(len(stream) + 1):
        assert decode(stream[:cut], b"", stream[cut:]) == expected


def test_a_mixed_stream_in_any_three_pieces_is_the_same_events() -> None:
    stream = "\ufeffdata: ñ\r\n\r\n: c\rdata: 😀\ndata:\n\nid: 1\nevent: e\rdata: x\r\r\n".encode()
    expected = reference(stream)
    assert len(expected) == 3
    for first, second in itertools.combinations(range(len(stream) + 1), 2):
        assert decode(stream[:first], stream[first:second], stream[second:]) == expected


FIELDS = [b"data: ", b"data:", b"data", b"event: e", b"id: 3", b": c", b'data: {"t":1}\n\n']
ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n"]
OTHERS = [b"x", b" ", b":", b"\0", b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80"]
TOKENS = st.sampled_from([*FIELDS, *ENDS, *OTHERS])


@given(st.lists(TOKENS, max_size=40).map(b"".join), st.data())
def test_a_random_stream_in_random_pieces_is_the_same_events(
    stream: bytes, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    chunks = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    assert decode(*chunks) == reference(stream)


@given(
    st.lists(
        st.tuples(st.text(), st.none() | st.integers(0), st.none() | st.sampled_from(["e", "é"]))
    ),
    st.integers(1, 50),
)
def test_an_encoded_event_is_decoded_to_itself(
    sent: list[tuple[str, int | None, str | None]], size: int
) -> None:
    stream = b"".join(comment("keep") + encode(d.encode(), i, e) for d, i, e in sent)
    events = decode(*(stream[i : i + size] for i in range(0, len(stream), size)))
    texts = [re.sub("\r\n|\r", "\n", d) for d, _, _ in sent]
    assert [e.data.decode() for e in events] == texts
    assert [e.event for e in events] == [e or "message" for _, _, e in sent]
    last = ""
    for (_, id_, _), event in zip(sent, events, strict=True):
        last = last if id_ is None else str(id_)
        assert event.id == last


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
@pytest.mark.parametrize(
    "stream",
    [b"data: " + b"x" * 200 + b"\n\n", b"x" * 200, b"data: " + b"y" * 40 + b"\ndata: " + b"z" * 90],
)
def test_an_event_beyond_the_bound_is_refused(stream: bytes, size: int) -> None:
    with pytest.raises(EventTooLargeError):
        decode(*(stream[i : i + size] for i in range(0, len(stream), size)), bound=100)


def test_the_bound_is_for_one_event_and_not_for_the_stream() -> None:
    event = b"data: " + b"x" * 80 + b"\n\n"
    assert len(decode(event * 50, bound=100)) == 50
    assert len(decode(*[event] * 50, bound=100)) == 50
    assert decode(*[b": " + b"c" * 80 + b"\n"] * 50, bound=100) == []


def test_encoding_one_data_line_is_one_event() -> None:
    assert encode(b'{"a":1}') == b'data: {"a":1}\n\n'
    assert encode(b"{}", 5) == b"id: 5\ndata: {}\n\n"
    assert encode(b"a\nb", 5, "e") == b"id: 5\nevent: e\ndata: a\ndata: b\n\n"
