"""Streaming Paraformer as it is served beside FunASR's ParaformerStreaming on torch: the same tokens in every chunk,
the last one included; fewer mistakes than with FunASR's own settings; and the two graphs that `export` writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from models.small_paraformer_online import write_streaming_paraformer
from models.speech import RATE, Utterance, utterances
from rapidfuzz.distance import Levenshtein

from app.domain.errors import ModelStoreError
from app.engines.paraformer_online import recognizer as recognizer_module
from app.engines.paraformer_online.recognizer import OnlineParaformer
from app.modelstore.exporting import export

from .conftest import Convert, Converted, FunAsr

pytestmark = pytest.mark.heavy

CHUNK = 9600
SHORT = 960
"""Samples: FunASR drops a rest below this, and scales what it has kept for the last chunk a second time."""
OURS = {"chunk_size": [10, 10, 5], "encoder_chunk_look_back": 0, "decoder_chunk_look_back": 1}
"""What is served, in FunASR's words."""
USUAL = {"chunk_size": [0, 10, 5], "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1}
"""Those of FunASR's examples, with torch."""
RUNTIME = {"chunk_size": [5, 10, 5], "encoder_chunk_look_back": 0, "decoder_chunk_look_back": 0}
"""Those of its ONNX runtimes."""
FILES = {"am.mvn", "config.yaml", "configuration.json", "seg_dict", "tokens.json"}
GRAPHS = {"model.onnx", "decoder.onnx"}
Told = list[list[str]]


class Streaming(FunAsr):
    """A streaming checkpoint in FunASR's own hands."""

    def chunks(self, sound: np.ndarray, settings: dict[str, Any]) -> Told:
        """The tokens of each chunk of float32 16 kHz samples."""
        cache: dict[str, Any] = {}
        told: Told = []
        pieces = cut(sound)
        with pytest.MonkeyPatch.context() as patch:
            for number, piece in enumerate(pieces):
                tokens: list[str] = []
                overhear(patch, tokens)
                self.auto.generate(input=piece, cache=cache, is_final=number == len(pieces) - 1, **settings)
                told.append(tokens)
        return told


def overhear(patch: pytest.MonkeyPatch, tokens: list[str]) -> None:
    from funasr.utils import postprocess_utils  # noqa: PLC0415 - in the heavy environment only

    patch.setattr(postprocess_utils, "sentence_postprocess", lambda words: (tokens.extend(words), words))


def cut(sound: np.ndarray) -> list[np.ndarray]:
    return [sound[start : start + CHUNK] for start in range(0, len(sound), CHUNK)]


def told(model: OnlineParaformer, sound: np.ndarray) -> Told:
    """The tokens of each chunk as they are served."""
    stream, said, chunks = model.open(), 0, list[list[str]]()
    pieces = cut(sound)
    for number, piece in enumerate(pieces):
        stream.push(piece, last=number == len(pieces) - 1)
        chunks.append([model.tokens.all[token] for token in stream.tokens[said:]])
        said = len(stream.tokens)
    return chunks


def flat(chunks: Told) -> list[str]:
    return [token for chunk in chunks for token in chunk]


def followed(sound: np.ndarray) -> np.ndarray:
    """With the quiet that the engine hears behind an utterance."""
    return np.concatenate([sound, recognizer_module._quiet()])


def in_a_room(parts: Sequence[np.ndarray], seed: int) -> np.ndarray:
    sound = np.concatenate(parts)
    rest = (len(sound) + len(recognizer_module._quiet())) % CHUNK
    sound = np.concatenate([sound, np.zeros(SHORT if rest < SHORT else 0)])
    return (sound + np.random.default_rng(seed).normal(0, 3e-4, len(sound))).astype(np.float32)


@pytest.fixture(scope="module")
def tiny(checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint("paraformer-online-tiny")


@pytest.fixture(scope="module")
def exported(tiny: Path, convert: Convert) -> Converted:
    return convert(tiny)


@pytest.fixture(scope="module")
def fp32(exported: Converted) -> OnlineParaformer:
    return OnlineParaformer("paraformer-large-online", exported.fp32)


@pytest.fixture(scope="module")
def funasr(tiny: Path) -> Streaming:
    return Streaming(tiny)


@pytest.fixture(scope="module")
def said() -> list[Utterance]:
    return utterances(120, 11)


@pytest.fixture(scope="module")
def bare(said: list[Utterance]) -> list[np.ndarray]:
    """Speech that begins and ends at once."""
    return [in_a_room([one.samples], number) for number, one in enumerate(said)]


@pytest.fixture(scope="module")
def speeches(said: list[Utterance]) -> list[tuple[np.ndarray, list[str]]]:
    """Six utterances with short pauses each, and their tokens."""
    chance = np.random.default_rng(2)
    pieces = [np.concatenate([one.samples, np.zeros(int(chance.uniform(0.1, 0.5) * RATE))]) for one in said]
    return [
        (
            in_a_room(pieces[start : start + 6], start),
            [token for one in said[start : start + 6] for token in one.tokens],
        )
        for start in range(0, len(said), 6)
    ]


def test_every_chunk_says_what_funasr_says(
    fp32: OnlineParaformer, funasr: Streaming, bare: list[np.ndarray], speeches: list[tuple[np.ndarray, list[str]]]
) -> None:
    different, chunks, tokens = list[tuple[Told, Told]](), 0, 0
    for sound in [*bare, *(sound for sound, _ in speeches)]:
        ours, theirs = told(fp32, sound), funasr.chunks(followed(sound), OURS)
        # The engine hears the quiet with the last push: where it begins another chunk, FunASR has one more.
        last = len(ours) - 1
        expected = [*theirs[:last], flat(theirs[last:])]
        if ours != expected:
            different.append((ours, expected))
        chunks, tokens = chunks + len(theirs), tokens + len(flat(ours))
    print(f"{len(different)} utterances differ ({chunks} chunks, {tokens} tokens)")
    assert different == []
    assert chunks > 700
    assert tokens > 1200


def test_fewer_mistakes_than_with_funasrs_own_settings(
    fp32: OnlineParaformer,
    funasr: Streaming,
    said: list[Utterance],
    bare: list[np.ndarray],
    speeches: list[tuple[np.ndarray, list[str]]],
) -> None:
    spoken = [*zip(bare, (list(one.tokens) for one in said), strict=True), *speeches]
    wrong = {"served": sum(Levenshtein.distance(tokens, flat(told(fp32, sound))) for sound, tokens in spoken)}
    for name, settings in (("usual", USUAL), ("runtime", RUNTIME)):
        heard = [(flat(funasr.chunks(followed(sound), settings)), tokens) for sound, tokens in spoken]
        wrong[name] = sum(Levenshtein.distance(*pair) for pair in heard)
    print(f"wrong of {sum(len(tokens) for _, tokens in spoken)} tokens: {wrong}")
    assert wrong["served"] < wrong["usual"]
    assert wrong["served"] < wrong["runtime"]


def test_the_last_word_is_there_as_often_as_after_funasrs_own_flush(
    fp32: OnlineParaformer, funasr: Streaming, said: list[Utterance], bare: list[np.ndarray]
) -> None:
    count = {
        "served": last_words(said, [flat(told(fp32, sound)) for sound in bare]),
        "usual": last_words(said, [flat(funasr.chunks(sound, USUAL)) for sound in bare]),
        "runtime": last_words(said, [flat(funasr.chunks(sound, RUNTIME)) for sound in bare]),
    }
    print(f"last words of {len(said)}, nothing after them: {count}")
    assert count["served"] >= max(count["usual"], count["runtime"])


def last_words(said: Sequence[Utterance], heard: Sequence[Sequence[str]]) -> int:
    return sum(list(got[-1:]) == [one.tokens[-1]] for one, got in zip(said, heard, strict=True))


def test_int8_hears_nearly_the_same(fp32: OnlineParaformer, exported: Converted, bare: list[np.ndarray]) -> None:
    int8 = OnlineParaformer("paraformer-large-online", exported.int8)
    pairs = [(flat(told(fp32, sound)), flat(told(int8, sound))) for sound in bare]
    other = sum(Levenshtein.distance(*pair) for pair in pairs)
    count = sum(len(one) for one, _ in pairs)
    print(f"int8: {other} of {count} tokens differ")
    assert other <= 0.03 * count


# The graphs


def test_the_graphs_are_named_as_funasrs_are(exported: Converted, tiny: Path, funasr: Streaming) -> None:
    quantised = {name.replace(".onnx", "_quant.onnx") for name in GRAPHS}
    assert names(exported.int8) == FILES | GRAPHS | quantised
    assert names(exported.fp32) == FILES | GRAPHS
    assert all((exported.int8 / name).read_bytes() == (tiny / name).read_bytes() for name in FILES)
    config = funasr.auto.kwargs
    parts = {name: config[name] for name in ("encoder", "decoder", "predictor")}
    scripts = Streaming(tiny).auto.model.export(**parts, type="onnx")
    for script, stem in zip(scripts, ("model", "decoder"), strict=True):
        for file in (f"{stem}.onnx", f"{stem}_quant.onnx"):
            session = opened(exported.int8 / file)
            assert [one.name for one in session.get_inputs()] == script.export_input_names()
            assert [one.name for one in session.get_outputs()] == script.export_output_names()
    small = (exported.int8 / "model_quant.onnx").stat().st_size
    assert small < 0.5 * (exported.int8 / "model.onnx").stat().st_size


def test_the_graphs_that_tests_make_without_torch_are_the_exported_ones(
    exported: Converted, tiny: Path, tmp_path: Path
) -> None:
    made = write_streaming_paraformer(tiny, tmp_path / "made")
    chance = np.random.default_rng(4)
    for steps, tokens in ((25, 1), (20, 7), (60, 11)):
        lengths = np.array([steps], np.int32)
        feed = {"speech": chance.standard_normal((1, steps, 560), np.float32) * 5, "speech_lengths": lengths}
        [enc, *_] = alike(made / "model.onnx", exported.fp32 / "model.onnx", feed)
        feed = {"enc": enc, "enc_len": lengths, "acoustic_embeds_len": np.array([tokens], np.int32)}
        feed["acoustic_embeds"] = chance.standard_normal((1, tokens, enc.shape[-1]), np.float32)
        feed |= {f"in_cache_{layer}": chance.standard_normal((1, enc.shape[-1], 10), np.float32) for layer in (0, 1)}
        alike(made / "decoder.onnx", exported.fp32 / "decoder.onnx", feed)


def alike(one: Path, other: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What both give."""
    given, expected = (opened(path).run(None, feed) for path in (one, other))
    for first, second in zip(given, expected, strict=True):
        np.testing.assert_allclose(first, second, atol=2e-5)
    return list(expected)


def opened(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_rows_of_different_lengths_do_not_mix(exported: Converted) -> None:
    session = opened(exported.fp32 / "model.onnx")
    speech = np.random.default_rng(4).standard_normal((2, 300, 560), np.float32)
    lengths = np.array([300, 120], np.int32)
    enc, _, alphas = session.run(None, {"speech": speech, "speech_lengths": lengths})
    alone = session.run(None, {"speech": speech[1:, :120], "speech_lengths": lengths[1:]})
    np.testing.assert_allclose(enc[1:, :120], alone[0], atol=1e-3)
    # the last step's weight looks at what follows it, which is the row's end only where the row is alone
    np.testing.assert_allclose(alphas[1:, :119], alone[2][:, :119], atol=1e-3)
    assert not alphas[1, 120:].any()


def test_it_is_not_had_in_fp16(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelStoreError, match="ParaformerStreaming is not served on a GPU"):
        export(tiny, tmp_path / "out", fp16=True, progress=print)
    assert names(tmp_path) == set()


def test_another_kind_of_export_leaves_no_decoder_behind(
    tiny: Path, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    export(tiny, tmp_path / "out", quantize=False, progress=print)
    assert names(tmp_path / "out") == FILES | GRAPHS
    export(checkpoint("paraformer-tiny"), tmp_path / "out", quantize=False, progress=print)
    assert names(tmp_path / "out") == FILES | {"model.onnx"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
