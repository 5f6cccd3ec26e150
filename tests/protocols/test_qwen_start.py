"""Qwen's live protocol: what a start may ask for, and what is made of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_server import ABLE, PLAIN, UNMARKED, FakeService

from app.audio.declared import DeclaredSound
from app.domain.errors import InvalidParameter, RequestError, UnknownModel, UnknownVoice, UnsupportedFeature
from app.domain.hotwords import Hotword
from app.domain.speakers import SpeakerOptions
from app.protocols.qwen.parameters import LONGEST_CONTEXT, Start, read_start
from app.protocols.qwen.wire import MOST_CHARACTERS, Command, InvalidMessage, read_command
from app.settings import Settings

SEED = {
    "format": "pcm",
    "sample_rate": 16000,
    "language": None,
    "context": "",
    "chunk_size_sec": 2.0,
    "unfixed_chunk_num": 2,
    "unfixed_token_num": 5,
}
"""What funasr-api's own client says."""


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    return FakeService(Settings(_env_file=None, data_dir=tmp_path))


def start(service: FakeService, **payload: object) -> Start:
    return asyncio.run(read_start(Command("start", payload), service, "owner"))


def test_a_start_that_says_nothing_means_what_it_means_in_funasr_api(service: FakeService) -> None:
    asked = start(service)
    assert asked.model is ABLE
    assert asked.sound == DeclaredSound("s16le", 16_000)
    assert (asked.live.silence_seconds, asked.live.longest_seconds) == (2.0, 60.0)
    assert asked.live.partials
    assert (asked.options.language, asked.options.prompt, asked.options.hotwords) == (None, "", ())
    assert (asked.options.itn, asked.options.timed, asked.options.speakers) == (None, False, None)
    assert asked.params.items() >= (SEED | {"chunk_size_sec": 0.5}).items()
    assert asked.unknown == ()


def test_what_was_asked_for_is_told_as_it_was(service: FakeService) -> None:
    asked = start(service, **SEED | {"unfixed_chunk_num": 4, "language": "zh"})
    assert asked.params.items() >= (SEED | {"unfixed_chunk_num": 4, "language": "Chinese"}).items()
    assert asked.chunk_seconds == 2.0


@pytest.mark.parametrize("said", ["Chinese", "chinese", " zh ", "zh-CN", "Mandarin"])
def test_a_language_has_a_name_and_a_code(service: FakeService, said: str) -> None:
    asked = start(service, language=said)
    assert asked.options.language == "zh"
    assert asked.params["language"] == "Chinese"


@pytest.mark.parametrize("said", [None, "", "auto"])
def test_no_language_is_found_out(service: FakeService, said: str | None) -> None:
    assert start(service, language=said).options.language is None


def test_where_the_model_takes_a_prompt_the_context_is_one(service: FakeService) -> None:
    options = start(service, context=" A talk about 巴黎, by Burgess. ").options
    assert options.prompt == "A talk about 巴黎, by Burgess."
    assert options.hotwords == ()


def test_elsewhere_it_is_a_list_of_hotwords(service: FakeService) -> None:
    options = start(service, context="阿里巴巴 达摩院", model=UNMARKED.id).options
    assert options.prompt == ""
    assert options.hotwords == (Hotword("阿里巴巴"), Hotword("达摩院"))


@pytest.mark.parametrize("context", ["今天讨论人工智能。", "This is about Paris. And more."])
def test_where_it_is_no_list_the_client_is_told_what_to_send(service: FakeService, context: str) -> None:
    with pytest.raises(UnsupportedFeature, match="takes hotwords, not a text"):
        start(service, context=context, model=UNMARKED.id)


def test_a_context_of_which_nothing_can_be_made_is_refused(tmp_path: Path) -> None:
    service = FakeService(Settings(_env_file=None, data_dir=tmp_path, asr_hotword_correction=False))
    with pytest.raises(UnsupportedFeature, match="neither") as refused:
        start(service, context="阿里巴巴", model=PLAIN.id)
    assert refused.value.param == "context"
    with pytest.raises(UnsupportedFeature) as refused:
        start(service, hotwords="阿里巴巴", model=PLAIN.id)
    assert refused.value.param == "hotwords"


def test_hotwords_may_stand_by_themselves_and_in_a_vocabulary(service: FakeService) -> None:
    options = start(
        service, hotwords=["Anthony Burgess", {"text": "巴黎", "weight": 2}], vocabulary_id="达摩院"
    ).options
    assert [hotword.text for hotword in options.hotwords] == ["Anthony Burgess", "巴黎", "达摩院"]


def test_words_are_timed_where_they_are_asked_for(service: FakeService) -> None:
    for name in ("word_timestamps", "enable_words"):
        asked = start(service, **{name: True})
        assert asked.words
        assert asked.options.timed
        assert asked.params["word_timestamps"] is True
        with pytest.raises(UnsupportedFeature) as refused:
            start(service, **{name: True}, model=PLAIN.id)
        assert refused.value.param == name


def test_numbers_become_digits_unless_they_are_not_to(service: FakeService) -> None:
    name = "enable_inverse_text_normalization"
    assert [start(service, **{name: said}).options.itn for said in (True, False, None)] == [True, False, None]
    service.can_write(punctuation=True, numbers=False)
    assert start(service, **{name: True}).options.itn is None


def test_marks_are_left_out_where_they_are_not_wanted(service: FakeService) -> None:
    assert not start(service, enable_punctuation_prediction=False).options.punctuation


def test_how_long_a_silence_ends_a_segment_may_be_said(service: FakeService) -> None:
    assert start(service, max_sentence_silence=800).live.silence_seconds == 0.8


def test_speakers_are_told_apart_where_they_are_asked_for(service: FakeService) -> None:
    asked = start(service, enable_speaker_diarization=True)
    assert asked.options.speakers == SpeakerOptions()
    assert asked.options.timed
    with pytest.raises(UnknownVoice):
        start(service, voices=["nobody"])


def test_names_that_mean_nothing_are_told(service: FakeService) -> None:
    command = read_command('{"type": "start", "language": "zh", "payload": {"lang": "zh", "task_id": "x"}}')
    asked = asyncio.run(read_start(command, service, "owner"))
    assert asked.unknown == ("lang", "language", "task_id")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "mp3"),
        ("format", 7),
        ("sample_rate", 4000),
        ("sample_rate", "fast"),
        ("sample_rate", 16000.5),
        ("language", "Klingonese"),
        ("language", ["zh"]),
        ("context", ["阿里巴巴"]),
        ("context", "x" * (LONGEST_CONTEXT + 1)),
        ("chunk_size_sec", 0),
        ("chunk_size_sec", -1),
        ("chunk_size_sec", 1e-9),
        ("chunk_size_sec", 61),
        ("chunk_size_sec", True),
        ("chunk_size_sec", float("nan")),
        ("unfixed_chunk_num", -1),
        ("unfixed_chunk_num", 1.5),
        ("unfixed_token_num", "many"),
        ("unfixed_token_num", 10**400),
        ("word_timestamps", "perhaps"),
        ("max_sentence_silence", 10),
        ("max_sentence_silence", 60_000),
        ("near_field", "no idea"),
        ("hotwords", '{"a"'),
        ("vocabulary_id", "a b 2"),
        ("enable_speaker_diarization", "yes"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(service: FakeService, name: str, value: object) -> None:
    with pytest.raises(InvalidParameter) as refused:
        start(service, **{name: value})
    assert refused.value.param == name
    assert name in refused.value.message or name == "language"


def test_a_model_that_is_not_here_is_named(service: FakeService) -> None:
    with pytest.raises(UnknownModel):
        start(service, model="nobody")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{broken", "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "must be a JSON object"),
        ("7", "must be a JSON object"),
        ("{}", "type must be start or stop"),
        ('{"type": "finish"}', "type must be start or stop"),
        ('{"type": ["start"]}', "type must be start or stop"),
        ('{"type": "start", "payload": [1]}', "payload must be"),
        (" " * (MOST_CHARACTERS + 1), "characters at most"),
    ],
)
def test_a_message_that_is_no_command_is_told_what_would_be_one(text: str, told: str) -> None:
    with pytest.raises(InvalidMessage, match=told):
        read_command(text)


@pytest.mark.parametrize("payload", ["", ', "payload": null', ', "payload": "bye"'])
def test_a_stop_is_a_stop_whatever_else_it_says(payload: str) -> None:
    assert read_command('{"type": "stop"' + payload + "}").type == "stop"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [*SEED, "model", "hotwords", "vocabulary_id", "word_timestamps", "max_sentence_silence", "voices", "near_field"]
)


@given(st.dictionaries(NAMES | st.text(max_size=6), VALUES, max_size=5))
def test_whatever_a_start_says_it_is_heard_or_refused(
    tmp_path_factory: pytest.TempPathFactory, payload: dict[str, object]
) -> None:
    service = FakeService(Settings(_env_file=None, data_dir=tmp_path_factory.getbasetemp() / "fuzzed"))
    try:
        asked = start(service, **payload)
    except RequestError as error:
        assert error.message
    else:
        assert 0.2 <= (asked.live.silence_seconds or 0) <= 6.0
        assert 0.02 <= asked.chunk_seconds <= 60
