"""A live stream's sound as far as its caller may have it heard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from app.audio.live import Cue, LiveSource
from app.service.quotas import Allowance

if TYPE_CHECKING:
    from app.domain.engines import Samples


class CountedSource:
    """A LiveSource whose sound counts when it is read. Where there is no room for more of it, it fails, after all that
    there was room for."""

    def __init__(self, source: LiveSource, allowance: Allowance) -> None:
        self._source = source
        self._allowance = allowance

    async def feed(self, data: bytes) -> None:
        """See LiveSource.feed."""
        await self._source.feed(data)

    async def finish(self) -> None:
        """See LiveSource.finish."""
        await self._source.finish()

    async def cue(self, cue: Cue) -> None:
        """See LiveSource.cue."""
        await self._source.cue(cue)

    async def blocks(self) -> AsyncIterator[Samples | Cue]:
        """See LiveSource.blocks.

        Raises:
            QuotaExceeded: the rest may not be heard.
            SpeechError: as LiveSource.blocks does.
        """
        async for block in self._source.blocks():
            if isinstance(block, Cue):
                yield block
                continue
            rest = block
            while len(rest):
                heard = self._allowance.hear(len(rest))
                if heard:
                    yield rest[:heard]
                rest = rest[heard:]
                if len(rest):
                    self._allowance.check()

    async def close(self) -> None:
        """See LiveSource.close."""
        await self._source.close()
