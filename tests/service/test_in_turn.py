"""One thread for everything: what is urgent comes first, the rest as it came."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from app.service.in_turn import InTurn


def test_what_is_urgent_comes_before_what_waits_and_the_rest_as_it_came() -> None:
    done: list[str] = []

    async def main() -> None:
        thread, go_on = InTurn("test"), threading.Event()
        waiting: list[asyncio.Task[object]] = [asyncio.create_task(thread.run(go_on.wait))]
        for name in ("a", "b", "first c", "d", "first e"):
            work = thread.run(lambda name=name: done.append(name), first=name.startswith("first"))
            waiting.append(asyncio.create_task(work))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*waiting)
        await thread.close(lambda: done.append("end"))

    asyncio.run(main())
    assert done == ["first c", "first e", "a", "b", "d", "end"]


def test_what_goes_wrong_is_told_and_who_has_left_is_not_served() -> None:
    done: list[str] = []

    def fail() -> None:
        raise OSError("full")

    async def main() -> None:
        thread, go_on = InTurn("test"), threading.Event()
        held = asyncio.create_task(thread.run(go_on.wait))
        gone = asyncio.create_task(thread.run(lambda: done.append("gone")))
        failing = asyncio.create_task(thread.run(fail))
        await asyncio.sleep(0)
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
        go_on.set()
        assert await held
        with contextlib.suppress(OSError):
            await failing
        assert isinstance(failing.exception(), OSError)
        assert await thread.run(lambda: "still there") == "still there"
        await thread.close(lambda: None)

    asyncio.run(main())
    assert done == []
