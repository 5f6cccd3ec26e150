"""What must not be heard: words where nobody speaks; and what must be found between long silences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openai import OpenAI

from .scoring import plain, read_wav, stm_lines, wav_bytes, word_error_rate

RATE = 16_000
SPEECH = (6.0, 22.0)
"""The stretch of the phone call that is repeated below, in seconds: it starts with a pause of 0.68 s."""
GAPS = (4.0, 20.0, 7.0, 33.0)
"""Seconds of silence around the repetitions."""


@pytest.mark.parametrize("loudness", [0.0, 0.0003])
def test_silence_has_no_text(sdk: OpenAI, loudness: float) -> None:
    sound = np.random.default_rng(1).normal(0, loudness * 32768, 8 * RATE)
    answer = sdk.audio.transcriptions.create(
        file=("silence.wav", wav_bytes(sound)), model="whisper-1", response_format="verbose_json"
    )
    assert answer.text == ""
    assert answer.segments == []
    assert answer.duration == pytest.approx(8.0)


@pytest.mark.parametrize("shape", ["verbose_json", "json", "text", "srt", "vtt"])
def test_silence_is_no_error_in_any_format(sdk: OpenAI, shape: str) -> None:
    answer = sdk.audio.transcriptions.create(
        file=("silence.wav", wav_bytes(np.zeros(2 * RATE))), model="whisper-1", response_format=shape
    )
    text = answer if isinstance(answer, str) else answer.text
    assert text == ("WEBVTT\n\n" if shape == "vtt" else "")


@pytest.mark.parametrize("loudness", [0.02, 0.3])
def test_noise_is_answered(sdk: OpenAI, loudness: float) -> None:
    sound = np.clip(np.random.default_rng(2).normal(0, loudness, 5 * RATE), -1, 1) * 32767
    answer = sdk.audio.transcriptions.create(
        file=("noise.wav", wav_bytes(sound)), model="whisper-1", response_format="json"
    )
    assert len(answer.text) < 20, "noise is not a speech"


def test_speech_between_long_silences_keeps_its_times(phone_call: Path, sdk: OpenAI) -> None:
    call = read_wav(phone_call / "sample.wav")[round(SPEECH[0] * RATE) : round(SPEECH[1] * RATE)]
    hiss = np.random.default_rng(3)
    parts: list[np.ndarray] = []
    offsets: list[float] = []
    for gap in GAPS[:-1]:
        parts.append(np.rint(hiss.normal(0, 3, round(gap * RATE))).astype("<i2"))
        offsets.append(sum(map(len, parts)) / RATE)
        parts.append(call)
    parts.append(np.zeros(round(GAPS[-1] * RATE), "<i2"))
    whole = np.concatenate(parts)
    answer = sdk.audio.transcriptions.create(
        file=("long.wav", wav_bytes(whole)),
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    lines = [line for line in stm_lines(phone_call / "sample.stm") if line[1] <= SPEECH[1]]
    first, last = lines[0][0] - SPEECH[0], lines[-1][1] - SPEECH[0]
    length = SPEECH[1] - SPEECH[0]
    assert answer.duration == pytest.approx(len(whole) / RATE, abs=0.01)
    assert answer.words
    assert answer.segments
    for offset in offsets:
        words = [word for word in answer.words if offset <= word.start < offset + length]
        assert words[0].start == pytest.approx(offset + first, abs=0.3)
        assert words[-1].end == pytest.approx(offset + last, abs=0.5)
        said = " ".join(word.word for word in words)
        assert word_error_rate(" ".join(spoken for _, _, spoken in lines), said) <= 0.35, said
    for segment in answer.segments:
        inside = [offset for offset in offsets if offset <= segment.start and segment.end <= offset + length]
        assert inside, f"{segment.start:.2f}-{segment.end:.2f} lies in a silence: {segment.text}"
    assert len(plain(answer.text).split()) == len(answer.words)
