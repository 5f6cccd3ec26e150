"""Streaming Paraformer with a small checkpoint in the true format: text that grows while speech made for it comes in,
and what is said of folders that do not hold such a model."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from models.small_paraformer_online import decoder, write_streaming_paraformer
from models.speech import RATE, Utterance, say, utterances
from rapidfuzz.distance import Levenshtein

from app.domain.errors import EngineFailure
from app.domain.live_engines import RecognizerStream, StreamingRecognizer
from app.engines import paraformer_online
from app.engines.paraformer_online import recognizer as recognizer_module
from app.engines.paraformer_online.recognizer import OnlineParaformer
from app.engines.speakers.checkpoints import read_checkpoint
from app.settings import Settings

QUIET = 3e-4
"""A quiet room around clean speech: digital silence is nothing a microphone gives."""
CHUNK = 9600
SILENCE = np.zeros(0, np.float32)


@pytest.fixture(scope="module")
def folder(shared_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_streaming_paraformer(shared_models / "paraformer-online-tiny", tmp_path_factory.mktemp("online"))


@pytest.fixture(scope="module")
def small(folder: Path) -> OnlineParaformer:
    return OnlineParaformer("paraformer-large-online", folder)


@pytest.fixture(scope="module")
def said() -> list[Utterance]:
    return utterances(50, 11)


def in_a_room(samples: np.ndarray, lead: float = 0.2, tail: float = 0.0) -> np.ndarray:
    around = np.concatenate([np.zeros(round(lead * RATE)), samples, np.zeros(round(tail * RATE))])
    return (around + np.random.default_rng(len(samples)).standard_normal(len(around)) * QUIET).astype(np.float32)


def frames(sound: np.ndarray, sizes: Iterator[int]) -> Iterator[np.ndarray]:
    start = 0
    while start < len(sound):
        size = next(sizes)
        yield sound[start : start + size]
        start += size


def texts(stream: RecognizerStream, pushes: Sequence[np.ndarray]) -> list[str]:
    """The text after each push; the last one ends the utterance."""
    return [stream.push(one, last=number == len(pushes) - 1) for number, one in enumerate(pushes)]


def whole(model: StreamingRecognizer, sound: np.ndarray) -> str:
    return model.open().push(sound, last=True)


def heard(model: OnlineParaformer, sound: np.ndarray) -> list[str]:
    stream = model.open()
    stream.push(sound, last=True)
    return [model.tokens.all[number] for number in stream.tokens]


# What is heard, and when


def test_it_hears_what_is_said(small: OnlineParaformer, said: list[Utterance]) -> None:
    pairs = [(one.tokens, heard(small, in_a_room(one.samples))) for one in said]
    wrong = sum(Levenshtein.distance(list(tokens), got) for tokens, got in pairs)
    assert wrong / sum(len(tokens) for tokens, _ in pairs) <= 0.3


def test_text_only_grows_and_comes_while_somebody_speaks(small: OnlineParaformer, said: list[Utterance]) -> None:
    early = 0
    for one in said:
        sound = in_a_room(one.samples)
        pushes = list(frames(sound, itertools.repeat(1600)))
        grown = texts(small.open(), pushes)
        assert all(after.startswith(before) for before, after in itertools.pairwise(["", *grown])), grown
        assert grown[-1] == whole(small, sound)
        early += len(set(grown)) > 2
    assert early >= 0.8 * len(said), "most of them had more than one text before the end"


def test_a_word_is_there_within_a_chunk_and_a_half(small: OnlineParaformer) -> None:
    # 300 ms to understand it by, and the rest of the chunk that they end in
    digits, pause = ["two", "six", "three", "five", "four", "seven"], np.zeros(round(0.15 * RATE), np.float32)
    parts, ends = [pause], []
    for digit in digits:
        sound = say(digit, "en+m7", speed=150)
        loud = np.flatnonzero(np.abs(sound) > 0.01)
        parts += [sound[loud[0] : loud[-1]], pause]
        ends.append(sum(map(len, parts[:-1])))
    sound = in_a_room(np.concatenate(parts), 0.05, 1.0)
    grown = texts(small.open(), list(frames(sound, itertools.repeat(CHUNK))))
    assert grown[-1].split()[: len(digits)] == digits  # of quiet, words are made now and then
    for place, end in enumerate(ends):
        came = next(number for number, text in enumerate(grown) if len(text.split()) > place)
        assert (came + 1) * CHUNK - end <= round(0.9 * RATE), digits[place]


@pytest.mark.parametrize("size", [160, 320, 800, 1111, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 10**7])
def test_how_sound_is_cut_changes_nothing(small: OnlineParaformer, said: list[Utterance], size: int) -> None:
    for one in said[:12]:
        sound = in_a_room(one.samples)
        expected = texts(small.open(), list(frames(sound, itertools.repeat(CHUNK))))
        grown = texts(small.open(), list(frames(sound, itertools.repeat(size))))
        assert grown[-1] == expected[-1]
        assert set(grown) <= {"", *expected}
        if CHUNK % size == 0:
            assert list(dict.fromkeys(["", *grown])) == list(dict.fromkeys(["", *expected]))


def test_neither_do_frames_of_any_size_or_none(small: OnlineParaformer, said: list[Utterance]) -> None:
    chance = random.Random(3)
    for one in said[:20]:
        sound = in_a_room(one.samples)
        sizes = iter(lambda: chance.choice([1, 7, 100, 480, 5000, 20000]), None)
        pushes = [part for frame in frames(sound, sizes) for part in (frame, SILENCE)]
        assert texts(small.open(), pushes)[-1] == whole(small, sound)


# The end


def last_words(model: OnlineParaformer, said: Sequence[Utterance], tail: float = 0.0) -> int:
    """How often the last word is the last one heard."""
    return sum(heard(model, in_a_room(one.samples, tail=tail))[-1:] == [one.tokens[-1]] for one in said)


def test_the_last_word_needs_no_silence_after_it(
    small: OnlineParaformer, said: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, followed = last_words(small, said), last_words(small, said, tail=0.3)
    with monkeypatch.context() as patch:
        patch.setattr(recognizer_module, "_quiet", lambda: SILENCE)
        abrupt = last_words(small, said)
    print(f"last words of {len(said)}: {bare}; in a room that stays quiet: {followed}; abrupt: {abrupt}")
    assert bare >= 0.75 * len(said)
    assert bare >= followed - 2
    assert bare > abrupt


@pytest.mark.parametrize("over", [0, 1, 159, 160, 239, 240, 399, 400, 959, 960, 6399, 6400, 6401, 9599])
def test_an_utterance_may_have_any_length(small: OnlineParaformer, said: list[Utterance], over: int) -> None:
    sound = np.concatenate([in_a_room(one.samples) for one in said[:2]])
    for chunks in (0, 1, 3):
        part = sound[: chunks * CHUNK + over]
        grown = texts(small.open(), [*frames(part, itertools.repeat(CHUNK)), SILENCE])
        assert grown[-1] == whole(small, part)
        assert bool(grown[-1]) >= (chunks == 3)


def test_of_nothing_there_is_no_text(small: OnlineParaformer) -> None:
    assert whole(small, SILENCE) == ""
    assert texts(small.open(), [SILENCE] * 3) == ["", "", ""]


def test_nothing_follows_the_end(small: OnlineParaformer) -> None:
    stream = small.open()
    stream.push(np.zeros(1000, np.float32), last=True)
    with pytest.raises(EngineFailure, match="has ended"):
        stream.push(np.zeros(1000, np.float32))


def test_samples_that_are_no_numbers_are_a_failure_not_a_text(small: OnlineParaformer) -> None:
    with pytest.raises(EngineFailure, match="not a number"):
        whole(small, np.full(CHUNK, np.nan, np.float32))
    assert whole(small, np.zeros(CHUNK, np.float32)) == whole(small, np.zeros(CHUNK, np.float32))


# Utterances beside each other


def test_forty_utterances_at_once_are_heard_as_each_alone(small: OnlineParaformer, said: list[Utterance]) -> None:
    sounds = [in_a_room(one.samples) for one in said[:40]]

    def hear(sound: np.ndarray) -> list[str]:
        return texts(small.open(), list(frames(sound, itertools.repeat(4800))))

    alone = [hear(sound) for sound in sounds]
    assert len({grown[-1] for grown in alone}) > 20
    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(hear, sounds)) == alone


def test_utterances_that_take_turns_do_not_mix(small: OnlineParaformer, said: list[Utterance]) -> None:
    sounds = [in_a_room(one.samples) for one in said[:8]]
    streams = [small.open() for _ in sounds]
    for start in range(0, max(map(len, sounds)), 4800):
        for stream, sound in zip(streams, sounds, strict=True):
            stream.push(sound[start : start + 4800])
    assert [stream.push(SILENCE, last=True) for stream in streams] == [whole(small, sound) for sound in sounds]


# Writing


def test_chinese_is_written_without_spaces_and_english_with(small: OnlineParaformer) -> None:
    assert whole(small, in_a_room(say("my name is george", "en+f4"))) == "my name is george"
    chinese = whole(small, in_a_room(say("人工智能改变世界", "cmn+f4")))
    assert len(chinese) >= 6
    assert not any(character.isspace() or character.isascii() for character in chinese)


# Folders


def test_what_it_says_of_itself(folder: Path) -> None:
    model = paraformer_online.load("paraformer-large-online", folder, Settings(_env_file=None))
    assert (model.id, model.languages, model.chunk_seconds) == ("paraformer-large-online", {"zh", "en"}, 0.6)


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "broken")
    return tmp_path / "broken"


def refused(folder: Path) -> str:
    with pytest.raises(EngineFailure) as failure:
        OnlineParaformer("paraformer-large-online", folder)
    assert str(folder) not in failure.value.message
    return failure.value.message


@pytest.mark.parametrize("name", ["model.onnx", "decoder.onnx", "config.yaml", "am.mvn", "tokens.json"])
def test_a_file_that_is_missing_or_torn_is_named(broken: Path, name: str) -> None:
    content = (broken / name).read_bytes()
    (broken / name).write_bytes(content[: len(content) // 2])
    assert name in refused(broken)
    (broken / name).unlink()
    assert refused(broken) == f"{name} is missing."


@pytest.mark.parametrize("name", ["model", "decoder"])
def test_int8_is_preferred(broken: Path, name: str) -> None:
    (broken / f"{name}_quant.onnx").write_bytes(b"torn")
    assert f"{name}_quant.onnx is not a whole ONNX model" in refused(broken)


def test_a_graph_that_cannot_be_run_is_named(broken: Path, shared_models: Path) -> None:
    config = yaml.safe_load((broken / "config.yaml").read_text("utf-8"))
    weights = read_checkpoint(shared_models / "paraformer-online-tiny" / "model.pt")
    config["decoder_conf"]["attention_heads"] = 5  # 112 columns cannot be shared out among them
    (broken / "decoder.onnx").write_bytes(decoder(weights, config, 154))
    assert refused(broken) == "decoder.onnx cannot be run."


def test_a_decoder_may_remember_more_than_it_is_given(
    small: OnlineParaformer, broken: Path, shared_models: Path, said: list[Utterance]
) -> None:
    config = yaml.safe_load((broken / "config.yaml").read_text("utf-8"))
    weights = read_checkpoint(shared_models / "paraformer-online-tiny" / "model.pt")
    (broken / "decoder.onnx").write_bytes(decoder(weights, config, 154, cropped=False))
    other = OnlineParaformer("paraformer-large-online", broken)
    for one in said[:10]:
        assert heard(other, in_a_room(one.samples)) == heard(small, in_a_room(one.samples))


@pytest.mark.parametrize(
    ("said", "instead", "message"),
    [
        ("output_size: 112", "output_size: large", "config.yaml: encoder_conf needs output_size"),
        (
            "output_size: 112",
            "output_size: 128",
            "model.onnx: enc has 112 columns, encoder_conf of config.yaml says 128",
        ),
        (
            "threshold: 1.0",
            "threshold: none",
            "config.yaml: threshold and tail_threshold of predictor_conf are no weights",
        ),
        (
            "threshold: 1.0",
            "threshold: 0",
            "config.yaml: threshold and tail_threshold of predictor_conf are no weights",
        ),
        ("lfr_m: 7", "lfr_m: 5", "am.mvn does not hold two rows of 400 numbers"),
        ("n_mels: 80", "n_mels: 40", "config.yaml asks for 40 mel bands"),
    ],
)
def test_a_configuration_of_something_else(broken: Path, said: str, instead: str, message: str) -> None:
    text = (broken / "config.yaml").read_text("utf-8")
    assert said in text
    (broken / "config.yaml").write_text(text.replace(said, instead, 1), "utf-8")
    assert message in refused(broken)


def test_another_vocabulary(broken: Path) -> None:
    tokens = json.loads((broken / "tokens.json").read_text("utf-8"))
    (broken / "tokens.json").write_text(json.dumps(tokens[:-2] + tokens[-1:]), "utf-8")
    assert refused(broken) == "decoder.onnx: logits has 154 columns, tokens.json has 153."


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (lambda shared: shared / "paraformer-tiny-onnx" / "model.onnx", "model.onnx"),
        (lambda shared: shared / "paraformer-tiny-onnx" / "model.onnx", "decoder.onnx"),
    ],
    ids=["the encoder", "the decoder"],
)
def test_graphs_of_the_recogniser_for_whole_pieces(
    shared_models: Path, broken: Path, source: Callable[[Path], Path], target: str
) -> None:
    shutil.copyfile(source(shared_models), broken / target)
    assert refused(broken).startswith(f"{target} is not of a streaming Paraformer: it takes speech, speech_lengths")
