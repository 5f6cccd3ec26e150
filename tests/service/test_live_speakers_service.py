"""Speakers of live streams through the whole service: who asks is told, who does not pays nothing, and who cannot be
told is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from house import House, furnished
from pipeline.stubs import VOICES, StubDetector
from streaming.talk import Loudness, said

from app.audio.declared import DeclaredSound
from app.domain.engines import Hypothesis, PieceRequest
from app.domain.errors import UnsupportedFeature
from app.domain.events import Final
from app.domain.options import LiveOptions, RecognitionOptions
from app.domain.speakers import KnownVoice, Speaker, SpeakerOptions, Voiceprint
from app.domain.transcript import Word
from app.service.admission import Caller
from app.service.service import SpeechService

PCM = DeclaredSound("s16le", 16_000)
PLAINLY = RecognitionOptions(timed=False)
SOUND = said((7, 2.0), (0, 1.2), (9, 2.0), (0, 1.2))


@dataclass
class LiveDetector(StubDetector):
    """Also listens live: to what is loud."""

    def open(self) -> Loudness:
        return Loudness()


def words(request: PieceRequest) -> Hypothesis:
    """One word, timed where times are wanted."""
    seconds = len(request.piece.samples) / 16_000
    timed = (Word("so", 0.0, seconds),) if request.options.timed else ()
    return Hypothesis("so", "en", {"en": 1.0}, timed)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    house = furnished(tmp_path, monkeypatch)
    house.detector = LiveDetector(())
    house.recognizer.hears = words
    return house


async def finals(service: SpeechService, options: RecognitionOptions) -> list[Final]:
    async with service.listen("whisper-base", options, LiveOptions(), Caller(), PCM) as stream:
        await stream.feed(SOUND.tobytes())
        await stream.finish()
        return [event async for event in stream.events() if isinstance(event, Final)]


def test_who_does_not_ask_pays_nothing(house: House) -> None:
    """No voice is listened to, and no word is timed for it."""

    async def scenario(service: SpeechService) -> None:
        told = await finals(service, PLAINLY)
        assert [segment.speaker for final in told for segment in final.segments] == [None, None]
        assert house.speakers.segmenter.heard == []
        assert house.speakers.encoder.lengths == []
        assert not any(final.words for final in told)

    house.run(scenario)


def test_who_asks_is_told_and_by_name_where_a_voice_is_known(house: House) -> None:
    nobody = len(VOICES) - 1  # who speaks, where nobody was scheduled
    anna = KnownVoice("Anna", (Voiceprint(VOICES[nobody], 5.0, house.speakers.encoder.id),))

    async def scenario(service: SpeechService) -> None:
        for options, speaker in (
            (SpeakerOptions(), Speaker(0)),
            (SpeakerOptions(voices=(anna,)), Speaker(0, "Anna")),
        ):
            told = await finals(service, RecognitionOptions(timed=False, speakers=options))
            assert [segment.speaker for final in told for segment in final.segments] == [speaker, speaker]
            assert [word.speaker for final in told for word in final.words] == [speaker, speaker]

    house.run(scenario)


def test_streams_know_nothing_of_each_others_voices(house: House) -> None:
    """Numbers begin anew with every stream."""

    async def scenario(service: SpeechService) -> None:
        asked = RecognitionOptions(speakers=SpeakerOptions())
        for person in (1, 2):
            house.speakers.encoder.voices = np.roll(VOICES, person, axis=0)
            told = await finals(service, asked)
            assert {segment.speaker for final in told for segment in final.segments} == {Speaker(0)}

    house.run(scenario)


def test_where_speakers_are_not_told_apart_asking_is_refused(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        with pytest.raises(UnsupportedFeature):
            await finals(service, RecognitionOptions(speakers=SpeakerOptions()))
        assert service.active_streams == 0
        assert [final.text for final in await finals(service, PLAINLY)] == ["so", "so"]

    house.run(scenario, speaker_diarization="off")
