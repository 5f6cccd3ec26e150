"""A realtime session's settings as clients send them, and what is asked of the core for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_service import LiveService
from openai_server import ABLE, PLAIN

from app.audio.declared import DeclaredSound
from app.domain.errors import InvalidParameter, UnknownVocabulary, UnsupportedFeature
from app.domain.hotwords import Hotword
from app.protocols.openai.realtime.plan import Plan, plan_of, shown
from app.protocols.openai.realtime.settings import SessionSettings, TurnDetection, read_session
from app.settings import Settings

MOST = 100
KNOWN = (
    *("type", "audio", "input", "format", "rate", "noise_reduction", "transcription", "turn_detection", "include"),
    *("model", "language", "languages", "keywords", "prompt", "delay", "vocabulary_id", "voices"),
    *("threshold", "prefix_padding_ms", "silence_duration_ms", "eagerness", "enable_speaker_diarization"),
    *("input_audio_format", "input_audio_transcription", "input_audio_noise_reduction"),
)
VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=8)),
    st.sampled_from(["transcription", "audio/pcm", "audio/pcmu", "pcm16", "server_vad", "semantic_vad", "near_field"]),
)
OBJECTS = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KNOWN), inner, max_size=5),
    max_leaves=20,
)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LiveService]:
    made = LiveService(Settings(_env_file=None, temp_dir=tmp_path, data_dir=tmp_path / "data", max_hotwords=MOST))
    yield made
    asyncio.run(made.voices.close())
    asyncio.run(made.vocabularies.close())


def read(*said: Any) -> SessionSettings:
    """The settings after several updates."""
    settings = SessionSettings()
    for one in said:
        settings = read_session(one, settings, MOST)
    return settings


def heard(**audio_input: Any) -> dict[str, Any]:
    return {"type": "transcription", "audio": {"input": audio_input}}


def plan(service: LiveService, *said: Any) -> Plan:
    return asyncio.run(plan_of(read(*said), service, ""))


@given(OBJECTS, OBJECTS)
def test_whatever_is_sent_is_settings_or_an_error_that_says_where(first: object, second: object) -> None:
    settings = SessionSettings()
    for said in (first, {"audio": {"input": second}}):
        try:
            settings = read_session(said, settings, MOST)
        except InvalidParameter as error:
            assert error.param is not None
            assert error.param.startswith("session")
    assert isinstance(settings, SessionSettings)


def test_what_is_left_out_stays_and_null_is_the_default() -> None:
    transcription = {"model": "whisper-1", "language": "en", "prompt": "A talk."}
    first = heard(format={"type": "audio/pcmu"}, transcription=transcription, noise_reduction={"type": "far_field"})

    kept = read(first, heard(transcription={"language": "zh"}), heard(turn_detection={"threshold": 0.7}))
    assert kept.sound == DeclaredSound("mulaw", 8000)
    assert (kept.transcribing.model, kept.transcribing.language, kept.transcribing.prompt) == (
        *("whisper-1", "zh", "A talk."),
    )
    assert (kept.noise, kept.detection) == ("far_field", TurnDetection(threshold=0.7))

    reset = read(first, heard(format=None, transcription=None, noise_reduction=None, turn_detection=None))
    assert reset == SessionSettings(detection=None, detection_said=True)


def test_another_kind_of_turn_detection_begins_with_its_own_defaults() -> None:
    said = heard(turn_detection={"type": "server_vad", "silence_duration_ms": 900})

    assert read(said, heard(turn_detection={"type": "semantic_vad"})).detection == TurnDetection(type="semantic_vad")
    assert read(said, heard(turn_detection={"threshold": 0.1})).detection == TurnDetection(
        threshold=0.1, silence_duration=900
    )
    assert read(heard(turn_detection=None), heard(turn_detection={})).detection == TurnDetection()


def test_one_language_takes_the_place_of_several_and_the_other_way_round() -> None:
    several, one = heard(transcription={"languages": ["en", "zh"]}), heard(transcription={"language": "en"})

    assert read(several, one).transcribing.languages == ()
    assert read(one, several).transcribing.language is None


@pytest.mark.parametrize(
    ("detection", "silence"),
    [
        ({"type": "server_vad"}, 0.5),
        ({"type": "server_vad", "silence_duration_ms": 1200}, 1.2),
        ({"type": "server_vad", "silence_duration_ms": 0}, 0.2),
        ({"type": "semantic_vad"}, 0.8),
        ({"type": "semantic_vad", "eagerness": "low"}, 1.5),
        ({"type": "semantic_vad", "eagerness": "high"}, 0.5),
        (None, None),
    ],
)
def test_silence_that_ends_a_turn(service: LiveService, detection: object, silence: float | None) -> None:
    assert plan(service, heard(turn_detection=detection)).live.silence_seconds == silence


@pytest.mark.parametrize(("said", "least"), [(0.5, None), (0.0, 0.05), (0.25, 0.425), (0.75, 0.875), (1.0, 0.95)])
def test_openais_middle_is_the_detectors_own_threshold(service: LiveService, said: float, least: float | None) -> None:
    threshold = plan(service, heard(turn_detection={"threshold": said})).live.threshold

    assert threshold == (None if least is None else pytest.approx(least))


def test_keywords_are_listened_for_with_a_stored_vocabularys(service: LiveService) -> None:
    async def stored() -> Plan:
        made = await service.vocabularies.create("", "names", (Hotword("Zhang"),))
        transcription = {"keywords": ["Kubernetes", "San Francisco"], "vocabulary_id": made.id}
        return await plan_of(read(heard(transcription=transcription)), service, "")

    terms = [hotword.text for hotword in asyncio.run(stored()).options.hotwords]
    assert terms == ["Kubernetes", "San Francisco", "Zhang"]


def test_nobody_elses_vocabulary_is_there(service: LiveService) -> None:
    async def stored() -> None:
        made = await service.vocabularies.create("other", "names", (Hotword("Zhang"),))
        await plan_of(read(heard(transcription={"vocabulary_id": made.id})), service, "me")

    with pytest.raises(UnknownVocabulary):
        asyncio.run(stored())


def test_hints_that_a_model_cannot_take_are_not_shown(tmp_path: Path) -> None:
    service = LiveService(Settings(_env_file=None, data_dir=tmp_path, asr_hotword_correction=False))
    said = heard(transcription={"model": PLAIN.id, "keywords": ["词"], "prompt": "A talk."})
    settings = read(said)
    made = asyncio.run(plan_of(settings, service, ""))
    session = json.loads(json.dumps(shown("sess_1", settings, made, flat=False)))

    assert session["audio"]["input"]["transcription"] == {"model": PLAIN.id, "language": None, "prompt": None}
    with pytest.raises(UnsupportedFeature):
        asyncio.run(plan_of(read(said, heard(transcription={"vocabulary_id": "词"})), service, ""))


@pytest.mark.parametrize(
    ("languages", "asked"),
    [
        ([], (None, ())),
        (["en"], ("en", ())),
        (["en", "fr"], (None, ("en",))),
        (["zh", "English"], (None, ("zh", "en"))),
    ],
)
def test_languages_that_may_be_spoken(
    service: LiveService, languages: list[str], asked: tuple[str | None, tuple[str, ...]]
) -> None:
    options = plan(service, heard(transcription={"languages": languages})).options

    assert (options.language, options.languages) == asked
    assert ABLE.capabilities.languages >= set(asked[1])


@pytest.mark.parametrize("voices", ["all", "Ann, Bob", ["all"]])
def test_voices_are_those_of_the_other_protocols(service: LiveService, voices: object) -> None:
    settings = read(heard(transcription={"voices": voices}))

    assert settings.transcribing.voices in {"all", "Ann, Bob", ("all",)}
    assert read(heard(transcription={"voices": []})).transcribing.voices is None


def settings_of(said: dict[str, Any], before: SessionSettings = SessionSettings()) -> SessionSettings:  # noqa: B008 - frozen
    return read_session({"audio": {"input": said}}, before, 100)


def test_null_is_the_default_within_turn_detection_too() -> None:
    before = settings_of({"turn_detection": {"type": "server_vad", "threshold": 0.9, "silence_duration_ms": 900}})
    after = settings_of(
        {"turn_detection": {"type": "server_vad", "threshold": None, "silence_duration_ms": None}}, before
    )
    assert after.detection == TurnDetection()


def test_a_rate_that_is_left_out_stays() -> None:
    before = settings_of({"format": {"type": "audio/pcm", "rate": 16_000}})
    assert settings_of({"format": {"type": "audio/pcm"}}, before).sound.rate == 16_000
    assert settings_of({"format": None}, before).sound.rate == 24_000
    assert (
        settings_of({"format": {"type": "audio/pcm"}}, settings_of({"format": {"type": "audio/pcmu"}})).sound.rate
        == 24_000
    )


def test_turns_end_by_themselves_again_once_the_model_that_ends_none_is_taken_back() -> None:
    before = settings_of({"transcription": {"model": "gpt-realtime-whisper"}})
    assert before.detection is None
    for taken_back in (None, {"model": None}):
        assert settings_of({"transcription": taken_back}, before).detection == TurnDetection()
