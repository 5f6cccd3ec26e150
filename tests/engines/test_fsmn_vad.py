"""Where somebody speaks: found in the right place, in any length of sound, by any number of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from real.scoring import stm_lines

from app.domain.engines import SpeechSpan
from app.domain.errors import EngineFailure
from app.domain.options import SpeechDetection
from app.engines import fsmn_vad
from app.engines.fsmn_vad import FsmnVad, spans_of

RATE = 16_000
DEFAULT = SpeechDetection()
HELLO = (6.3, 7.45)
"""A stretch of the phone call with one short word in it, in seconds."""


@dataclass(frozen=True)
class Samples:
    """A sound in memory."""

    samples: np.ndarray

    @property
    def duration(self) -> float:
        return len(self.samples) / RATE

    def piece(self, start: float, end: float) -> np.ndarray:
        return self.samples[max(0, round(start * RATE)) : round(end * RATE)]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def noise(seconds: float, loudness: float) -> np.ndarray:
    return np.random.default_rng(5).normal(0, loudness, round(seconds * RATE)).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.025, 0.1, 3.0, 31.0])
def test_silence_is_no_speech(detector: FsmnVad, seconds: float) -> None:
    assert detector.detect(Samples(silence(seconds)), DEFAULT) == []


@pytest.mark.parametrize("loudness", [0.0003, 0.01, 0.1, 0.3])
def test_noise_is_no_speech(detector: FsmnVad, loudness: float) -> None:
    assert detector.detect(Samples(noise(8.0, loudness)), DEFAULT) == []


@pytest.mark.parametrize("before", [0.5, 4.0, 29.6, 61.234])
@pytest.mark.parametrize("background", [0.0, 0.0005])
def test_a_word_is_found_where_it_was_put(
    detector: FsmnVad, call: np.ndarray, phone_call: Path, before: float, background: float
) -> None:
    word = call[round(HELLO[0] * RATE) : round(HELLO[1] * RATE)]
    sound = np.concatenate([silence(before), word, silence(5.0)])
    sound = sound + noise(len(sound) / RATE, background)[: len(sound)]
    (span,) = detector.detect(Samples(sound), DEFAULT)
    start, end, _ = stm_lines(phone_call / "sample.stm")[0]
    assert span.start == pytest.approx(before + start - HELLO[0], abs=0.15)
    assert span.end == pytest.approx(before + end - HELLO[0], abs=0.15)


def test_a_phone_call_is_found_in_order_and_inside(detector: FsmnVad, call: np.ndarray, phone_call: Path) -> None:
    spans = detector.detect(Samples(call), DEFAULT)
    lines = stm_lines(phone_call / "sample.stm")
    assert spans[0].start == pytest.approx(lines[0][0], abs=0.15)
    assert spans[-1].end == pytest.approx(lines[-1][1], abs=0.15)
    clock = 0.0
    for span in spans:
        assert clock <= span.start < span.end <= 30.0
        clock = span.end
    annotated = sum(end - start for start, end, _ in lines)
    assert sum(span.end - span.start for span in spans) == pytest.approx(annotated, rel=0.1)


@pytest.mark.parametrize("chunk", [1, 997, 3000])
def test_borders_between_chunks_do_not_matter(
    detector: FsmnVad, call: np.ndarray, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    sound = Samples(np.concatenate([call, call, call[: 10 * RATE]]) if chunk > 1 else call[6 * RATE : 9 * RATE])
    monkeypatch.setattr(fsmn_vad, "_CHUNK_FRAMES", 10**6)
    whole = detector.speech_probabilities(sound)
    monkeypatch.setattr(fsmn_vad, "_CHUNK_FRAMES", chunk)
    pieces = detector.speech_probabilities(sound)
    assert len(whole) == len(pieces) == 1 + (len(sound.samples) - 400) // 160
    np.testing.assert_allclose(pieces, whole, atol=1e-3)


def test_threads_do_not_disturb_each_other(detector: FsmnVad, call: np.ndarray) -> None:
    sounds = [Samples(np.roll(call, shift * RATE)) for shift in range(6)]
    alone = [detector.detect(sound, DEFAULT) for sound in sounds]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda sound: detector.detect(sound, DEFAULT), sounds))
    assert together == alone
    assert len({tuple(spans) for spans in alone}) == 6


def test_the_caller_sets_threshold_silence_and_padding(detector: FsmnVad, call: np.ndarray) -> None:
    sound = Samples(call)
    usual = detector.detect(sound, DEFAULT)
    merged = detector.detect(sound, SpeechDetection(silence_seconds=5.0))
    assert len(merged) < len(usual)
    assert (merged[0].start, merged[-1].end) == (usual[0].start, usual[-1].end)
    padded = detector.detect(sound, SpeechDetection(padding_seconds=0.2))
    assert padded[0].start == pytest.approx(usual[0].start - 0.2)
    heard = [
        sum(span.end - span.start for span in detector.detect(sound, SpeechDetection(threshold=threshold)))
        for threshold in (0.2, 0.8, 0.99)
    ]
    assert heard == sorted(heard, reverse=True)
    assert heard[0] > heard[-1]


def probabilities(*runs: tuple[float, int]) -> np.ndarray:
    """So many frames of each probability."""
    return np.concatenate([np.full(count, value, np.float32) for value, count in runs])


def test_speech_shorter_than_the_onset_is_a_click() -> None:
    assert spans_of(probabilities((0.0, 50), (1.0, 14), (0.0, 50)), 2.0, DEFAULT) == []
    (span,) = spans_of(probabilities((0.0, 50), (1.0, 16), (0.0, 50)), 2.0, DEFAULT)
    assert (span.start, span.end) == (pytest.approx(0.5), pytest.approx(0.65 + 0.025))


def test_a_short_dip_does_not_end_speech_and_a_long_one_does() -> None:
    for dip, count in ((20, 1), (60, 2)):
        heard = probabilities((1.0, 100), (0.0, dip), (1.0, 100))
        assert len(spans_of(heard, 3.0, DEFAULT)) == count


def test_speech_at_both_ends_stays_inside_the_recording() -> None:
    (span,) = spans_of(probabilities((1.0, 100)), 1.01, SpeechDetection(padding_seconds=1.0))
    assert span == SpeechSpan(0.0, pytest.approx(1.01))


@pytest.mark.parametrize("broken", ["nothing", "model.onnx", "am.mvn"])
def test_a_folder_that_is_not_the_model_is_an_engine_failure(tmp_path: Path, models_dir: Path, broken: str) -> None:
    for name in () if broken == "nothing" else ("model.onnx", "am.mvn"):
        content = b"[ 1 2 ] [ 3 ]" if name == broken else (models_dir / "fsmn-vad" / name).read_bytes()
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EngineFailure):
        FsmnVad(tmp_path)


@pytest.mark.parametrize("block", [1, 37, 160, 1600, 16_000, 480_000])
def test_a_live_stream_is_heard_as_the_whole_sound_is(detector: FsmnVad, call: np.ndarray, block: int) -> None:
    sound = call[: RATE * 3] if block < 100 else call
    stream = detector.open()
    heard = [stream.push(sound[start : start + block]) for start in range(0, len(sound), block)]
    heard.append(stream.push(sound[:0], last=True))
    whole = detector.speech_probabilities(Samples(sound))
    assert len(np.concatenate(heard)) == len(whole)
    assert np.abs(np.concatenate(heard) - whole).max() < 1e-3


def test_a_live_stream_of_nothing_has_no_frames(detector: FsmnVad) -> None:
    assert len(detector.open().push(silence(0.0), last=True)) == 0
    assert len(detector.open().push(silence(0.02), last=True)) == 0
