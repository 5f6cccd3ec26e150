"""What tells speakers apart, with its real weights: voices that are known again, and who speaks when in ten seconds."""

from __future__ import annotations

import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from app.domain.errors import EngineFailure
from app.engines import speakers
from app.engines.speakers.campplus import CHECKPOINT as ENCODER_FILE
from app.engines.speakers.campplus import CampPlus
from app.engines.speakers.segmentation import CHECKPOINT as SEGMENTATION_FILE
from app.engines.speakers.segmentation import Segmentation
from app.settings import Settings

RATE = 16_000
Clips = dict[str, list[np.ndarray]]

Parts = list[tuple[float, float]]
ALONE: tuple[Parts, Parts] = (
    [(8.4, 9.8), (11.2, 12.8), (12.8, 14.4), (18.7, 21.4)],
    [(14.8, 16.4), (16.4, 17.9), (21.8, 25.0), (25.0, 28.4)],
)
"""Where each of the two on the phone speaks alone, in seconds."""


def cut(sound: np.ndarray, start: float, end: float) -> np.ndarray:
    return sound[round(start * RATE) : round(end * RATE)]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def noise(seconds: float, loudness: float = 0.1) -> np.ndarray:
    return np.random.default_rng(5).normal(0, loudness, round(seconds * RATE)).astype(np.float32)


# --- voices -----------------------------------------------------------------------------------------------------------


def test_an_embedding_is_192_numbers_of_length_one(encoder: CampPlus, call: np.ndarray) -> None:
    made = encoder.embed([cut(call, 11, 13), noise(0.3), silence(1.0), np.ones(RATE, np.float32)])
    assert (made.shape, made.dtype) == ((4, encoder.size), np.float32)
    assert np.linalg.norm(made, axis=1) == pytest.approx([1.0] * 4, abs=1e-5)
    assert encoder.embed([]).shape == (0, encoder.size)


def test_a_voice_is_the_same_alone_and_in_company(encoder: CampPlus, call: np.ndarray) -> None:
    sounds = [cut(call, start, start + length) for start in (8, 11, 15, 22) for length in (1.6, 0.5, 3.0, 1.6)]
    together = encoder.embed(sounds)
    alone = np.concatenate([encoder.embed([sound]) for sound in sounds])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_voice_on_the_phone_is_nearer_to_itself_than_to_the_other(encoder: CampPlus, call: np.ndarray) -> None:
    one, other = (encoder.embed([cut(call, *part) for part in parts]) for parts in ALONE)
    between = one @ other.T
    for same in (one @ one.T, other @ other.T):
        pairs = same[np.triu_indices(len(same), 1)]
        assert pairs.min() > between.max()
        assert pairs.mean() > between.mean() + 0.2


def test_people_are_told_apart(encoder: CampPlus, clips: Clips) -> None:
    made = {
        who: encoder.embed([clip[RATE // 2 : 2 * RATE + RATE // 2] for clip in heard]) for who, heard in clips.items()
    }
    same = np.concatenate([(each @ each.T)[np.triu_indices(len(each), 1)] for each in made.values()])
    different = np.concatenate([(one @ two.T).ravel() for one, two in itertools.combinations(made.values(), 2)])
    assert len(made) == 5
    assert np.percentile(same, 2) > np.percentile(different, 98), "two seconds are enough"
    centroids = {who: each[:5].mean(axis=0) for who, each in made.items()}
    for who, each in made.items():
        for embedding in each[5:]:
            assert max(centroids, key=lambda name: float(centroids[name] @ embedding)) == who


def test_loudness_is_no_part_of_a_voice(encoder: CampPlus, call: np.ndarray) -> None:
    sound = cut(call, 11, 14)
    loud, quiet = encoder.embed([sound, 0.2 * sound])
    assert loud @ quiet > 0.95


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.1, 0.114])
def test_too_short_for_a_voice(encoder: CampPlus, call: np.ndarray, seconds: float) -> None:
    with pytest.raises(EngineFailure, match="too short"):
        encoder.embed([cut(call, 11, 13), cut(call, 11, 11 + seconds)])


@pytest.mark.parametrize("seconds", [0.12, 0.2, 1.0, 60.0])
def test_any_other_length_is_a_voice(encoder: CampPlus, call: np.ndarray, seconds: float) -> None:
    (made,) = encoder.embed([np.resize(cut(call, 11, 14), round(seconds * RATE))])
    assert np.isfinite(made).all()


def test_threads_do_not_disturb_each_others_voices(encoder: CampPlus, call: np.ndarray) -> None:
    asked = [[cut(call, 7 + index, 8.5 + index), cut(call, 9 + index, 9.7 + index)] for index in range(16)]
    alone = [encoder.embed(sounds) for sounds in asked]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(encoder.embed, asked))
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one, other)


# --- who speaks when --------------------------------------------------------------------------------------------------


def times(segmentation: Segmentation, active: np.ndarray) -> np.ndarray:
    """The time of every frame."""
    return segmentation.first_frame + segmentation.frame_seconds * np.arange(len(active))


def stretches(segmentation: Segmentation, flags: np.ndarray) -> list[tuple[float, float]]:
    """From when to when they are true; gaps of less than 0.4 s are none."""
    at = times(segmentation, flags)[flags]
    if not len(at):
        return []
    breaks = np.flatnonzero(np.diff(at) > 0.4)
    return list(zip(at[np.r_[0, breaks + 1]].tolist(), at[np.r_[breaks, len(at) - 1]].tolist(), strict=True))


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (1, 0), (400, 1), (991, 3), (1600, 5), (16_000, 58), (160_000, 589)]
)
def test_a_frame_for_each_seventeen_milliseconds(segmentation: Segmentation, samples: int, frames: int) -> None:
    active = segmentation.activity(np.zeros(samples, np.float32))
    assert (active.shape, active.dtype) == ((frames, 3), np.bool_)
    if frames:
        assert times(segmentation, active)[-1] <= samples / RATE + segmentation.frame_seconds


def test_what_is_past_ten_seconds_is_not_heard(segmentation: Segmentation, call: np.ndarray) -> None:
    assert np.array_equal(segmentation.activity(cut(call, 8, 28)), segmentation.activity(cut(call, 8, 18)))


@pytest.mark.parametrize("sound", [silence(10), noise(10), noise(10, 0.001), silence(0.3)])
def test_silence_and_noise_are_nobody(segmentation: Segmentation, sound: np.ndarray) -> None:
    assert segmentation.activity(sound).mean() < 0.01


@pytest.mark.parametrize("before", [0.3, 1.0, 2.0, 3.5])
def test_speech_lies_where_it_was_put(segmentation: Segmentation, call: np.ndarray, before: float) -> None:
    # A word from 6.69 to 7.12, then the beginning of a sentence at 21.78.
    sound = np.concatenate([silence(before), cut(call, 6.3, 7.45), silence(1.5), cut(call, 21.6, 24.2), silence(10)])
    active = segmentation.activity(sound)
    word, sentence = stretches(segmentation, active.any(axis=1))
    assert word == (pytest.approx(before + 0.39, abs=0.1), pytest.approx(before + 0.82, abs=0.1))
    assert sentence == (pytest.approx(before + 2.83, abs=0.1), pytest.approx(before + 5.25, abs=0.15))


def test_clips_lie_where_they_were_put(segmentation: Segmentation, clips: Clips) -> None:
    sentence = cut(clips["libri_1688"][0], 4.2, 5.7)
    sound = np.concatenate([silence(1.5), sentence, silence(1.2), sentence, silence(4)])
    first, second = stretches(segmentation, segmentation.activity(sound).any(axis=1))
    assert first == (pytest.approx(1.5, abs=0.1), pytest.approx(3.0, abs=0.1))
    assert second == (pytest.approx(4.2, abs=0.1), pytest.approx(5.7, abs=0.1))


def test_one_after_the_other_are_mostly_two(segmentation: Segmentation, clips: Clips) -> None:
    two = 0
    for one, other in itertools.combinations([heard[0] for heard in clips.values()], 2):
        active = segmentation.activity(np.concatenate([cut(one, 0, 5), cut(other, 0, 5)]))
        at = times(segmentation, active)
        before, after = (active[side].sum(axis=0) for side in (at < 4.8, at > 5.2))
        two += before.argmax() != after.argmax()
    assert two >= 6, "of ten pairs"


def test_a_phone_call_has_two_people_in_turn(segmentation: Segmentation, call: np.ndarray) -> None:
    start = 9.9
    active = segmentation.activity(cut(call, start, start + 10))
    at = start + times(segmentation, active)
    spoken = np.stack([np.any([(at > a) & (at < b) for a, b in parts], axis=0) for parts in ALONE], axis=1)
    known = spoken.any(axis=1)
    best = max(
        (active[known][:, list(order)] == spoken[known]).all(axis=1).mean()
        for order in itertools.permutations(range(3), 2)
    )
    assert best > 0.95


def test_two_at_once_are_two(segmentation: Segmentation, clips: Clips) -> None:
    for one, other in (
        (clips["libri_1688"][0], clips["libri_2033"][6]),
        (clips["libri_2414"][2], clips["libri_2609"][4]),
    ):
        mixed = cut(one, 0, 10).copy()
        mixed[4 * RATE : 8 * RATE] += cut(other, 0.5, 4.5)
        both = segmentation.activity(mixed).sum(axis=1) == 2
        at = times(segmentation, both)
        assert both[(at > 4.2) & (at < 7.8)].mean() > 0.4
        assert both[(at < 3.8) | (at > 8.2)].mean() < 0.05


def test_people_on_the_phone_at_once_are_two(segmentation: Segmentation, call: np.ndarray) -> None:
    mixed = np.concatenate([cut(call, 11, 12.5), cut(call, 12.5, 14.4) + cut(call, 15, 16.9), cut(call, 16.9, 17.9)])
    both = segmentation.activity(mixed).sum(axis=1) == 2
    at = times(segmentation, both)
    assert both[(at > 1.6) & (at < 3.3)].mean() > 0.5
    assert both[(at < 1.4) | (at > 3.6)].mean() < 0.05


def test_threads_do_not_disturb_each_other(segmentation: Segmentation, call: np.ndarray) -> None:
    sounds = [cut(call, start, start + 10) for start in range(4, 20)]
    alone = [segmentation.activity(sound) for sound in sounds]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(segmentation.activity, sounds))
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one, other)


# --- loading ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, models_dir: Path) -> Path:
    """A copy of the models that may be broken."""
    return shutil.copytree(models_dir / "speakers", tmp_path / "speakers")


def load(folder: Path) -> object:
    return speakers.load("speakers", folder, Settings(_env_file=None))


def test_both_are_loaded(folder: Path, call: np.ndarray) -> None:
    models = speakers.load("speakers", folder, Settings(_env_file=None))
    assert (models.segmenter.id, models.encoder.id) == ("segmentation-3.0", "campplus-zh-en")
    assert models.segmenter.activity(call[: 10 * RATE]).shape == (589, 3)
    assert models.encoder.embed([call[:RATE]]).shape == (1, 192)


@pytest.mark.parametrize("missing", [ENCODER_FILE, SEGMENTATION_FILE])
def test_a_folder_without_a_file_is_an_engine_failure_that_names_it(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(EngineFailure, match=Path(missing).name):
        load(folder)


@pytest.mark.parametrize("broken", [ENCODER_FILE, SEGMENTATION_FILE])
def test_a_torn_file_is_an_engine_failure_that_names_it(folder: Path, broken: str) -> None:
    whole = (folder / broken).read_bytes()
    (folder / broken).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EngineFailure, match=Path(broken).name):
        load(folder)


def test_weights_of_another_model_are_an_engine_failure(folder: Path) -> None:
    encoder, segmentation = (folder / name for name in (ENCODER_FILE, SEGMENTATION_FILE))
    swapped = encoder.read_bytes()
    shutil.copy(segmentation, encoder)
    with pytest.raises(EngineFailure, match="campplus"):
        CampPlus(folder)
    segmentation.write_bytes(swapped)
    with pytest.raises(EngineFailure, match=r"segmentation-3\.0"):
        Segmentation(folder)
