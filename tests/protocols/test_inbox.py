"""A client's messages in order: what comes while work goes on waits, within bounds, and who leaves is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from app.domain.errors import EngineFailure
from app.protocols import inbox
from app.protocols.inbox import Inbox
from app.protocols.messages import MOST_COMMAS, is_text, parsed
from app.protocols.sockets import Farewell, Socket

Message = str | bytes | None


class Client:
    """A Socket of which somebody says what it is told to."""

    def __init__(self, *said: Message) -> None:
        self.busy = True
        self.queue: asyncio.Queue[Message] = asyncio.Queue()
        for message in said:
            self.queue.put_nowait(message)

    async def receive(self) -> Message:
        return await self.queue.get()


def run(scenario: Callable[[Client, Inbox], Awaitable[None]], *said: Message) -> None:
    async def main() -> None:
        client = Client(*said)
        box = Inbox(cast("Socket", client))
        async with asyncio.timeout(10):
            await scenario(client, box)
        await box.aclose()

    asyncio.run(main())


def test_a_failure_that_came_before_is_noticed_at_once() -> None:
    async def scenario(_: Client, box: Inbox) -> None:
        async def fail() -> None:
            raise EngineFailure("dead")

        beside = asyncio.create_task(fail())
        await asyncio.wait({beside})
        with pytest.raises(EngineFailure, match="dead"):
            await box.next(60.0, beside)

    run(scenario)


def test_messages_that_come_while_work_goes_on_wait_in_their_order() -> None:
    async def scenario(_: Client, box: Inbox) -> None:
        done = asyncio.Event()

        async def work() -> None:
            await asyncio.sleep(0.05)
            done.set()

        await box.while_here(work())
        assert done.is_set()
        assert [await box.next(1.0) for _ in range(4)] == ["a", "b", b"c", "d"]

    run(scenario, "a", "b", b"c", "d")


def test_work_for_somebody_who_leaves_is_dropped() -> None:
    async def scenario(_: Client, box: Inbox) -> None:
        await box.while_here(asyncio.sleep(60))
        assert await box.next(1.0) == "a"
        assert await box.next(1.0) is None

    run(scenario, "a", None)


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("busy", [True, False])
def test_a_farewell_to_what_has_ended_by_itself_is_passed_over(ahead: bool, busy: bool) -> None:
    async def scenario(client: Client, box: Inbox) -> None:
        if ahead:
            await box.while_here(asyncio.sleep(0.05))
        client.busy = busy
        expected = ["a", "farewell", "b"] if busy else ["a", "b"]
        assert [await box.next(1.0) for _ in expected] == expected

    run(scenario, "a", Farewell("farewell"), "b")


@pytest.mark.parametrize(("message", "most"), [("a" * 600_000, 2), ("a", inbox._AHEAD), (b"a" * 10, 1)])
def test_not_much_is_read_ahead(message: str | bytes, most: int) -> None:
    async def scenario(client: Client, box: Inbox) -> None:
        await box.while_here(asyncio.sleep(0.1))
        assert 40 - client.queue.qsize() == most

    run(scenario, *[message] * 40)


def test_messages_of_more_values_than_anybody_has_are_none() -> None:
    assert parsed('{"a": [1, 2]}') == {"a": [1, 2]}
    assert parsed("[" + "1," * MOST_COMMAS + "1]") == [1] * (MOST_COMMAS + 1)
    assert parsed("[" + "1," * (MOST_COMMAS + 1) + "1]") is None
    assert parsed("[" * 100_000) is None


@pytest.mark.parametrize(("said", "whole"), [("plain", True), ("字💡", True), ("\ud800", False), ("a\udfff", False)])
def test_halves_of_characters_are_no_text(said: str, whole: bool) -> None:
    assert is_text(said) is whole
