"""One recording through a recogniser: its language settled, its pieces recognised beside everybody else's, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from app.domain.engines import Hypothesis, Recognizer, Sound, WaitingPiece, WaitingRequest
from app.domain.options import RecognitionOptions
from app.pipeline.batching import Batcher
from app.pipeline.relaying import Relay
from app.pipeline.segmentation import Cut
from app.pipeline.turns import Turn

_LANGUAGE_SECONDS = 30.0
"""Speech listened to before the recording's language is settled, as much as Whisper's authors use."""
_AHEAD = 4
"""Pieces of one request in the queue for each call that may run: enough to keep the recogniser busy, few enough that
a recording of hours does not fill the queue."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece and what was heard in it."""

    cut: Cut
    hypothesis: Hypothesis


class Recognition:
    """Recognises the pieces of one recording."""

    def __init__(
        self,
        sound: Sound,
        recognizer: Recognizer,
        batcher: Batcher | Relay,
        options: RecognitionOptions,
        *,
        key: str = "",
    ) -> None:
        """`key` stands for the caller's API key: keys take turns, and requests of one key take turns."""
        self._sound = sound
        self._recognizer = recognizer
        self._turn = Turn(request=self, key=key)
        self._batcher = batcher
        self._options = options
        self._in_flight = _AHEAD * recognizer.parallel_calls

    async def pieces(self, cuts: Sequence[Cut]) -> AsyncGenerator[Heard, None]:
        """Every piece in order, each as soon as it and those before it are done. Closing it drops what still waits.

        Raises:
            EngineFailure: a piece failed, so the recording did; text never goes missing from a success.
        """
        able = self._recognizer.capabilities
        settled = self._options.language is not None or not able.detects_language or able.mixes_languages
        head = 0 if settled else _leading(cuts, _LANGUAGE_SECONDS)
        options = self._options
        if head:
            first = [heard async for heard in self._in_order(cuts[:head], options)]
            language = _pooled_language(first)
            options = replace(options, language=language)
            for heard in first:
                if heard.hypothesis.language == language:
                    yield heard
                else:
                    yield Heard(heard.cut, await self._one(heard.cut, options))
        # Closed with this one, not whenever it is collected: what waits must be dropped before the sound is freed.
        async with aclosing(self._in_order(cuts[head:], options)) as rest:
            async for heard in rest:
                yield heard

    async def _in_order(self, cuts: Sequence[Cut], options: RecognitionOptions) -> AsyncGenerator[Heard, None]:
        waiting: deque[tuple[Cut, asyncio.Task[Hypothesis]]] = deque()
        upcoming = iter(cuts)
        try:
            while True:
                while len(waiting) < self._in_flight and (cut := next(upcoming, None)) is not None:
                    waiting.append((cut, asyncio.create_task(self._one(cut, options))))
                if not waiting:
                    return
                cut, task = waiting[0]
                hypothesis = await task
                waiting.popleft()
                yield Heard(cut, hypothesis)
        finally:
            for _, task in waiting:
                task.cancel()
            await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)

    async def _one(self, cut: Cut, options: RecognitionOptions) -> Hypothesis:
        return await self._batcher.submit(self._request(cut, options), self._turn)

    def cost(self, cut: Cut) -> float:
        """What a piece costs the recogniser, in its own measure."""
        return self._recognizer.cost(self._request(cut, self._options))

    def _request(self, cut: Cut, options: RecognitionOptions) -> WaitingRequest:
        return WaitingRequest(WaitingPiece(self._sound, cut.start, cut.end), options)


def _leading(cuts: Sequence[Cut], seconds: float) -> int:
    """How many pieces it takes to hear `seconds` of the recording."""
    heard = 0.0
    for index, cut in enumerate(cuts):
        heard += cut.end - cut.start
        if heard >= seconds:
            return index + 1
    return len(cuts)


def _pooled_language(pieces: Sequence[Heard]) -> str:
    """The language most probable over all pieces, each weighted by its length."""
    chances: dict[str, float] = {}
    for heard in pieces:
        for language, chance in heard.hypothesis.languages.items():
            chances[language] = chances.get(language, 0.0) + chance * (heard.cut.end - heard.cut.start)
    return max(chances, key=chances.__getitem__)
