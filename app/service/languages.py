"""Which language a recording is in: from its leading speech, so that a film costs no more than a minute does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

from app.audio.recording import Recording
from app.domain.engines import Hypothesis
from app.domain.options import RecognitionOptions
from app.pipeline.recognition import Heard, Recognition
from app.pipeline.segmentation import MAX_SILENCE, Cut, cut
from app.service.admission import Ticket
from app.service.residents import Loaded
from app.service.transcription import Tools

LEADING_SECONDS = 120.0
"""Of a recording that are decoded and searched for speech: films begin with music, and calls with ringing."""
SPEECH_SECONDS = 30.0
"""Of speech that are listened to, as much as Whisper's authors use."""
_OPTIONS = RecognitionOptions(timed=False)


@dataclass(frozen=True, slots=True)
class HeardLanguage:
    """`code` is ISO-639; None where nobody spoke. `confidence` is how probable the model finds it, in 0..1; of models
    that name a language and no probability, how much of the speech was in it."""

    code: str | None
    confidence: float


async def heard_language(recording: Recording, tools: Tools, loaded: Loaded, ticket: Ticket) -> HeardLanguage:
    """The language of the leading speech of `recording`.

    Raises:
        SpeechError: it cannot be recognised, or not in time.
    """
    spans = await ticket.in_time(tools.spans(recording, _OPTIONS))
    able = loaded.recognizer.capabilities
    longest = min(tools.max_segment, able.preferred_seconds, SPEECH_SECONDS)
    cuts = await asyncio.to_thread(cut, recording, spans, longest, min(MAX_SILENCE, able.max_silence))
    leading = _leading(cuts)
    # Each by itself: pieces of one recording are recognised again in the language of most of them.
    alone = [
        Recognition(recording, loaded.recognizer, loaded.batcher, _OPTIONS, key=ticket.key) for _ in range(len(leading))
    ]
    ticket.expect(sum(loaded.batcher.work(one.cost(piece)) for one, piece in zip(alone, leading, strict=True)))
    chances: dict[str, float] = {}
    heard = 0.0
    for one, piece in zip(alone, leading, strict=True):
        hypothesis = await ticket.in_time(_hypothesis(one, piece))
        if not hypothesis.text:
            continue
        heard += piece.end - piece.start
        for language, chance in hypothesis.languages.items():
            chances[language] = chances.get(language, 0.0) + chance * (piece.end - piece.start)
    if not chances:
        return HeardLanguage(None, 0.0)
    code = max(chances, key=chances.__getitem__)
    return HeardLanguage(code, min(1.0, chances[code] / heard))


async def _hypothesis(recognition: Recognition, piece: Cut) -> Hypothesis:
    async with aclosing(recognition.pieces([piece])) as pieces:
        async for item in pieces:
            if isinstance(item, Heard):
                return item.hypothesis
    raise AssertionError("a piece that is recognised is heard")


def _leading(cuts: list[Cut]) -> list[Cut]:
    """The first pieces with enough speech together."""
    chosen: list[Cut] = []
    seconds = 0.0
    for one in cuts:
        if seconds >= SPEECH_SECONDS:
            break
        chosen.append(one)
        seconds += one.end - one.start
    return chosen
