"""Wyoming's events as bytes, whatever the bytes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.errors import InvalidParameter
from app.protocols.wyoming.events import LONGEST_LINE, Event, encode, read_event

_JSON = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=3)
_PARTS = st.sampled_from(
    [
        b'{"type":"ping"',
        b',"data_length":',
        b',"payload_length":',
        b',"data":',
        b"{}",
        b"}",
        b"\n",
        b"3",
        b"1e9",
        b"null",
    ]
)


def read(data: bytes) -> list[Event | None]:
    """The events of a connection on which just that is said, with None for its end."""

    async def read_all() -> list[Event | None]:
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        reader.feed_data(data)
        reader.feed_eof()
        events: list[Event | None] = []
        while not events or events[-1] is not None:
            events.append(await read_event(reader))
        return events

    return asyncio.run(read_all())


@given(
    st.lists(
        st.builds(Event, st.text(min_size=1, max_size=50), st.dictionaries(st.text(), _JSON, max_size=3), st.binary()),
        max_size=5,
    )
)
def test_events_are_read_as_they_were_sent(events: list[Event]) -> None:
    assert read(b"".join(map(encode, events))) == [*events, None]


@given(st.binary() | st.lists(_PARTS).map(b"".join))
@example(b'{"type":"ping","data_length":3}\n')
def test_whatever_comes_is_events_or_an_error(data: bytes) -> None:
    try:
        assert read(data)[-1] is None
    except InvalidParameter as error:
        assert error.message


def test_an_event_that_is_cut_off_is_none() -> None:
    event = encode(Event("audio-chunk", {"rate": 16_000}, bytes(100)))

    for length in range(len(event)):
        assert read(event + event[:length]) == [Event("audio-chunk", {"rate": 16_000}, bytes(100)), None]


def test_halves_of_characters_do_not_break_what_is_sent() -> None:
    assert read(encode(Event("pong", {"text": "\ud83d"}))) == [Event("pong", {"text": "?"}), None]


@pytest.mark.parametrize("size", [LONGEST_LINE // 2, LONGEST_LINE * 2])
def test_a_line_has_a_limit(size: int) -> None:
    line = b'{"type":"ping","data":{"text":"' + b"a" * size + b'"}}\n'

    if size < LONGEST_LINE:
        assert read(line) == [Event("ping", {"text": "a" * size}), None]
    else:
        with pytest.raises(InvalidParameter):
            read(line)
