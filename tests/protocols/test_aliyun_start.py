"""What a start of Alibaba Cloud's protocol asks for, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aliyun_server import KEY, AliyunServer, serving_aliyun

from app.audio.declared import DeclaredSound
from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.protocols.aliyun.parameters import KNOWN
from app.protocols.aliyun.wire import Status
from app.service.auth import KeyRing

SEED, CLOUD = "/ws/v1/asr", "/ws/v1"
OWNER = KeyRing([KEY]).owner([(b"x-nls-token", KEY.encode())])


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AliyunServer]:
    with serving_aliyun(tmp_path_factory.mktemp("aliyun")) as running:
        yield running


@pytest.fixture
def server(_server: AliyunServer) -> AliyunServer:
    _server.service.forget()
    return _server


def heard(server: AliyunServer, path: str = CLOUD, speech: str = "Transcription", **payload: object) -> None:
    """Have a task begin."""
    with server.talk(path, speech=speech) as client:
        answer = client.start(**payload)
        assert answer["header"]["name"] == f"{speech}Started", answer["header"]


def refused(server: AliyunServer, speech: str = "Transcription", **payload: object) -> tuple[int, str]:
    """The failure that a start ends in, and with it the connection."""
    with server.talk(speech=speech) as client:
        client.say(f"Start{speech}", payload)
        failure = client.fails()
        assert client.ends() == 1000
    return failure


# --- defaults ---------------------------------------------------------------------------------------------------------


def test_on_the_real_services_path_nothing_is_on_that_was_not_asked_for(server: AliyunServer) -> None:
    heard(server)
    assert server.heard.options == RecognitionOptions(punctuation=False, itn=False, timed=False)
    assert server.heard.live.partials is False
    assert server.heard.live.silence_seconds == 0.8
    assert server.heard.live.near_field is False
    assert server.heard.live.threshold is None
    assert server.heard.live.longest_seconds == server.service.settings.max_utterance_seconds
    assert server.heard.declared == DeclaredSound("s16le", 16_000)
    assert server.heard.model == "able"
    assert server.heard.caller.key == OWNER


@pytest.mark.parametrize("path", [SEED, "/ws/v1/asr/funasr"])
def test_on_funasr_apis_paths_everything_is_on_that_was_there(server: AliyunServer, path: str) -> None:
    heard(server, path)
    assert server.heard.options == RecognitionOptions(punctuation=True, itn=None, timed=False)
    assert server.heard.live.partials is True
    assert server.heard.live.silence_seconds == 0.8


def test_what_is_said_counts_on_every_path(server: AliyunServer) -> None:
    said = {
        "enable_intermediate_result": False,
        "enable_punctuation_prediction": False,
        "enable_inverse_text_normalization": False,
    }
    heard(server, SEED, **said)
    assert server.heard.options == RecognitionOptions(punctuation=False, itn=False, timed=False)
    assert server.heard.live.partials is False
    heard(server, CLOUD, **dict.fromkeys(said, True))
    assert server.heard.options == RecognitionOptions(punctuation=True, itn=True, timed=False)
    assert server.heard.live.partials is True


def test_null_and_nothing_at_all_are_the_default(server: AliyunServer) -> None:
    heard(server, SEED, enable_intermediate_result=None, sample_rate="", format=None, model="", language=" ")
    assert server.heard.live.partials is True
    assert server.heard.declared == DeclaredSound("s16le", 16_000)
    with server.talk() as client:
        client.say("StartTranscription")  # no payload
        assert client.next()["header"]["name"] == "TranscriptionStarted"


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("yes", [True, "true", "True", " TRUE ", 1, "1", "yes", "on"])
def test_yes_has_many_spellings(server: AliyunServer, yes: object) -> None:
    heard(server, enable_words=yes)
    assert server.heard.options.timed is True


@pytest.mark.parametrize("no", [False, "false", 0, "0", "no", "OFF"])
def test_no_has_them_too(server: AliyunServer, no: object) -> None:
    heard(server, SEED, enable_punctuation_prediction=no)
    assert server.heard.options.punctuation is False


@pytest.mark.parametrize(
    ("said", "seconds"), [(200, 0.2), ("1500", 1.5), (1500.0, 1.5), (1, 0.2), (-5, 0.2), (99_999, 6.0), (6000, 6.0)]
)
def test_silence_is_brought_within_its_bounds(server: AliyunServer, said: object, seconds: float) -> None:
    heard(server, max_sentence_silence=said)
    assert server.heard.live.silence_seconds == seconds


@pytest.mark.parametrize(
    ("said", "threshold"), [(0, 0.5), ("0.6", 0.8), (-0.5, 0.25), (1, 0.95), (7, 0.95), (-9, 0.05)]
)
def test_the_noise_threshold_is_a_lead_over_noise(server: AliyunServer, said: object, threshold: float) -> None:
    heard(server, speech_noise_threshold=said)
    assert server.heard.live.threshold == pytest.approx(threshold)


def test_only_funasr_apis_paths_filter_what_is_far_unless_the_server_is_set_otherwise(
    server: AliyunServer, tmp_path: Path
) -> None:
    heard(server, path="/ws/v1/asr")
    assert server.heard.live.near_field is True
    with serving_aliyun(tmp_path, asr_enable_nearfield_filter=False) as other:
        heard(other, path="/ws/v1/asr")
        assert other.heard.live.near_field is None


def test_near_field_may_be_said(server: AliyunServer) -> None:
    heard(server, near_field="false")
    assert server.heard.live.near_field is False
    heard(server, near_field=1)
    assert server.heard.live.near_field is True


def test_without_what_writes_digits_the_recogniser_is_left_to_it(server: AliyunServer) -> None:
    server.service.can_write(punctuation=True, numbers=False)
    try:
        heard(server, enable_inverse_text_normalization=True)
    finally:
        server.service.can_write(punctuation=True, numbers=True)
    assert server.heard.options.itn is None


def test_model_and_language_may_be_named(server: AliyunServer) -> None:
    heard(server, model="group/plain", language="zh-CN")
    assert server.heard.model == "group/plain"
    assert server.heard.options.language == "zh"
    heard(server, language="auto")
    assert server.heard.options.language is None


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"enable_words": "perhaps"}, "enable_words must be true or false."),
        ({"enable_words": [True]}, "enable_words must be true or false."),
        ({"sample_rate": "fast"}, "sample_rate must be a number."),
        ({"sample_rate": True}, "sample_rate must be a number."),
        ({"max_sentence_silence": "nan"}, "max_sentence_silence must be a number."),
        ({"max_sentence_silence": 10**400}, "max_sentence_silence must be a number."),
        ({"max_sentence_silence": {}}, "max_sentence_silence must be a number."),
        ({"format": 1}, "format must be a text of at most 512 characters."),
        ({"model": "m" * 600}, "model must be a text of at most 512 characters."),
        ({"model": "unheard-of"}, "No such model here; there is able."),
        ({"language": "klingon"}, "'klingon' is not a language that able knows. It knows: de, en, yue, zh."),
        ({"language": "fr"}, "'fr' is not a language that able knows. It knows: de, en, yue, zh."),
        ({"vocabulary_id": "0" * 32}, "vocabulary"),
        ({"hotwords": {"阿里": "heavy"}}, "hotwords"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(server: AliyunServer, payload: dict[str, object], told: str) -> None:
    status, text = refused(server, **payload)
    assert status == 40000003
    assert text.startswith("Gateway:PARAMETER_INVALID:")
    assert told in text


def test_parameters_nobody_knows_are_told_as_ignored(server: AliyunServer) -> None:
    with server.talk() as client:
        payload = client.start(enable_magic=True, another=1, disfluency=True)["payload"]
        assert payload["ignored"] == ["another", "enable_magic"]
    with server.talk(speech="Recognition") as client:
        assert client.start(another=1)["payload"] == {"ignored": ["another"]}


def test_parameters_of_the_real_service_are_taken_in_silence(server: AliyunServer) -> None:
    with server.talk() as client:
        payload = client.start(
            customization_id="abc",
            disfluency=True,
            enable_semantic_sentence_detection=True,
            enable_ignore_sentence_timeout=True,
            enable_nlp=True,
            nlp_model="any",
        )["payload"]
        assert set(payload) == {"session_id"}


def test_a_session_may_be_named(server: AliyunServer) -> None:
    with server.talk() as client:
        assert client.start(session_id="mine")["payload"] == {"session_id": "mine"}


# --- hotwords ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", ["阿里巴巴 20 通义千问 20", ["阿里巴巴", "通义千问"], {"阿里巴巴": 20, "通义千问": 20}, "阿里巴巴,通义千问"]
)
def test_hotwords_come_in_any_shape(server: AliyunServer, said: object) -> None:
    heard(server, hotwords=said)
    assert server.heard.options.hotwords == (Hotword("阿里巴巴"), Hotword("通义千问"))


def test_a_vocabulary_is_one_that_was_stored_or_a_list_as_in_funasr_api(server: AliyunServer) -> None:
    async def store() -> str:
        made = await server.service.vocabularies.create(OWNER, "names", (Hotword("通义千问"),))
        return made.id

    heard(server, vocabulary_id=asyncio.run(store()), hotwords="阿里巴巴")
    assert server.heard.options.hotwords == (Hotword("阿里巴巴"), Hotword("通义千问"))
    heard(server, SEED, vocabulary_id="达摩院 20 通义 20")
    assert server.heard.options.hotwords == (Hotword("达摩院"), Hotword("通义"))


def test_a_long_list_of_hotwords_has_room(server: AliyunServer) -> None:
    heard(server, vocabulary_id="\n".join(f"名字{number}号" for number in range(2000)))
    assert len(server.heard.options.hotwords) == 2000


# --- words that are not to be read ------------------------------------------------------------------------------------

FILTER = {"filter_with_signed": {"word_list": ["开始"]}, "filter_with_empty": {"word_list": ["测试"]}}


@pytest.mark.parametrize("said", [json.dumps(FILTER), FILTER, FILTER | {"system_reserved_filter": False}])
@pytest.mark.parametrize("speech", ["Transcription", "Recognition"])
def test_special_words_are_masked(server: AliyunServer, speech: str, said: object) -> None:
    heard(server, speech=speech, special_word_filter=said)
    assert server.heard.options.masking == (Masking(("开始",)), Masking(("测试",), "remove"))


def test_sensitive_words_are_masked_as_on_other_routes(server: AliyunServer) -> None:
    async def store() -> str:
        words = (Hotword("通义千问"),)
        return (await server.service.vocabularies.create(OWNER, "secrets", words, kind="sensitive")).id

    heard(server, sensitive_words=[asyncio.run(store()), "飞鸟"], sensitive_words_style="parentheses")
    assert server.heard.options.masking == (Masking(("飞鸟", "通义千问"), "parentheses"),)
    heard(server, sensitive_words="飞鸟", special_word_filter=FILTER)
    assert [one.terms for one in server.heard.options.masking] == [("开始",), ("测试",), ("飞鸟",)]


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"special_word_filter": '{"system_reserved_filter": true}'}, "system_reserved_filter"),
        ({"special_word_filter": "verysecret"}, "special_word_filter"),
        ({"special_word_filter": ["verysecret"]}, "special_word_filter"),
        ({"special_word_filter": {"filter_with_signed": ["verysecret"]}}, "special_word_filter"),
        ({"sensitive_words": 7}, "sensitive_words"),
        ({"sensitive_words": {"verysecret": 1}}, "sensitive_words"),
        ({"sensitive_words": "a", "sensitive_words_style": "blur"}, "sensitive_words_style"),
    ],
)
def test_words_to_mask_that_cannot_be_read_are_refused_and_not_repeated(
    server: AliyunServer, payload: dict[str, object], told: str
) -> None:
    status, text = refused(server, **payload)
    assert status == 40000003
    assert told in text
    assert "verysecret" not in text


def test_as_many_words_to_mask_as_there_may_be(server: AliyunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.service.settings, "max_hotwords", 2)
    heard(server, special_word_filter=FILTER)
    _, text = refused(server, special_word_filter=FILTER, sensitive_words="飞鸟")
    assert "more than 2 sensitive words together" in text


# --- sound ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "declared"),
    [
        ({"format": "PCM", "sample_rate": 8000}, DeclaredSound("s16le", 8_000)),
        ({"format": "pcm", "sample_rate": "44100"}, DeclaredSound("s16le", 44_100)),
        ({"format": "wav", "sample_rate": 48000.0}, DeclaredSound("s16le", 48_000)),
        ({"format": "mulaw"}, DeclaredSound("mulaw", 8_000)),
        ({"format": "ulaw", "sample_rate": 16000}, DeclaredSound("mulaw", 16_000)),
        ({"format": "pcma"}, DeclaredSound("alaw", 8_000)),
        *(({"format": name}, None) for name in ("opus", "opu", "ogg", "speex", "amr", "mp3", "aac", "flac", "webm")),
    ],
)
def test_formats_and_rates(server: AliyunServer, payload: dict[str, object], declared: DeclaredSound | None) -> None:
    heard(server, **payload)
    assert server.heard.declared == declared


@pytest.mark.parametrize("rate", [7999, 48001, 0, -1, 1e12])
def test_rates_nobody_sends(server: AliyunServer, rate: object) -> None:
    status, text = refused(server, sample_rate=rate)
    assert (status, text) == (41010101, "Gateway:UNSUPPORTED_SAMPLE_RATE:sample_rate must be 8000 to 48000 Hz.")


def test_formats_nobody_knows(server: AliyunServer) -> None:
    status, text = refused(server, format="midi")
    assert status == 41010100
    assert "pcm, wav, opus" in text
    assert "midi" not in text


# --- SpeechRecognizer's own -------------------------------------------------------------------------------------------


def test_a_recognizer_that_ends_itself_has_its_own_silence(server: AliyunServer) -> None:
    said = {"max_end_silence": 300, "max_sentence_silence": 1000}
    heard(server, speech="Recognition", enable_voice_detection=True, **said)
    assert server.heard.live.silence_seconds == 0.3
    heard(server, speech="Recognition", **said)
    assert server.heard.live.silence_seconds == 1.0
    heard(server, enable_voice_detection=True, **said)
    assert server.heard.live.silence_seconds == 1.0


def test_the_documents_name_every_parameter(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / "docs" / "aliyun.md").read_text(encoding="utf-8")
    assert [name for name in sorted(KNOWN) if f"`{name}`" not in text] == []


# --- speakers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SEED, CLOUD])
def test_speakers_are_told_apart_only_where_that_is_asked_for(server: AliyunServer, path: str) -> None:
    for said in ({}, {"enable_speaker_diarization": False}, {"voices": []}, {"voices": ""}):
        heard(server, path, **said)
        assert server.heard.options.speakers is None
    for yes in (True, "true"):
        heard(server, path, enable_speaker_diarization=yes)
        assert server.heard.options.speakers == SpeakerOptions()


def test_all_voices_there_are_may_be_none(server: AliyunServer) -> None:
    heard(server, voices="all")
    assert server.heard.options.speakers == SpeakerOptions()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"enable_speaker_diarization": "perhaps"}, "enable_speaker_diarization"),
        ({"enable_speaker_diarization": False, "voices": "all"}, "contradicts"),
        ({"voices": 7}, "voices"),
        ({"voices": ["Rumpel"]}, "Rumpel"),
    ],
)
def test_what_makes_no_sense_of_speakers_is_refused(server: AliyunServer, said: dict[str, object], told: str) -> None:
    status, text = refused(server, **said)
    assert status == Status.PARAMETER_INVALID.value
    assert told in text


@pytest.mark.parametrize("said", [{"enable_speaker_diarization": True}, {"voices": "all"}])
def test_a_recognizer_has_no_place_for_speakers_and_says_so(server: AliyunServer, said: dict[str, object]) -> None:
    _, text = refused(server, speech="Recognition", **said)
    assert "SpeechTranscriber" in text
