"""Paraformer as it is served against FunASR: of the same pieces, the same tokens, times, features and hotwords."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
from models.full_paraformer import make_small_bicif, make_small_seaco
from models.speech import utterances
from rapidfuzz.distance import Levenshtein

from app.domain.engines import SAMPLE_RATE, Hypothesis, Piece, PieceRequest, SpeechSpan
from app.domain.errors import ModelStoreError
from app.domain.hotwords import Hotword
from app.domain.options import RecognitionOptions, SpeechDetection
from app.engines.fsmn_vad import FsmnVad
from app.engines.paraformer.features import FrontEnd
from app.engines.paraformer.recognizer import ParaformerRecognizer, padded
from app.engines.paraformer.tokens import Tokens
from app.modelstore.exporting import export
from app.pipeline.segmentation import cut

from .conftest import Converted, FunAsr, Load, Theirs, Wave

pytestmark = pytest.mark.heavy

CLIPS = 130
LEAD = int(np.argmax(padded(np.ones(1, np.float32)))) / SAMPLE_RATE
"""Seconds of quiet that the engine puts before a piece."""
Pieces = list[np.ndarray]


@dataclass(frozen=True)
class Joined:
    """A long recording: where each of its utterances starts and ends, in seconds, and what it says; and where the
    detector hears speech."""

    sound: Wave
    said: tuple[tuple[float, float, tuple[str, ...]], ...]
    spans: list[SpeechSpan]


@pytest.fixture(scope="session")
def tiny(checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint("paraformer-tiny")


@pytest.fixture(scope="session")
def exported(tiny: Path, convert: Callable[[Path], Converted]) -> Converted:
    return convert(tiny)


@pytest.fixture(scope="session")
def fp32(exported: Converted, load: Load) -> ParaformerRecognizer:
    return load(exported.fp32)


@pytest.fixture(scope="session")
def int8(exported: Converted, load: Load) -> ParaformerRecognizer:
    return load(exported.int8)


@pytest.fixture(scope="session")
def detector(models_dir: Path) -> FsmnVad:
    return FsmnVad(models_dir / "fsmn-vad")


@pytest.fixture(scope="session")
def pieces(fp32: ParaformerRecognizer, detector: FsmnVad) -> Pieces:
    """Clips as the server cuts them."""
    found: Pieces = []
    for number, clip in enumerate(utterances(CLIPS, seed=11)):
        sound = Wave(noisy([np.zeros(8000), clip.samples, np.zeros(9600)], number))
        spans = detector.detect(sound, SpeechDetection())
        found += [sound.piece(start, end) for start, end in served_cuts(sound, spans, fp32)]
    assert len(found) >= CLIPS
    return found


@pytest.fixture(scope="session")
def ours(fp32: ParaformerRecognizer, pieces: Pieces) -> list[Hypothesis]:
    return [hear(fp32, piece) for piece in pieces]


@pytest.fixture(scope="session")
def theirs(tiny: Path, pieces: Pieces) -> list[Theirs]:
    funasr = FunAsr(tiny)
    return [funasr.hear(padded(piece)) for piece in pieces]


def noisy(parts: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """The parts joined, with a little noise: digital silence is nothing a microphone gives."""
    joined = np.concatenate(parts)
    return (joined + np.random.default_rng(seed).normal(0, 3e-4, len(joined))).astype(np.float32)


def served_cuts(
    sound: Wave, spans: Sequence[SpeechSpan], recognizer: ParaformerRecognizer, max_silence: float | None = None
) -> list[tuple[float, float]]:
    """The pieces the server makes of a recording, in seconds; `max_silence` if not what the recogniser declares."""
    can = recognizer.capabilities
    cuts = cut(sound, spans, can.preferred_seconds, can.max_silence if max_silence is None else max_silence)
    return [(one.start, one.end) for one in cuts]


def hear(recognizer: ParaformerRecognizer, samples: np.ndarray, hotwords: Sequence[str] = ()) -> Hypothesis:
    options = RecognitionOptions(hotwords=tuple(map(Hotword, hotwords)), timed=True)
    return recognizer.recognize([PieceRequest(Piece(0.0, samples), options)])[0]


def spelled(recognizer: ParaformerRecognizer, heard: Hypothesis) -> tuple[str, ...]:
    return tuple(recognizer.tokens[number] for number in heard.tokens)


def errors(reference: Sequence[str], heard: Sequence[str]) -> int:
    """Tokens substituted, inserted or missing."""
    if not reference:
        return len(heard)
    counts = jiwer.process_words(" ".join(reference), " ".join(heard))
    return counts.substitutions + counts.insertions + counts.deletions


def furthest(heard: Hypothesis, expected: Theirs, seconds: float) -> float:
    """The largest difference of a word's start or end, in seconds. Both within the piece."""
    times = np.array([(word.start, word.end) for word in heard.words])
    return float(np.abs(times - np.clip(expected.times - LEAD, 0.0, seconds)).max(initial=0.0))


def test_fp32_words_are_funasrs(
    fp32: ParaformerRecognizer, ours: list[Hypothesis], theirs: list[Theirs], pieces: Pieces
) -> None:
    assert sum(len(heard.tokens) for heard in ours) > 3 * CLIPS
    different = [
        (spelled(fp32, heard), expected.tokens)
        for heard, expected in zip(ours, theirs, strict=True)
        if spelled(fp32, heard) != expected.tokens or tuple(word.text for word in heard.words) != expected.words
    ]
    print(f"{len(different)} of {len(pieces)} pieces differ")
    assert len(different) <= 1, different


def test_int8_tokens_are_nearly_fp32s(
    fp32: ParaformerRecognizer, int8: ParaformerRecognizer, ours: list[Hypothesis], pieces: Pieces
) -> None:
    pairs = [
        (spelled(fp32, heard), spelled(int8, hear(int8, piece))) for heard, piece in zip(ours, pieces, strict=True)
    ]
    wrong, count = sum(errors(*pair) for pair in pairs), sum(len(reference) for reference, _ in pairs)
    print(f"int8: {wrong} of {count} tokens differ")
    assert wrong <= 0.01 * count


def test_words_have_funasrs_times(ours: list[Hypothesis], theirs: list[Theirs], pieces: Pieces) -> None:
    compared = [
        furthest(heard, expected, len(piece) / SAMPLE_RATE)
        for heard, expected, piece in zip(ours, theirs, pieces, strict=True)
        if tuple(word.text for word in heard.words) == expected.words
    ]
    print(f"{len(compared)} pieces, furthest word edge {1000 * max(compared):.1f} ms")
    assert len(compared) >= len(pieces) - 1
    assert max(compared) <= 0.06


def test_features_are_funasrs(tiny: Path, pieces: Pieces, phone_call: Path) -> None:
    torch = pytest.importorskip("torch")
    from funasr.frontends.wav_frontend import WavFrontend  # noqa: PLC0415 - in the heavy environment only

    from benchmarks import audio  # noqa: PLC0415

    call = audio.read(phone_call / "sample.wav").astype(np.float32) / 32768
    sounds = [*pieces[:20], call, call[:640], np.zeros(16_000, np.float32)]
    front_end = FrontEnd(tiny)
    reference = WavFrontend(cmvn_file=str(tiny / "am.mvn"), n_mels=80, lfr_m=7, lfr_n=6, dither=0.0, window="hamming")
    for sound in sounds:
        expected, _ = reference(torch.from_numpy(sound)[None], torch.tensor([len(sound)]))
        features = front_end(sound)
        assert features.shape == tuple(expected[0].shape)
        assert float(np.abs(features - expected[0].numpy()).max()) <= 1e-3


def join(seed: int, *, seconds: float, detector: FsmnVad) -> Joined:
    """Utterances with pauses of 0.2 to 1.5 s."""
    rng = np.random.default_rng(seed)
    parts, said, now = [np.zeros(8000)], [], 0.5
    for clip in utterances(round(seconds / 2), seed=1000 + seed):
        if now > seconds:
            break
        pause = np.zeros(round(rng.uniform(0.2, 1.5) * SAMPLE_RATE))
        parts += [clip.samples, pause]
        said.append((now, now + clip.seconds, clip.tokens))
        now += clip.seconds + len(pause) / SAMPLE_RATE
    assert now > seconds
    sound = Wave(noisy(parts, seed))
    return Joined(sound, tuple(said), detector.detect(sound, SpeechDetection()))


@pytest.fixture(scope="session")
def recordings(detector: FsmnVad) -> list[Joined]:
    """Thirty, of 60 to 114 s: of fewer, chance alone makes a difference of 1 %."""
    return [join(seed, seconds=60 + 6 * (seed % 10), detector=detector) for seed in range(30)]


@pytest.mark.parametrize("max_silence", [None, 0.35], ids=["as served", "short pieces"])
def test_cutting_costs_no_tokens(
    fp32: ParaformerRecognizer, recordings: list[Joined], max_silence: float | None
) -> None:
    """Long recordings cut by the server, against the same utterances cut by who knows where they are.

    Errors are counted against what is said, not against each other: what the tiny model makes of several utterances at
    once differs in a third of its tokens as soon as there is 0.4 s more or less silence around them.
    """
    served = known = count = 0
    for recording in recordings:
        cuts = served_cuts(recording.sound, recording.spans, fp32, max_silence)
        assert not parted(recording, cuts)
        for start, end in cuts:
            inside = [number for number, one in enumerate(recording.said) if start < (one[0] + one[1]) / 2 <= end]
            said = [token for number in inside for token in recording.said[number][2]]
            piece = recording.sound.piece(*known_cut(recording, inside[0], inside[-1]))
            served += errors(said, spelled(fp32, hear(fp32, recording.sound.piece(start, end))))
            known += errors(said, spelled(fp32, hear(fp32, piece)))
            count += len(said)
    print(f"{count} tokens: {served} wrong as cut, {known} wrong cut by who knows")
    assert count == sum(len(tokens) for recording in recordings for *_, tokens in recording.said)
    assert served - known <= 0.01 * count


def known_cut(recording: Joined, first: int, last: int) -> tuple[float, float]:
    """From an utterance to another with half a second of what is around them, or half of the pause."""
    said = recording.said
    before = said[first - 1][1] if first else 0.0
    after = said[last + 1][0] if last + 1 < len(said) else recording.sound.duration
    start, end = said[first][0], said[last][1]
    return max(start - 0.5, (before + start) / 2), min(end + 0.5, (end + after) / 2)


def parted(recording: Joined, cuts: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Utterances that lie in no piece as a whole. espeak's begin and end with a little silence."""
    return [
        (start, end)
        for start, end, _ in recording.said
        if not any(low <= start + 0.15 and end - 0.25 <= high for low, high in cuts)
    ]


@pytest.fixture(scope="session")
def seaco(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    return make_small_seaco(tmp_path_factory.mktemp("seaco") / "checkpoint", checkpoint("paraformer-large"))


@pytest.fixture(scope="session")
def biased(seaco: Path, convert: Callable[[Path], Converted], load: Load) -> ParaformerRecognizer:
    recognizer = load(convert(seaco).fp32)
    assert recognizer.capabilities.hotwords
    return recognizer


@pytest.fixture(scope="session")
def seaco_funasr(seaco: Path) -> FunAsr:
    return FunAsr(seaco)


@pytest.fixture(scope="session")
def characters(seaco: Path) -> list[str]:
    tokens = json.loads((seaco / "tokens.json").read_text("utf-8"))
    return [token for token in tokens if len(token) == 1 and "\u4e00" <= token <= "\u9fff"]


def terms(characters: list[str], count: int) -> list[str]:
    """Made-up terms of one to six characters."""
    rng = np.random.default_rng(count)
    return list(dict.fromkeys("".join(rng.choice(characters, rng.integers(1, 7))) for _ in range(count)))


@pytest.mark.parametrize("count", [0, 1, 3, 49, 50, 51, 120])
def test_hotwords_do_what_they_do_in_funasr(
    biased: ParaformerRecognizer, seaco_funasr: FunAsr, characters: list[str], pieces: Pieces, count: int
) -> None:
    """FunASR attends to fifty of more terms. No terms are the empty list, as its own ONNX runtime has it."""
    listed = terms(characters, count)
    changed = 0
    for piece in pieces[:20]:
        heard = hear(biased, piece, listed)
        expected = seaco_funasr.hear(padded(piece), listed)
        assert spelled(biased, heard) == expected.tokens
        assert tuple(word.text for word in heard.words) == expected.words
        assert furthest(heard, expected, len(piece) / SAMPLE_RATE) <= 0.001
        changed += spelled(biased, heard) != spelled(biased, hear(biased, piece))
    assert changed >= 15 or not count


def test_bicif_is_funasrs(
    checkpoint: Callable[[str], Path], convert: Callable[[Path], Converted], load: Load, pieces: Pieces, tmp_path: Path
) -> None:
    folder = make_small_bicif(tmp_path / "bicif", checkpoint("paraformer-large"))
    recognizer, funasr = load(convert(folder).fp32), FunAsr(folder)
    for piece in pieces[:20]:
        heard, expected = hear(recognizer, piece), funasr.hear(padded(piece))
        assert tuple(word.text for word in heard.words) == expected.words
        assert furthest(heard, expected, len(piece) / SAMPLE_RATE) <= 0.001


def test_terms_are_spelled_as_in_funasr(biased: ParaformerRecognizer, seaco_funasr: FunAsr, pieces: Pieces) -> None:
    listed = ["北京", "语音识别", "hello", "market", "the", "人"]
    seaco_funasr.hear(padded(pieces[0]), listed)
    ids: list[list[int]] = seaco_funasr.auto.model.hotword_list
    tokens = Tokens(biased.tokens, {token: (token,) for token in biased.tokens})
    known = [
        (term, spelling) for term, spelling in zip(listed, ids, strict=False) if len(biased.tokens) - 1 not in spelling
    ]
    assert len(known) >= 4
    assert [tokens.spell(term) for term, _ in known] == [tuple(spelling) for _, spelling in known]
    assert ids[-1] == [tokens.start]


# --- fp16 -------------------------------------------------------------------------------------------------------------


def in_fp16(checkpoint: Path, out: Path) -> Path:
    """The checkpoint exported to `out`, only the fp16 graph left."""
    pytest.importorskip("torch")
    export(checkpoint, out, quantize=False, fp16=True, progress=print)
    (out / "model.onnx").unlink()
    return out


@pytest.fixture(scope="session")
def halved(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_fp16(tiny, tmp_path_factory.mktemp("halved") / "out")


def compare(recognizer: ParaformerRecognizer, pieces: Pieces, expected: Sequence[Hypothesis]) -> tuple[float, float]:
    """The share of pieces that have the text they should, and of their words the share that is where it should be,
    within 60 ms: whether a sum of weights is just below a whole number or just above moves all words of a piece."""
    heard = [hear(recognizer, piece) for piece in pieces]
    same = [(one, other) for one, other in zip(heard, expected, strict=True) if one.text == other.text]
    words = [pair for one, other in same for pair in zip(one.words, other.words, strict=True)]
    near = sum(abs(one.start - other.start) <= 0.061 for one, other in words)
    print(f"{len(same)} of {len(pieces)} pieces have the same text, {near} of {len(words)} words the same times")
    return len(same) / len(pieces), near / len(words)


class Rounding:
    """The fp16 graph in the hands of ONNX's own evaluator, every value of it rounded as its type says. ONNX Runtime has
    no fp16 products for a CPU: it computes them in fp32 and leaves out the rounding between them."""

    def __init__(self, folder: Path) -> None:
        from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 - in the heavy environment only

        self._evaluator = ReferenceEvaluator(str(folder / "model_fp16.onnx"))

    def run(self, outputs: list[str], feed: dict[str, Any]) -> list[Any]:
        with np.errstate(over="ignore", invalid="ignore"):
            return list(self._evaluator.run(outputs, feed))


def rounding(folder: Path, load: Load) -> ParaformerRecognizer:
    """The engine with its graph as a GPU computes it. Two seconds a piece."""
    recognizer = load(folder)
    recognizer._model._session = Rounding(folder)  # type: ignore[assignment]
    return recognizer


def test_fp16_weights_hear_the_same(halved: Path, load: Load, pieces: Pieces, ours: list[Hypothesis]) -> None:
    same, near = compare(load(halved), pieces, ours)
    assert same >= 0.98
    assert near >= 0.98


def test_fp16_hears_the_same(halved: Path, load: Load, pieces: Pieces, ours: list[Hypothesis]) -> None:
    same, near = compare(rounding(halved, load), pieces[:40], ours[:40])
    assert same >= 0.97
    assert near >= 0.97


def test_a_graph_that_takes_fp16_is_given_fp16(
    halved: Path, load: Load, pieces: Pieces, ours: list[Hypothesis], tmp_path: Path
) -> None:
    """As other tools write them: inputs and outputs are fp16, too."""
    import onnx  # noqa: PLC0415 - in the heavy environment only

    folder = Path(shutil.copytree(halved, tmp_path / "model"))
    model = onnx.load(folder / "model_fp16.onnx")
    kinds, cast = onnx.TensorProto, onnx.helper.make_node
    changed: set[str] = set()
    for tensor in [*model.graph.input, *model.graph.output]:
        if tensor.type.tensor_type.elem_type != kinds.FLOAT:
            continue
        tensor.type.tensor_type.elem_type = kinds.FLOAT16
        name, inner = tensor.name, f"{tensor.name}_inside"
        rename(model.graph, name, inner)
        if tensor in model.graph.input:
            model.graph.node.insert(0, cast("Cast", [name], [inner], to=kinds.FLOAT))
        else:
            model.graph.node.append(cast("Cast", [inner], [name], to=kinds.FLOAT16))
        changed.add(name)
    onnx.save(model, folder / "model_fp16.onnx")
    assert changed == {"speech", "logits", "alphas"}
    same, near = compare(load(folder), pieces, ours)
    assert same >= 0.98
    assert near >= 0.9


def rename(graph: Any, name: str, other: str) -> None:
    """A value of a graph, where it is made and where it is taken, in branches too."""
    for node in graph.node:
        node.input[:] = [other if one == name else one for one in node.input]
        node.output[:] = [other if one == name else one for one in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                rename(attribute.g, name, other)


def with_larger_sums(checkpoint: Path, times: float, out: Path) -> Path:
    """A checkpoint that computes the same with larger sums along its encoder's layers: norms behind them undo it."""
    import torch  # noqa: PLC0415 - in the heavy environment only

    shutil.copytree(checkpoint, out, copy_function=shutil.copyfile)
    out.chmod(0o755)
    weights = torch.load(checkpoint / "model.pt", weights_only=True)
    for name in [name for name in weights if name.startswith("encoder.encoders")]:
        if "feed_forward.w_2." in name or name.endswith("linear_out.bias"):
            weights[name] *= times
        elif "linear_q_k_v." in name:
            weights[name][-len(weights[name]) // 3 :] *= times
    torch.save(weights, out / "model.pt")
    return out


def test_sums_beyond_fp16_are_no_harm(
    tiny: Path, load: Load, pieces: Pieces, ours: list[Hypothesis], tmp_path: Path
) -> None:
    """Up to 120,000 here; fp16 ends at 65,504. Published models have such."""
    folder = in_fp16(with_larger_sums(tiny, 3000, tmp_path / "checkpoint"), tmp_path / "out")
    same, near = compare(rounding(folder, load), pieces[:20], ours[:20])
    assert same >= 0.95
    assert near >= 0.95


def test_an_export_that_fp16_cannot_hold_is_refused(tiny: Path, tmp_path: Path) -> None:
    checkpoint = with_larger_sums(tiny, 30_000, tmp_path / "checkpoint")
    with pytest.raises(ModelStoreError, match=r"^model_fp16\.onnx "):
        in_fp16(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_hotwords_do_in_fp16_what_they_do_in_fp32(
    seaco: Path, biased: ParaformerRecognizer, load: Load, characters: list[str], pieces: Pieces, tmp_path: Path
) -> None:
    recognizer = load(in_fp16(seaco, tmp_path / "out"))
    listed = terms(characters, 20)
    heard = [(hear(recognizer, piece, listed).tokens, hear(biased, piece, listed).tokens) for piece in pieces[:20]]
    tokens = sum(len(expected) for _, expected in heard)
    wrong = sum(Levenshtein.distance(list(given), list(expected)) for given, expected in heard)
    print(f"{wrong} of {tokens} tokens of random weights differ in fp16")
    assert wrong <= 0.1 * tokens
