"""One recording through a recogniser: its language settled, its pieces recognised beside everybody else's, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from app.domain.engines import Hypothesis, Recognizer, Said, Sound, WaitingPiece, WaitingRequest
from app.domain.options import RecognitionOptions
from app.pipeline.batching import Batcher
from app.pipeline.relaying import Relay
from app.pipeline.segmentation import Cut
from app.pipeline.turns import Turn, Urgency

_LANGUAGE_SECONDS = 30.0
"""Speech listened to before the recording's language is settled, as much as Whisper's authors use."""
_AHEAD = 4
"""Pieces of one request in the queue for each call that may run: enough to keep the recogniser busy, few enough that
a recording of hours does not fill the queue."""
_PACE = 0.05
"""Seconds between two looks at what a piece says while it is heard: a reader sees no difference, and a recogniser tells
something new a hundred times a second."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece and what was heard in it."""

    cut: Cut
    hypothesis: Hypothesis


@dataclass(frozen=True, slots=True)
class Hearing:
    """The text so far of the piece whose turn it is: the beginning of its hypothesis's text."""

    text: str


class PieceMemory(Protocol):
    """What is kept of pieces, by their number, so that the work can be gone on with after an interruption."""

    def heard(self, number: int) -> Hypothesis | None:
        """What is kept of a piece; None: nothing."""
        ...

    async def keep(self, number: int, hypothesis: Hypothesis) -> None:
        """Keep what was heard in a piece, in place of what was kept of it before. What it raises fails the piece."""
        ...


class _Listening:
    """A piece on its way through the recogniser, and what it has said so far."""

    def __init__(self, cut: Cut) -> None:
        self.cut = cut
        self._text = self._told = ""
        self._news = asyncio.Event()

    def say(self, text: str) -> None:
        """Take in the text so far."""
        self._text = text
        self._news.set()

    def begin(self, work: Coroutine[Any, Any, Hypothesis]) -> None:
        """Recognise it."""
        self.task = asyncio.create_task(work)
        self.task.add_done_callback(lambda _: self._news.set())

    async def more(self) -> str | None:
        """The text so far, once it has grown; None when the piece is done. Called again, it takes its time."""
        if self._told:
            await asyncio.wait({self.task}, timeout=_PACE)
        while not self.task.done():
            if self._text != self._told:
                self._told = self._text
                return self._told
            self._news.clear()
            await self._news.wait()
        return None


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
        following: bool = False,
        urgency: Urgency = Urgency.FILE,
        memory: PieceMemory | None = None,
    ) -> None:
        """`key` stands for the caller's API key: keys take turns, and requests of one key take turns.

        `following`: what a piece says while it is heard is wanted, too, where the recogniser tells.
        `memory`: pieces that are kept there are not recognised, and others are kept before they are told.
        """
        self._sound = sound
        self._recognizer = recognizer
        self._turn = Turn(request=self, key=key, urgency=urgency)
        self._batcher = batcher
        self._options = options
        self._following = following
        self._memory = memory
        self._in_flight = _AHEAD * recognizer.parallel_calls

    async def pieces(self, cuts: Sequence[Cut]) -> AsyncGenerator[Heard | Hearing, None]:
        """Every piece in order, each as soon as it and those before it are done. Closing it drops what still waits.

        Where that is wanted, what is known already of the first one that is not done comes before it. What may have
        to be recognised again in another language is not told before that is settled.

        Raises:
            EngineFailure: a piece failed, so the recording did; text never goes missing from a success.
        """
        able = self._recognizer.capabilities
        settled = self._options.language is not None or not able.detects_language or able.mixes_languages
        head = 0 if settled else _leading(cuts, _LANGUAGE_SECONDS)
        options = self._options
        if head == 1:
            async with aclosing(self._in_order(cuts[:1], options, following=self._following)) as only:
                async for item in only:
                    if isinstance(item, Heard):
                        options = replace(options, language=item.hypothesis.language)
                    yield item
        elif head:
            told = self._in_order(cuts[:head], options, following=False)
            first = [item async for item in told if isinstance(item, Heard)]
            # What was heard again and kept before an interruption counts as wholly in the language: the same one wins.
            language = _pooled_language(first)
            options = replace(options, language=language)
            for number, heard in enumerate(first):
                if heard.hypothesis.language == language:
                    yield heard
                else:
                    yield Heard(heard.cut, await self._anew(number, heard.cut, options))
        # Closed with this one, not whenever it is collected: what waits must be dropped before the sound is freed.
        async with aclosing(self._in_order(cuts[head:], options, following=self._following, first=head)) as rest:
            async for item in rest:
                yield item

    async def _in_order(
        self, cuts: Sequence[Cut], options: RecognitionOptions, *, following: bool, first: int = 0
    ) -> AsyncGenerator[Heard | Hearing, None]:
        """Pieces, numbered from `first` on."""
        waiting: deque[_Listening] = deque()
        upcoming = enumerate(cuts, first)
        try:
            while True:
                while len(waiting) < self._in_flight and (coming := next(upcoming, None)) is not None:
                    number, cut = coming
                    piece = _Listening(cut)
                    piece.begin(self._one(number, cut, options, piece.say if following else None))
                    waiting.append(piece)
                if not waiting:
                    return
                piece = waiting[0]
                while following and (text := await piece.more()) is not None:
                    yield Hearing(text)
                hypothesis = await piece.task
                waiting.popleft()
                yield Heard(piece.cut, hypothesis)
        finally:
            for piece in waiting:
                piece.task.cancel()
            await asyncio.gather(*(piece.task for piece in waiting), return_exceptions=True)

    async def _one(self, number: int, cut: Cut, options: RecognitionOptions, said: Said | None = None) -> Hypothesis:
        """What is kept of a piece, or else is heard in it."""
        kept = self._memory.heard(number) if self._memory is not None else None
        return await self._anew(number, cut, options, said) if kept is None else kept

    async def _anew(self, number: int, cut: Cut, options: RecognitionOptions, said: Said | None = None) -> Hypothesis:
        """What is heard in a piece, and kept."""
        request = self._request(cut, options)
        if isinstance(self._batcher, Relay):
            hypothesis = await self._batcher.submit(request, self._turn, said)
        else:
            hypothesis = await self._batcher.submit(request, self._turn)
        if self._memory is not None:
            await self._memory.keep(number, hypothesis)
        return hypothesis

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
