"""Several channels as one conversation: in order, all worked on at once, none left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from app.domain.errors import EngineFailure
from app.domain.transcript import Segment
from app.pipeline.merging import by_time

from .test_batching import until


@dataclass
class Channel:
    """Segments that start at these times; a negative one fails, infinity never comes."""

    starts: Sequence[float]
    name: str = "a"
    asked: int = 0
    closed: bool = False
    going: asyncio.Event = field(default_factory=asyncio.Event)

    async def segments(self) -> AsyncGenerator[Segment, None]:
        try:
            for start in self.starts:
                self.asked += 1
                await asyncio.sleep(0)
                if start < 0:
                    raise EngineFailure(f"{self.name} cannot be recognised")
                if start == float("inf"):
                    await self.going.wait()
                    return
                yield Segment(start, start + 1, f"{self.name}{start:g}")
        finally:
            await asyncio.sleep(0)  # as a generator that has something to wait for
            self.closed = True


async def collected(channels: Sequence[Channel]) -> list[str]:
    async with aclosing(by_time([channel.segments() for channel in channels])) as merged:
        return [segment.text async for segment in merged]


def texts(*channels: Channel) -> list[str]:
    said = asyncio.run(collected(channels))
    assert all(channel.closed for channel in channels)
    return said


def test_in_order_of_their_starts() -> None:
    assert texts(Channel([1, 4, 5, 9]), Channel([0, 2, 7], "b"), Channel([3], "c")) == [
        *("b0", "a1", "b2", "c3", "a4", "a5", "b7", "a9")
    ]


def test_equals_come_in_the_channels_order() -> None:
    assert texts(Channel([1, 2]), Channel([1, 2], "b")) == ["a1", "b1", "a2", "b2"]


@pytest.mark.parametrize("starts", [[], [[]], [[], []]])
def test_nothing_said_is_nothing(starts: list[list[float]]) -> None:
    assert texts(*[Channel(each) for each in starts]) == []


def test_a_silent_channel_does_not_matter() -> None:
    assert texts(Channel([]), Channel([3, 4], "b")) == ["b3", "b4"]


def test_nothing_is_said_before_it_is_known_to_be_first() -> None:
    slow, quick = Channel([float("inf")]), Channel([1, 2], "b")

    async def scenario() -> None:
        async with aclosing(by_time([slow.segments(), quick.segments()])) as merged:
            first = asyncio.ensure_future(anext(merged))
            await until(lambda: quick.asked == 1 and slow.asked == 1)
            await asyncio.sleep(0.01)
            assert not first.done()
            slow.going.set()
            assert (await first).text == "b1"

    asyncio.run(scenario())


def test_all_are_worked_on_at_once() -> None:
    channels = [Channel([index], str(index)) for index in range(4)]

    async def scenario() -> None:
        async with aclosing(by_time([channel.segments() for channel in channels])) as merged:
            await anext(merged)
            assert [channel.asked for channel in channels] == [1, 1, 1, 1]

    asyncio.run(scenario())


@pytest.mark.parametrize("at", [0, 1])
def test_one_that_fails_closes_the_others(at: int) -> None:
    good, endless, bad = Channel([1, 2, 3]), Channel([5, 6, 7], "b"), Channel([4] * at + [-1], "bad")

    async def scenario() -> None:
        with pytest.raises(EngineFailure, match="bad cannot"):
            await collected([good, endless, bad])
        assert all(channel.closed for channel in (good, endless, bad))
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_one_that_fails_beside_one_that_waits() -> None:
    bad, waiting = Channel([-1], "bad"), Channel([float("inf")])

    async def scenario() -> None:
        with pytest.raises(EngineFailure):
            await collected([bad, waiting])
        assert waiting.closed
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_closing_early_closes_all() -> None:
    channels = [Channel([1, 2, 3]), Channel([2, 3, 4], "b")]

    async def scenario() -> None:
        async with aclosing(by_time([channel.segments() for channel in channels])) as merged:
            await anext(merged)
        assert all(channel.closed for channel in channels)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_cancelling_closes_all() -> None:
    channels = [Channel([1, float("inf")]), Channel([2, 3], "b")]

    async def scenario() -> None:
        work = asyncio.create_task(collected(channels))
        await until(lambda: channels[0].asked == 2)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert all(channel.closed for channel in channels)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())
