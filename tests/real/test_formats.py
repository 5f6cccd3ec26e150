"""Every format and option of the OpenAI face, with a real recogniser behind it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import httpx
import pytest
from openai import BadRequestError, OpenAI

from .conftest import Listen
from .scoring import Cue, parse_srt, parse_vtt, plain, read_wav, wav_bytes
from .server import RealServer


@pytest.fixture(scope="module")
def clip(phone_call: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of the phone call, one speaker and then the other: soon recognised."""
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    path.write_bytes(wav_bytes(read_wav(phone_call / "sample.wav")[12 * 16_000 : 18 * 16_000]))
    return path


def check_cues(cues: list[Cue], text: str, seconds: float) -> None:
    assert cues
    assert all(re.match(r"\[Speaker[12]\] ", said) for _, _, said in cues)
    assert plain(" ".join(said.split("] ", 1)[1] for _, _, said in cues)) == plain(text)
    for start, end, said in cues:
        assert 0 <= start < end <= seconds
        assert end - start <= 8
        assert all(len(line) <= 60 for line in said.split("\n"))
    for before, after in itertools.pairwise(cues):
        assert before[1] <= after[0]


def test_srt_is_subrip(phone_call: Path, sdk: OpenAI, listen: Listen) -> None:
    body = sdk.audio.transcriptions.create(file=phone_call / "sample.wav", model="whisper-1", response_format="srt")
    check_cues(parse_srt(body), listen(phone_call / "sample.wav")["text"], 30.0)


def test_vtt_is_webvtt(clip: Path, sdk: OpenAI, listen: Listen) -> None:
    body = sdk.audio.transcriptions.create(file=clip, model="whisper-1", response_format="vtt")
    check_cues(parse_vtt(body), listen(clip)["text"], 6.0)


def test_text_is_the_text_and_a_newline(clip: Path, sdk: OpenAI, listen: Listen) -> None:
    body = sdk.audio.transcriptions.create(file=clip, model="whisper-1", response_format="text")
    assert isinstance(body, str)
    assert body == listen(clip)["text"] + "\n"


def test_deltas_join_to_the_whole_text(phone_call: Path, sdk: OpenAI, listen: Listen) -> None:
    events = list(
        sdk.audio.transcriptions.create(
            file=phone_call / "sample.wav", model="gpt-4o-mini-transcribe", stream=True, response_format="json"
        )
    )
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    done = events[-1]
    assert done.type == "transcript.text.done"
    assert len(deltas) >= 2, "a recording of several pieces arrives piece by piece"
    assert "".join(deltas) == done.text
    assert plain(done.text) == plain(listen(phone_call / "sample.wav")["text"])
    assert done.usage.output_tokens > 0


def test_logprobs_are_the_tokens_of_the_text(clip: Path, sdk: OpenAI) -> None:
    answer = sdk.audio.transcriptions.create(file=clip, model="whisper-1", response_format="json", include=["logprobs"])
    assert answer.logprobs
    assert "".join(token.token for token in answer.logprobs).strip() == answer.text
    assert b"".join(bytes(map(int, token.bytes)) for token in answer.logprobs).decode().strip() == answer.text
    values = [token.logprob for token in answer.logprobs]
    assert all(value <= 0 for value in values)
    assert len(set(values)) > len(values) / 2, "real figures, not one for all"


def test_a_prompt_sets_the_spelling(clip: Path, sdk: OpenAI, listen: Listen) -> None:
    prompted = sdk.audio.transcriptions.create(
        file=clip,
        model="whisper-1",
        response_format="json",
        language="en",
        prompt="She came from Chikago. Everybody in Chikago knows her.",
    )
    assert "Chicago" in listen(clip)["text"]
    assert "Chikago" in prompted.text


def test_a_prompt_costs_no_words(phone_call: Path, sdk: OpenAI, listen: Listen) -> None:
    """Whisper likes to begin after what it was told: a decoding that lost words to its prompt is not the answer."""
    sound = read_wav(phone_call / "sample.wav")[round(11.2 * 16_000) : round(17.2 * 16_000)]
    excerpt = ("clip.wav", wav_bytes(sound))
    usual = sdk.audio.transcriptions.create(file=excerpt, model="whisper-1", response_format="json", language="en")
    prompted = sdk.audio.transcriptions.create(
        file=excerpt, model="whisper-1", response_format="json", language="en", prompt="She lives in New Jersey."
    )
    assert len(plain(prompted.text)) >= 0.75 * len(plain(usual.text))


def test_hotwords_are_taken(clip: Path, sdk: OpenAI, listen: Listen) -> None:
    answer = sdk.audio.transcriptions.create(
        file=clip, model="whisper-1", response_format="json", keywords=["New Jersey", "Texas", "Chicago"]
    )
    heard = plain(answer.text).split()
    assert {"jersey", "texas", "chicago"} <= set(heard)
    assert abs(len(heard) - len(plain(listen(clip)["text"]).split())) <= 3


def test_a_temperature_still_hears_the_same_sentence(clip: Path, sdk: OpenAI) -> None:
    answer = sdk.audio.transcriptions.create(
        file=clip, model="whisper-1", response_format="verbose_json", temperature=0.4
    )
    assert {"jersey", "chicago"} <= set(plain(answer.text).split())
    assert answer.segments
    assert all(segment.temperature == pytest.approx(0.4) for segment in answer.segments)


def test_the_answer_names_its_model(clip: Path, sdk: OpenAI) -> None:
    raw = sdk.audio.transcriptions.with_raw_response.create(file=clip, model="whisper-1", response_format="json")
    assert raw.headers["x-asr-model"] == "whisper-base"
    assert raw.headers["x-request-id"]
    assert [model.id for model in sdk.models.list()] == ["whisper-base"]
    assert sdk.models.retrieve("whisper-1").id == "whisper-base"


def test_a_post_with_nothing_but_a_file_is_answered(clip: Path, real_server: RealServer, listen: Listen) -> None:
    with clip.open("rb") as file:
        response = httpx.post(f"{real_server.base}/v1/audio/transcriptions", files={"file": file}, timeout=120)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json()["text"] == listen(clip)["text"]


def test_a_recording_too_short_to_hear_is_refused(phone_call: Path, sdk: OpenAI) -> None:
    sound = read_wav(phone_call / "sample.wav")[8 * 16_000 :][:800]
    with pytest.raises(BadRequestError) as refused:
        sdk.audio.transcriptions.create(file=("short.wav", wav_bytes(sound)), model="whisper-1")
    assert refused.value.code == "audio_too_short"
