"""Who gets the next place to send a notice, and that none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.service.jobs.places import Bounds, Places, Room, Whose


def on_a_loop(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(main())


class Queue:
    """Those who wait for places, and the names of those who have got one."""

    def __init__(self, *bounds: int) -> None:
        self.places = Places(Bounds(*bounds))
        self.have: list[str] = []

    async def wait(self, name: str, whose: Whose) -> asyncio.Task[None]:
        async def take() -> None:
            await self.places.take(whose)
            self.have.append(name)

        task = asyncio.create_task(take())
        await self.settle()
        return task

    async def free(self, whose: Whose) -> None:
        self.places.free(whose)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


A1, A2, A3, B1, C1 = (Whose(name[0], name) for name in ("a1", "a2", "a3", "b1", "c1"))


def test_a_free_place_goes_to_the_owner_who_has_the_fewest() -> None:
    async def scenario() -> None:
        queue = Queue(3, 3, 3, 3)
        for name, whose in [("a", A1), ("a", A2), ("a", A3), ("a again", A1), ("b", B1), ("b again", B1), ("c", C1)]:
            await queue.wait(name, whose)
        assert queue.have == ["a", "a", "a"]
        for whose in (A1, A2, A3, B1):
            await queue.free(whose)
        assert queue.have[3:] == ["b", "c", "a again", "b again"]

    on_a_loop(scenario)


def test_an_owner_and_a_host_have_so_many_at_most() -> None:
    async def scenario() -> None:
        queue = Queue(10, 2, 1, 1)
        for name, whose in [("1", A1), ("1 again", A1), ("2", A2), ("3", A3), ("b at 1", Whose("b", "a1"))]:
            await queue.wait(name, whose)
        assert queue.have == ["1", "2"]
        await queue.free(A2)
        assert queue.have == ["1", "2", "3"]
        await queue.free(A1)
        assert queue.have == ["1", "2", "3", "b at 1"], "who waited longer has another place already"

    on_a_loop(scenario)


def test_no_place_is_lost_with_those_who_stop_waiting() -> None:
    async def scenario() -> None:
        queue = Queue(1, 1, 1, 1)
        await queue.wait("a", A1)
        waits, given = await queue.wait("b", B1), await queue.wait("c", C1)
        waits.cancel()  # it waits still
        queue.places.free(A1)  # so that the next one has it,
        given.cancel()  # and does not know that yet
        await queue.settle()
        assert (waits.cancelled(), given.cancelled()) == (True, True)
        await queue.wait("a again", A1)
        assert queue.have == ["a", "a again"]

    on_a_loop(scenario)


def test_a_room_knows_of_whom_no_more_may_enter() -> None:
    room = Room(Bounds(4, 2, 9, 9))
    room.enter(A1)
    assert room.full_owners() == set()
    room.enter(A2)
    assert room.full_owners() == {"a"}
    room.enter(B1)
    assert room.full_owners() == {"a"}
    room.enter(C1)
    assert room.full_owners() == {"a", "b", "c"}, "there is no room but for those of whom none is in it"
    for whose in (A2, C1):
        room.leave(whose)
    assert room.full_owners() == set()
