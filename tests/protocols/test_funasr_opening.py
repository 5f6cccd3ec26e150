"""What FunASR's clients say in text messages, each in its own way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_server import ABLE, PLAIN, FakeService

from app.domain.errors import (
    InvalidHotwords,
    InvalidParameter,
    ModelUnavailable,
    RequestError,
    UnknownModel,
    UnknownVoice,
    UnsupportedFeature,
)
from app.domain.hotwords import Hotword
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.protocols.funasr.opening import LONGEST_MESSAGE, Control, Opening, OtherDialect, options_of, read_control
from app.settings import Settings

OFFICIAL = {
    "mode": "2pass",
    "chunk_size": [5, 10, 5],
    "chunk_interval": 10,
    "encoder_chunk_look_back": 4,
    "decoder_chunk_look_back": 0,
    "audio_fs": 16000,
    "wav_name": "demo",
    "wav_format": "pcm",
    "is_speaking": True,
    "hotwords": "阿里巴巴,达摩院",
    "itn": True,
}
BROWSER = {
    "chunk_size": [5, 10, 5],
    "wav_name": "h5",
    "is_speaking": True,
    "chunk_interval": 10,
    "itn": False,
    "mode": "offline",
    "wav_format": "PCM",
    "audio_fs": 8000,
}
CSHARP = {"mode": "office", "chunk_size": "5,10,5", "hotwords": "魔搭 20\n阿里 30", "is_speaking": True}


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    return FakeService(Settings(_env_file=None, data_dir=tmp_path))


def read(message: object, before: Opening | None = None) -> Control:
    return read_control(message if isinstance(message, str) else json.dumps(message), before or Opening())


def options(service: FakeService, opening: Opening) -> RecognitionOptions:
    return asyncio.run(options_of(opening, service, "someone"))[1]


def test_an_empty_message_means_what_it_means_to_the_cpp_server() -> None:
    control = read({})

    assert not control.ends
    assert control.opening == Opening(
        mode="2pass", wav_name="wav-default-id", bare=True, rate=16_000, hotwords="", itn=True
    )


def test_the_official_client_is_understood() -> None:
    assert read(OFFICIAL).opening == Opening(wav_name="demo", hotwords="阿里巴巴,达摩院")


def test_the_browser_client_is_understood() -> None:
    assert read(BROWSER).opening == Opening(mode="offline", wav_name="h5", rate=8000, itn=False)


def test_the_csharp_client_is_understood_with_its_misspelt_mode_and_chunk_size_in_a_string() -> None:
    opening = read(CSHARP).opening

    assert opening.mode == "offline"
    assert opening.hotwords == "魔搭 20\n阿里 30"


def test_null_is_like_nothing_said() -> None:
    nothing = dict.fromkeys(
        [
            "mode",
            "wav_name",
            "wav_format",
            "audio_fs",
            "hotwords",
            "itn",
            "svs_lang",
            "language",
            "model",
            "is_speaking",
        ]
    )

    assert read(nothing) == Control(Opening())


@pytest.mark.parametrize(
    ("said", "bare"),
    [("pcm", True), ("PCM", True), ("wav", True), ("", True), ("mp3", False), ("others", False), ("webm", False)],
)
def test_formats_without_a_file_around_the_samples_are_told_from_files(said: str, bare: bool) -> None:
    assert read({"wav_format": said}).opening.bare is bare


def test_what_a_later_message_leaves_out_stays_as_it_was() -> None:
    before = read(OFFICIAL | {"audio_fs": 8000, "mode": "online"}).opening

    after = read({"is_speaking": True, "wav_name": "second"}, before).opening

    assert (after.mode, after.rate, after.wav_name) == ("online", 8000, "second")


@pytest.mark.parametrize(
    "said", [{"is_speaking": False}, {"is_finished": True}, {"is_speaking": 0}, {"is_speaking": "false"}]
)
def test_every_way_to_say_the_end_is_understood(said: dict[str, object]) -> None:
    control = read(said)

    assert control.ends
    assert not control.wants_ack


def test_the_end_may_ask_to_be_acknowledged() -> None:
    assert read({"is_speaking": False, "is_end": True}) == Control(Opening(), ends=True, wants_ack=True)


def test_an_end_that_repeats_the_configuration_changes_nothing() -> None:
    before = read(OFFICIAL).opening

    control = read(BROWSER | {"is_speaking": False}, before)

    assert control == Control(before, ends=True)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, "16000", 16000.0])
def test_every_rate_that_clients_may_say_is_taken(rate: object) -> None:
    assert read({"audio_fs": rate}).opening.rate == int(float(str(rate)))


@pytest.mark.parametrize("rate", [7999, 48001, 0, -1, "fast", True, [16000], float("nan"), float("inf")])
def test_other_rates_are_refused(rate: object) -> None:
    with pytest.raises(InvalidParameter) as refused:
        read({"audio_fs": rate})

    assert refused.value.param == "audio_fs"


@pytest.mark.parametrize(("key", "value"), [("mode", "3pass"), ("itn", "perhaps"), ("language", 5), ("model", ["a"])])
def test_a_value_that_makes_no_sense_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(InvalidParameter) as refused:
        read({key: value})

    assert refused.value.param == key


@pytest.mark.parametrize("text", ["", "hello", "[1]", "5", '"a"', "null", "{", '{"mode":', "[" * 100_000])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="JSON object"):
        read(text)


@pytest.mark.parametrize("text", ["START", "STOP", "commit", "HOTWORDS:a,b", "LANGUAGE:中文"])
def test_commands_of_the_other_server_are_told_what_is_spoken_here(text: str) -> None:
    with pytest.raises(OtherDialect, match="runtime protocol"):
        read(text)


def test_a_message_is_not_read_at_any_length() -> None:
    with pytest.raises(InvalidParameter, match="at most"):
        read({"hotwords": "字" * LONGEST_MESSAGE})


def test_a_name_is_kept_to_a_length() -> None:
    assert len(read({"wav_name": "a" * 5000}).opening.wav_name) == 1000


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda it: st.lists(it) | st.dictionaries(st.text(), it)
    )
)
def test_whatever_is_sent_is_read_or_refused(message: object) -> None:
    for said in (message, dict.fromkeys(OFFICIAL, message)):
        try:
            read(said)
        except InvalidParameter:
            continue


# --- what is asked of the recogniser ----------------------------------------------------------------------------------


def test_numbers_are_left_as_they_are_said_where_the_client_wants_that(service: FakeService) -> None:
    assert options(service, Opening(itn=False)).itn is False
    assert options(service, Opening(itn=True)).itn is None, "the recogniser's own writing"


def test_times_are_always_asked_for(service: FakeService) -> None:
    assert options(service, Opening()).timed


@pytest.mark.parametrize(
    ("said", "terms"),
    [
        ('{"阿里巴巴":20,"通义":20}', ["阿里巴巴", "通义"]),
        ("阿里巴巴,达摩院", ["阿里巴巴", "达摩院"]),
        ("阿里巴巴 达摩院", ["阿里巴巴", "达摩院"]),
        ("魔搭 20\n阿里 30", ["魔搭", "阿里"]),
        ("", []),
        ("{}", []),
    ],
)
def test_hotwords_are_read_in_every_way_they_are_sent(service: FakeService, said: str, terms: list[str]) -> None:
    assert [hotword.text for hotword in options(service, Opening(hotwords=said)).hotwords] == terms


def test_hotwords_sent_as_json_instead_of_json_in_a_string_are_read_too(service: FakeService) -> None:
    opening = read({"hotwords": {"阿里巴巴": 20}}).opening

    assert options(service, opening).hotwords == (Hotword("阿里巴巴"),)


def test_the_old_name_of_hotwords_is_known(service: FakeService) -> None:
    assert options(service, read({"hotword": "达摩院"}).opening).hotwords == (Hotword("达摩院"),)


def test_null_takes_hotwords_back() -> None:
    before = read({"hotwords": "达摩院"}).opening

    assert read({"hotwords": None}, before).opening.hotwords == ""


def test_hotwords_that_cannot_be_read_are_refused(service: FakeService) -> None:
    with pytest.raises(InvalidHotwords):
        options(service, Opening(hotwords='{"阿里'))


def test_hotwords_are_refused_where_nothing_listens_for_them(tmp_path: Path) -> None:
    service = FakeService(Settings(_env_file=None, data_dir=tmp_path, asr_hotword_correction=False))

    with pytest.raises(UnsupportedFeature, match="hotwords"):
        options(service, Opening(hotwords="达摩院", model=PLAIN.id))


@pytest.mark.parametrize("said", ["auto", "", "nospeech"])
def test_no_language_is_one_to_be_detected(service: FakeService, said: str) -> None:
    opening = read({"svs_lang": said}).opening

    assert options(service, opening).language is None


@pytest.mark.parametrize("key", ["svs_lang", "language"])
@pytest.mark.parametrize("said", ["zh", "ZH", "Chinese"])
def test_a_language_is_taken_from_either_key(service: FakeService, key: str, said: str) -> None:
    assert options(service, read({key: said}).opening).language == "zh"


def test_the_servers_own_key_counts_more_than_sensevoices(service: FakeService) -> None:
    assert options(service, read({"svs_lang": "zh", "language": "en"}).opening).language == "en"
    assert options(service, read({"svs_lang": "zh", "language": "auto"}).opening).language is None


def test_a_hint_the_model_does_not_know_is_left_out_but_a_language_is_refused(service: FakeService) -> None:
    assert options(service, read({"svs_lang": "ja"}).opening).language is None
    with pytest.raises(UnsupportedFeature, match="de, en, yue, zh"):
        options(service, read({"language": "ja"}).opening)
    with pytest.raises(InvalidParameter):
        options(service, read({"language": "klingonese"}).opening)


def test_a_model_may_be_named(service: FakeService) -> None:
    assert asyncio.run(options_of(read({"model": PLAIN.id}).opening, service, "someone"))[0] == PLAIN
    assert asyncio.run(options_of(read({}).opening, service, "someone"))[0] == ABLE
    with pytest.raises(UnknownModel):
        options(service, read({"model": "nobody"}).opening)


# --- speakers ---------------------------------------------------------------------------------------------------------


def test_speakers_are_told_apart_only_where_that_is_asked_for(service: FakeService) -> None:
    assert options(service, read({}).opening).speakers is None
    assert options(service, read({"enable_speaker_diarization": False}).opening).speakers is None
    for yes in (True, 1, "true"):
        assert options(service, read({"enable_speaker_diarization": yes}).opening).speakers == SpeakerOptions()


def test_what_was_said_of_speakers_holds_for_what_follows(service: FakeService) -> None:
    first = read({"enable_speaker_diarization": True}).opening
    assert options(service, read({"mode": "offline"}, first).opening).speakers == SpeakerOptions()
    assert options(service, read({"enable_speaker_diarization": False}, first).opening).speakers is None


@pytest.mark.parametrize(
    ("said", "error", "param"),
    [
        ({"enable_speaker_diarization": "perhaps"}, InvalidParameter, "enable_speaker_diarization"),
        ({"voices": 7}, InvalidParameter, "voices"),
        ({"voices": ["Rumpel"]}, UnknownVoice, "voices"),
        ({"voices": "all", "enable_speaker_diarization": False}, InvalidParameter, "voices"),
    ],
)
def test_what_makes_no_sense_of_speakers_is_refused(
    service: FakeService, said: dict[str, object], error: type[RequestError], param: str
) -> None:
    with pytest.raises(error) as caught:
        options(service, read(said).opening)
    assert caught.value.param == param


def test_a_server_that_cannot_tell_speakers_says_so(service: FakeService) -> None:
    service.has_speakers(False)
    with pytest.raises(ModelUnavailable):
        options(service, read({"enable_speaker_diarization": True}).opening)
