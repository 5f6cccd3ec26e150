"""Segments of several channels as one conversation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from app.domain.transcript import Segment


async def by_time(sources: Sequence[AsyncGenerator[Segment, None]]) -> AsyncGenerator[Segment, None]:
    """Segments of all sources in order of their starts; each source is in order itself. All are worked on at once.

    Raises:
        Exception: what the first source to fail raised; the others are closed.
    """
    following = {source: asyncio.ensure_future(anext(source, None)) for source in sources}
    try:
        while following:
            ready = {source: await task for source, task in following.items()}
            following = {source: task for source, task in following.items() if ready[source] is not None}
            if not following:
                return
            first = min(following, key=lambda source: _start(ready[source]))
            if (segment := ready[first]) is not None:
                yield segment
            following[first] = asyncio.ensure_future(anext(first, None))
    finally:
        for task in following.values():
            task.cancel()
        await asyncio.gather(*following.values(), return_exceptions=True)
        for source in sources:
            await source.aclose()


def _start(segment: Segment | None) -> float:
    return segment.start if segment else 0.0
