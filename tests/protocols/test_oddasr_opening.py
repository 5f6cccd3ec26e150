"""What a first message of OddASR's protocol asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_service import LiveService
from openai_server import ABLE, PLAIN

from app.audio.declared import DeclaredSound
from app.domain import errors
from app.domain.options import LiveOptions, RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.protocols.oddasr import wire
from app.protocols.oddasr.opening import KNOWN, WITHOUT_EFFECT, Start, read_start
from app.protocols.oddasr.wire import read_command
from app.settings import Settings


@pytest.fixture
def service(tmp_path: Any) -> Iterator[LiveService]:
    service = LiveService(Settings(_env_file=None, temp_dir=tmp_path, data_dir=tmp_path / "data"))
    yield service
    asyncio.run(service.voices.close())
    asyncio.run(service.vocabularies.close())


def read(service: LiveService, **said: object) -> Start:
    return asyncio.run(read_start({"name": "StartTranscription", **said}, service, "owner"))


def test_what_the_clients_say_is_enough(service: LiveService) -> None:
    start = read(service, message_id="", token="", task_id="")

    assert start.model == ABLE
    assert start.options == RecognitionOptions()
    assert start.live == LiveOptions(silence_seconds=0.8, longest_seconds=service.settings.max_utterance_seconds)
    assert start.declared == DeclaredSound("s16le", 16_000)
    assert start.unknown == ()


@pytest.mark.parametrize("where", ["flat", "payload"])
def test_everything_can_be_said(service: LiveService, where: str) -> None:
    fields: dict[str, object] = {
        "model": "able",
        "format": "WAV",
        "sample_rate": "8000",
        "language": "zh",
        "hotwords": "富士康 20",
        "enable_intermediate_result": "false",
        "enable_punctuation_prediction": False,
        "enable_inverse_text_normalization": 0,
        "enable_words": False,
        "max_sentence_silence": 1200,
        "near_field": True,
        "enable_speaker_diarization": True,
    }
    start = read(service, **(fields if where == "flat" else {"payload": fields}))

    assert start.options.language == "zh"
    assert [hotword.text for hotword in start.options.hotwords] == ["富士康"]
    assert (start.options.punctuation, start.options.itn, start.options.timed) == (False, False, False)
    assert start.options.speakers == SpeakerOptions()
    assert start.live == LiveOptions(1.2, service.settings.max_utterance_seconds, partials=False, near_field=True)
    assert start.declared == DeclaredSound("s16le", 8_000)


def test_a_browsers_spelling_of_the_rate_counts(service: LiveService) -> None:
    assert read(service, samplerate=48_000).declared.rate == 48_000


@pytest.mark.parametrize(("said", "seconds"), [(1, 0.2), (200, 0.2), ("800", 0.8), (1e9, 6.0)])
def test_silence_is_brought_within_its_bounds(service: LiveService, said: object, seconds: float) -> None:
    assert read(service, max_sentence_silence=said).live.silence_seconds == seconds


def test_hotwords_may_be_json_and_stored_ones_are_added(service: LiveService) -> None:
    start = read(service, hotwords={"阿里": 20}, vocabulary_id="达摩院 10")

    assert [hotword.text for hotword in start.options.hotwords] == ["阿里", "达摩院"]


def test_what_oddasr_declares_and_ignores_is_not_strange(service: LiveService) -> None:
    declared = dict.fromkeys(WITHOUT_EFFECT, True)

    assert read(service, **declared, colour="red", payload={"taste": 1}).unknown == ("colour", "taste")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"format": "opus"}, errors.InvalidParameter),
        ({"format": 1}, errors.InvalidParameter),
        ({"sample_rate": 4000}, errors.InvalidParameter),
        ({"sample_rate": 16000.5}, errors.InvalidParameter),
        ({"sample_rate": "fast"}, errors.InvalidParameter),
        ({"sample_rate": True}, errors.InvalidParameter),
        ({"sample_rate": float("inf")}, errors.InvalidParameter),
        ({"sample_rate": 10**400}, errors.InvalidParameter),
        ({"enable_words": "perhaps"}, errors.InvalidParameter),
        ({"language": "klingon"}, errors.InvalidParameter),
        ({"language": "fr"}, errors.UnsupportedFeature),
        ({"model": "nobody"}, errors.UnknownModel),
        ({"hotwords": {"term": -5}}, errors.InvalidHotwords),
        ({"vocabulary_id": "0" * 32}, errors.UnknownVocabulary),
        ({"enable_speaker_diarization": "yes"}, errors.InvalidParameter),
        ({"voices": ["Nobody"]}, errors.UnknownVoice),
        ({"payload": []}, errors.InvalidParameter),
    ],
)
def test_what_makes_no_sense_is_an_error(
    service: LiveService, said: dict[str, object], error: type[errors.SpeechError]
) -> None:
    with pytest.raises(error):
        read(service, **said)


def test_a_model_that_cannot_hear_hotwords_says_so(service: LiveService) -> None:
    service.settings.asr_hotword_correction = False

    with pytest.raises(errors.UnsupportedFeature, match="cannot listen for hotwords"):
        read(service, model=PLAIN.id, hotwords="阿里")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(KNOWN)), _VALUES, max_size=5))
def test_whatever_is_said_is_a_start_or_an_error_of_ours(said: dict[str, object]) -> None:
    command = read_command(json.dumps(said))
    with TemporaryDirectory() as folder:
        service = LiveService(Settings(_env_file=None, temp_dir=folder, data_dir=folder))
        try:
            start = asyncio.run(read_start(command.fields, service, "owner"))
        except errors.SpeechError as error:
            assert wire.failed(command, "", error)["header"]
        else:
            assert wire.acknowledged(command, "task", start.unknown)["header"]
        finally:
            asyncio.run(service.voices.close())
            asyncio.run(service.vocabularies.close())
