"""Which language a recording is in: heard in its leading speech, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from house import SPANS, House, furnished
from pipeline.stubs import clock_pcm
from real.scoring import wav_bytes

from app.domain.engines import Hypothesis, PieceRequest, Sound, SpeechSpan
from app.domain.errors import EngineFailure
from app.domain.options import SpeechDetection
from app.service.admission import Caller
from app.service.languages import LEADING_SECONDS, SPEECH_SECONDS, HeardLanguage
from app.service.service import SpeechService


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return furnished(tmp_path, monkeypatch)


def chances(of: Callable[[float], dict[str, float]], *, text: str = "words") -> Callable[[PieceRequest], Hypothesis]:
    """Hears, in a piece that starts at a time, these languages."""

    def hears(asked: PieceRequest) -> Hypothesis:
        found = of(asked.piece.start)
        return Hypothesis(text, max(found, key=found.__getitem__), found)

    return hears


async def language_of(service: SpeechService, house: House) -> HeardLanguage:
    with service.admit(Caller()) as ticket:
        return await service.language(house.sound, "whisper-base", ticket)


def test_all_of_the_leading_speech_is_asked_and_the_likeliest_language_told(house: House) -> None:
    """One piece is surely Chinese, two are rather English."""
    house.recognizer.hears = chances(lambda start: {"zh": 0.97, "en": 0.03} if start > 10 else {"zh": 0.3, "en": 0.7})

    async def scenario(service: SpeechService) -> None:
        heard = await language_of(service, house)
        assert heard.code == "zh"
        assert heard.confidence == pytest.approx((0.97 + 0.3 + 0.3) / 3, abs=0.005)

    house.run(scenario)


def test_no_piece_is_recognised_again_in_the_language_of_others(house: House) -> None:
    house.recognizer.hears = chances(lambda start: {"en": 1.0} if start > 10 else {"zh": 1.0})

    async def scenario(service: SpeechService) -> None:
        assert (await language_of(service, house)).code == "zh"
        asked = [request for call in house.recognizer.calls for request in call]
        assert len(asked) == 3
        assert all(request.options.language is None for request in asked)

    house.run(scenario)


def test_what_has_no_words_says_nothing_of_a_language(house: House) -> None:
    house.recognizer.hears = chances(lambda _: {"en": 1.0}, text="")

    async def scenario(service: SpeechService) -> None:
        assert await language_of(service, house) == HeardLanguage(None, 0.0)

    house.run(scenario)


def test_where_nobody_speaks_nobody_is_asked(house: House) -> None:
    house.detector.spans = ()

    async def scenario(service: SpeechService) -> None:
        assert await language_of(service, house) == HeardLanguage(None, 0.0)
        assert house.recognizer.calls == []

    house.run(scenario)


def test_no_more_is_heard_than_it_takes(house: House) -> None:
    house.sound.write_bytes(wav_bytes(clock_pcm(300.0)))
    house.detector.spans = tuple(SpeechSpan(start, start + 5.0) for start in range(0, 110, 10))

    async def scenario(service: SpeechService) -> None:
        await language_of(service, house)
        pieces = [request.piece for call in house.recognizer.calls for request in call]
        assert SPEECH_SECONDS <= sum(piece.seconds for piece in pieces) <= SPEECH_SECONDS + 15
        assert max(piece.start for piece in pieces) < 70

    house.run(scenario)


def test_no_more_is_decoded_than_is_searched(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.sound.write_bytes(wav_bytes(clock_pcm(300.0)))
    searched: list[float] = []

    def detect(sound: Sound, _options: SpeechDetection) -> list[SpeechSpan]:
        searched.append(sound.duration)
        return list(SPANS)

    monkeypatch.setattr(house.detector, "detect", detect)

    async def scenario(service: SpeechService) -> None:
        await language_of(service, house)
        (seconds,) = searched
        assert LEADING_SECONDS <= seconds < LEADING_SECONDS + 5

    house.run(scenario)


def test_a_recording_longer_than_may_be_transcribed_has_a_language(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        assert (await language_of(service, house)).code == "en"

    house.sound.write_bytes(wav_bytes(clock_pcm(60.0)))
    house.run(scenario, max_audio_seconds=20)


def test_a_recogniser_that_fails_fails_the_request(house: House) -> None:
    def fails(_asked: PieceRequest) -> Hypothesis:
        raise EngineFailure("It died.")

    house.recognizer.hears = fails

    async def scenario(service: SpeechService) -> None:
        with pytest.raises(EngineFailure):
            await language_of(service, house)

    house.run(scenario)
