"""Paraformer with a small model in the true format: what it hears of speech made for it, and what it says of folders
that are not its own."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models.small_language_model import write_language_model
from models.speech import EN_SENTENCES, RATE, VOICES, ZH_SENTENCES, Utterance, say, utterances
from rapidfuzz.distance import Levenshtein

from app.domain.engines import Hypothesis, Piece, PieceRequest
from app.domain.errors import EngineFailure
from app.domain.options import RecognitionOptions
from app.engines import paraformer
from app.engines.folders import read_tokens
from app.engines.paraformer import graph as graph_module
from app.engines.paraformer import recognizer as recognizer_module
from app.engines.paraformer.recognizer import ParaformerRecognizer
from app.engines.sessions import run
from app.settings import Settings

QUIET = 3e-4
"""A quiet room around clean speech: digital silence is nothing a microphone gives."""


@pytest.fixture(scope="module")
def folder(shared_models: Path) -> Path:
    return shared_models / "paraformer-tiny-onnx"


@pytest.fixture(scope="module")
def small(folder: Path) -> ParaformerRecognizer:
    return ParaformerRecognizer("paraformer-large", folder, threads=2)


@pytest.fixture(scope="module")
def said() -> list[Utterance]:
    return [replace(one, samples=in_a_room(one.samples)) for one in utterances(60, 11)]


def in_a_room(samples: np.ndarray, lead: float = 0.2, tail: float = 0.3, noise: float = QUIET) -> np.ndarray:
    around = np.concatenate([np.zeros(round(lead * RATE)), samples, np.zeros(round(tail * RATE))])
    return (around + np.random.default_rng(len(samples)).standard_normal(len(around)) * noise).astype(np.float32)


def hear(recognizer: ParaformerRecognizer, samples: np.ndarray, **options: object) -> Hypothesis:
    [heard] = recognizer.recognize([PieceRequest(Piece(0.0, samples), RecognitionOptions(**options))])  # type: ignore[arg-type]
    return heard


def wrong(recognizer: ParaformerRecognizer, spoken: Sequence[tuple[Sequence[str], np.ndarray]]) -> float:
    """The share of tokens that are heard wrong."""
    heard = [[recognizer.tokens[token] for token in hear(recognizer, samples).tokens] for _, samples in spoken]
    mistakes = sum(Levenshtein.distance(list(tokens), got) for (tokens, _), got in zip(spoken, heard, strict=True))
    return mistakes / sum(len(tokens) for tokens, _ in spoken)


def test_it_hears_what_is_said(small: ParaformerRecognizer, said: list[Utterance]) -> None:
    assert wrong(small, [(one.tokens, one.samples) for one in said]) <= 0.12


def test_quiet_around_a_piece_helps(
    small: ParaformerRecognizer, said: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = [(one.tokens, one.samples[round(0.2 * RATE) : -round(0.3 * RATE)]) for one in said]
    padded = wrong(small, bare)
    with monkeypatch.context() as patch:
        patch.setattr(recognizer_module, "_QUIET", 0.0)
        assert padded < wrong(small, bare), "digital silence is worse than quiet"
    monkeypatch.setattr(recognizer_module, "padded", lambda samples: samples)
    assert padded < wrong(small, bare), "and so is none"


def test_chinese_is_written_without_spaces_and_english_with(small: ParaformerRecognizer) -> None:
    heard = hear(small, in_a_room(say("my name is george", "en+f4")))
    assert (heard.text, heard.language) == ("my name is george", "en")
    assert [word.text for word in heard.words] == ["my", "name", "is", "george"]
    chinese = hear(small, in_a_room(say("人工智能改变世界", "cmn+f4")))
    assert chinese.language == "zh"
    assert " " not in chinese.text
    assert [word.text for word in chinese.words] == list(chinese.text)


def test_words_have_times_and_confidence(small: ParaformerRecognizer, said: list[Utterance]) -> None:
    for one in said:
        heard = hear(small, one.samples)
        assert all(0.0 <= word.start <= word.end <= one.seconds for word in heard.words)
        assert all(before.start <= after.start for before, after in itertools.pairwise(heard.words))
        assert all(0.0 < (word.confidence or 0) <= 1.0 for word in heard.words)
        assert tuple(token for word in heard.words for token in word.tokens) == heard.tokens


def test_words_are_where_they_were_said(small: ParaformerRecognizer) -> None:
    digits = ("two", "six", "three", "five")
    parts, starts = [np.zeros(round(0.3 * RATE), np.float32)], []
    for digit in digits:
        sound = say(digit, "en+m7", speed=140)
        loud = np.flatnonzero(np.abs(sound) > 0.01)
        starts.append(sum(map(len, parts)) / RATE)
        parts += [sound[loud[0] : loud[-1]], np.zeros(round(0.15 * RATE), np.float32)]
    heard = hear(small, in_a_room(np.concatenate(parts), 0.0, 0.2))
    assert heard.text.split() == list(digits)
    # A token is timed by where it is complete; the first one, with silence before it, is timed latest.
    assert heard.words[0].start == pytest.approx(starts[0], abs=0.4)
    assert [word.start for word in heard.words[1:]] == pytest.approx(starts[1:], abs=0.2)


def test_what_was_asked_for_as_the_language_is_the_language(small: ParaformerRecognizer, said: list[Utterance]) -> None:
    assert hear(small, said[0].samples, language="en").language == "en"
    assert {hear(small, one.samples, languages=("en",)).language for one in said} == {"en"}
    assert {hear(small, one.samples, languages=("en", "zh")).language for one in said} == {"en", "zh"}


def test_token_probabilities_come_when_asked_for(small: ParaformerRecognizer, said: list[Utterance]) -> None:
    assert hear(small, said[0].samples).logprobs == ()
    heard = hear(small, said[0].samples, logprobs=True)
    assert len(heard.logprobs) == len(heard.tokens) > 0
    assert all(token.logprob <= 0 and token.utf8.decode() == token.token for token in heard.logprobs)


def test_hardly_any_sound_is_no_error(small: ParaformerRecognizer) -> None:
    for count in (0, 1, 399, 400, 1600):
        heard = hear(small, np.zeros(count, np.float32))
        assert all(0.0 <= word.start <= word.end <= count / RATE for word in heard.words)


def test_pieces_heard_at_once_are_heard_as_alone(small: ParaformerRecognizer, said: list[Utterance]) -> None:
    alone = [hear(small, one.samples) for one in said]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            assert list(threads.map(lambda one: hear(small, one.samples), said)) == alone


def test_pieces_of_one_call_are_heard_as_alone(small: ParaformerRecognizer, said: list[Utterance]) -> None:
    requests = [PieceRequest(Piece(0.0, one.samples), RecognitionOptions()) for one in said[:8]]
    assert small.recognize(requests) == [hear(small, one.samples) for one in said[:8]]


@pytest.fixture
def on_a_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ParaformerRecognizer:
    """As on a machine with a GPU, but for the GPU: ONNX Runtime goes on without it."""
    monkeypatch.setattr(recognizer_module, "has_cuda", lambda: True)
    return ParaformerRecognizer("paraformer-large", folder, threads=4, device="cuda")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_pieces_that_share_a_call_on_a_gpu_are_heard_as_alone(
    folder: Path, said: list[Utterance], tmp_path: Path, on_a_gpu: ParaformerRecognizer
) -> None:
    model = copied(folder, tmp_path / "model")
    (model / "model_quant.onnx").unlink()
    full = ParaformerRecognizer("paraformer-large", model, threads=1)
    requests = [PieceRequest(Piece(0.0, one.samples), RecognitionOptions()) for one in said[:12]]
    assert on_a_gpu.parallel_calls == 1
    for one, together in zip(requests, on_a_gpu.recognize(requests), strict=True):
        [alone] = full.recognize([one])
        assert together.text == alone.text
        assert [word.start for word in together.words] == pytest.approx([word.start for word in alone.words], abs=1e-3)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_less_than_a_fifth_of_a_call_on_a_gpu_is_padding(on_a_gpu: ParaformerRecognizer) -> None:
    lengths = [0.0, *np.random.default_rng(5).uniform(0.05, 60.0, 400), *np.geomspace(0.05, 60.0, 400)]
    calls: dict[Hashable, list[float]] = {}
    for seconds in lengths:
        request = PieceRequest(Piece(0.0, np.zeros(round(seconds * RATE), np.float32)), RecognitionOptions())
        calls.setdefault(on_a_gpu.batch_key(request), []).append(on_a_gpu.cost(request))
    assert len(calls) <= 25, "few calls for much work"
    assert all(max(call) * len(call) * 0.8 < sum(call) for call in calls.values())
    assert all(on_a_gpu.batch_cost >= 3 * cost for call in calls.values() for cost in call)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("output", [0, 2], ids=["scores", "weights"])
def test_what_is_not_a_number_is_an_error_and_not_an_empty_text(
    on_a_gpu: ParaformerRecognizer, said: list[Utterance], monkeypatch: pytest.MonkeyPatch, output: int
) -> None:
    """What becomes of more than fp16 can hold. On a CPU the graph itself fails where its encoder gives such."""

    def overflowing(*given: object, **named: object) -> list[np.ndarray]:
        outputs = [np.array(one) for one in run(*given, **named)]  # type: ignore[arg-type]
        outputs[output][-1] = np.nan
        return outputs

    requests = [PieceRequest(Piece(0.0, one.samples), RecognitionOptions()) for one in said[:2]]
    assert all(heard.text for heard in on_a_gpu.recognize(requests))
    monkeypatch.setattr(graph_module, "run", overflowing)
    with pytest.raises(EngineFailure, match="not a number"):
        on_a_gpu.recognize(requests)


def test_on_a_cpu_no_piece_shares_a_call(small: ParaformerRecognizer, said: list[Utterance]) -> None:
    assert small.batch_cost < min(
        small.cost(PieceRequest(Piece(0.0, one.samples), RecognitionOptions())) for one in said
    )


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize(
    ("device", "order"),
    [
        ("cpu", ("model_quant.onnx", "model.onnx", "model_fp16.onnx")),
        ("cuda", ("model_fp16.onnx", "model.onnx", "model_quant.onnx")),
    ],
)
def test_which_of_several_graphs_is_taken(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, order: tuple[str, ...]
) -> None:
    monkeypatch.setattr(recognizer_module, "has_cuda", lambda: True)
    model = copied(folder, tmp_path / "model")
    for name in order:
        (model / name).write_bytes(b"")
    for name in order:
        with pytest.raises(EngineFailure, match=f"^{name} is not a whole ONNX model"):
            ParaformerRecognizer("paraformer-large", model, threads=1, device=device)
        (model / name).unlink()


# --- a language model -------------------------------------------------------------------------------------------------


def pairs() -> list[tuple[str, str]]:
    return [(one, other) for some in (ZH_SENTENCES, EN_SENTENCES) for one in some for other in some]


def tokens_of(pair: tuple[str, str]) -> tuple[str, ...]:
    return tuple("".join(pair)) if not pair[0].isascii() else tuple(" ".join(pair).split())


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str]]]:
    """A folder with a model of three quarters of all pairs of sentences, and some of the other pairs."""
    order = pairs()
    random.Random(4).shuffle(order)
    held_out, learned = order[: len(order) // 4], order[len(order) // 4 :]
    folder = tmp_path_factory.mktemp("ngram")
    write_language_model(folder / "small.arpa", map(tokens_of, learned))
    return folder, held_out[:60]


def test_a_language_model_mends_what_was_misheard(
    folder: Path, language_model: tuple[Path, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, held_out = language_model
    rng = random.Random(9)
    spoken = []
    for pair in held_out:
        chinese = not pair[0].isascii()
        voice = ("cmn" if chinese else "en") + rng.choice(VOICES)
        sound = say("，".join(pair) if chinese else ", ".join(pair), voice, speed=rng.randint(130, 200))
        spoken.append((tokens_of(pair), in_a_room(sound, noise=4e-3)))
    monkeypatch.setenv("ASR_MODEL_DIR_NGRAM_LM", str(where))
    with_model = paraformer.load("paraformer-large", folder, Settings(_env_file=None))  # type: ignore[call-arg]
    without = paraformer.load("paraformer-large", folder, Settings(_env_file=None, asr_enable_lm=False))  # type: ignore[call-arg]
    assert (with_model.capabilities.language_model, without.capabilities.language_model) == (True, False)
    before, after = wrong(without, spoken), wrong(with_model, spoken)
    assert after < 0.95 * before, f"{before:.1%} of the tokens wrong without, {after:.1%} with the language model"


def test_a_weight_of_nothing_changes_nothing(
    folder: Path,
    language_model: tuple[Path, list[tuple[str, str]]],
    said: list[Utterance],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASR_MODEL_DIR_NGRAM_LM", str(language_model[0]))
    settings = Settings(_env_file=None, lm_weight=0.0)  # type: ignore[call-arg]
    without = ParaformerRecognizer("paraformer-large", folder, threads=1)
    with_model = paraformer.load("paraformer-large", folder, settings)
    assert [hear(with_model, one.samples).text for one in said] == [hear(without, one.samples).text for one in said]


def test_no_language_model_is_told_in_one_line(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    loaded = paraformer.load("paraformer-large", folder, Settings(_env_file=None, models_dir=tmp_path))  # type: ignore[call-arg]
    assert not loaded.capabilities.language_model
    assert "without a language model" in caplog.text
    assert "ASR_MODEL_DIR_NGRAM_LM" in caplog.text


def test_a_broken_language_model_is_told_and_does_without(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lm.bin").write_bytes(b"not a language model")
    monkeypatch.setenv("ASR_MODEL_DIR_NGRAM_LM", str(tmp_path))
    loaded = paraformer.load("paraformer-large", folder, Settings(_env_file=None))  # type: ignore[call-arg]
    assert not loaded.capabilities.language_model
    assert "lm.bin is not an ARPA file" in caplog.text


# --- folders that are not a model -------------------------------------------------------------------------------------


def copied(folder: Path, to: Path) -> Path:
    to.mkdir(parents=True)
    for file in folder.iterdir():
        shutil.copyfile(file, to / file.name)
    return to


def without(name: str) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        for file in model.glob(name):
            file.unlink()

    return damage


def holding(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda model: (model / name).write_bytes(content) and None


def half(name: str) -> Callable[[Path], None]:
    return lambda model: (
        (model / name).write_bytes((model / name).read_bytes()[: (model / name).stat().st_size // 2]) and None
    )


def fewer_tokens(model: Path) -> None:
    tokens = read_tokens(model / "tokens.json")
    (model / "tokens.json").write_text(json.dumps([*tokens[:50], tokens[-1]]))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (without("model*.onnx"), "model.onnx is missing"),
        (without("am.mvn"), "am.mvn is missing"),
        (without("tokens.json"), "tokens.json is missing"),
        (without("config.yaml"), "config.yaml is missing"),
        (half("model_quant.onnx"), "model_quant.onnx is not a whole ONNX model"),
        (holding("model_quant.onnx", b""), "model_quant.onnx is not a whole ONNX model"),
        (holding("model_quant.onnx", b"version https://git-lfs"), "model_quant.onnx is not a whole ONNX model"),
        (half("am.mvn"), "am.mvn does not hold two rows of 560 numbers"),
        (holding("am.mvn", b"\xff\xfe\x00"), "am.mvn is not text"),
        (holding("tokens.json", b"{"), "tokens.json is not JSON"),
        (holding("tokens.json", b"[1, 2, 3, 4]"), "tokens.json is not a list of tokens"),
        (holding("tokens.json", b'["a", "b", "c", "d"]'), "tokens.json has no <s>, </s>, <unk>"),
        (fewer_tokens, "logits has 154 columns, tokens.json say 51"),
        (holding("config.yaml", b"a: [1"), "config.yaml is not YAML"),
        (holding("config.yaml", b"model: x"), "config.yaml has no frontend_conf"),
        (holding("config.yaml", b"frontend_conf: {fs: 8000}"), "config.yaml asks for 8000 Hz"),
    ],
)
def test_a_broken_folder_names_file_and_reason(
    folder: Path, tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    model = copied(folder, tmp_path / "model")
    damage(model)
    with pytest.raises(EngineFailure) as failure:
        ParaformerRecognizer("paraformer-large", model, threads=1)
    assert told in failure.value.message
    assert str(tmp_path) not in failure.value.message


def test_another_models_graph_is_refused(folder: Path, models_dir: Path, tmp_path: Path) -> None:
    model = copied(folder, tmp_path / "model")
    shutil.copyfile(models_dir / "fsmn-vad" / "model.onnx", model / "model_quant.onnx")
    with pytest.raises(EngineFailure, match=r"model_quant\.onnx is not a Paraformer: it takes speech"):
        ParaformerRecognizer("paraformer-large", model, threads=1)
