"""Marks for live text beside those of FunASR's CTTransformerStreaming on torch: a small model of random weights, made
by FunASR's own class, and texts that arrive in portions."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from models.speech import EN_SENTENCES, ZH_SENTENCES

from app.engines.ct_punc.live import Held, LivePunctuator
from app.modelstore.exporting import export
from parity.test_punctuation import ENDLESS, lines

pytestmark = pytest.mark.heavy

MARKS = ("<unk>", "_", "，", "。", "？", "、")
LIKELY = (-50.0, 1.5, 0.5, -1.5, -0.5, -0.5)
"""Added to the scores, so that sentences go on for a while and FunASR never writes "<unk>"."""
CONFIG: dict[str, Any] = {
    "model": "CTTransformerStreaming",
    "model_conf": {"embed_unit": 64, "att_unit": 64, "punc_list": list(MARKS), "sentence_end_id": 3},
    "encoder": "SANMVadEncoder",
    "encoder_conf": {
        "input_size": 64,
        "output_size": 64,
        "attention_heads": 4,
        "linear_units": 128,
        "num_blocks": 3,
        "input_layer": "pe",
        "kernel_size": 11,
        "padding_idx": 0,
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>"},
}
Session = list[list[str]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch: Any = pytest.importorskip("torch")
    from funasr.models.ct_transformer_streaming.model import CTTransformerStreaming  # noqa: PLC0415 - heavy

    folder = tmp_path_factory.mktemp("checkpoint")
    tokens = ["<blank>", *sorted({*"".join(ZH_SENTENCES), *" ".join(EN_SENTENCES).split()}), "<unk>"]
    (folder / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG, allow_unicode=True), encoding="utf-8")
    torch.manual_seed(11)
    described = {"encoder": CONFIG["encoder"], "encoder_conf": CONFIG["encoder_conf"], **CONFIG["model_conf"]}
    weights = CTTransformerStreaming(**described, vocab_size=len(tokens)).state_dict()
    for name in [name for name in weights if "linear_q_k_v.weight" in name]:
        weights[name] *= 3  # so that what is attended to tells
    weights["decoder.weight"] *= 2
    weights["decoder.bias"] += torch.tensor(LIKELY)
    torch.save(weights, folder / "model.pt")
    return folder


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("exported")
    export(checkpoint, work / "int8", progress=print)
    shutil.copytree(work / "int8", work / "fp32", ignore=shutil.ignore_patterns("model_quant.onnx"))
    return work


def sessions(count: int, seed: int) -> list[Session]:
    """Texts in portions: of a word or two, of some words, and of more than one step."""
    chance = random.Random(seed)
    made: list[Session] = []
    for text in [*lines(count, seed), *ENDLESS]:
        words = [word for word in text if word.isascii() or len(word) == 1]  # FunASR has marks inside of others
        longest, session = chance.choice([2, 8, 25, 60]), list[list[str]]()
        while words:
            size = chance.randint(1, longest)
            session.append(words[:size])
            words = words[size:]
        made.append(session)
    return made


def ours(live: LivePunctuator, session: Session) -> list[tuple[str, int]]:
    """For each portion what FunASR writes: the mark of the word before it and its words with marks, but for the last
    one's; and how many words are held. Without spaces, which are not the engine's affair."""
    held, written = Held(), list[tuple[str, int]]()
    for portion in session:
        marked = live.marks(portion, held)
        before = len(held.words)
        drawn = [word + mark for word, mark in zip(portion, marked.marks[before:], strict=True)]
        text = "".join([*marked.marks[max(0, before - 1) : before], *drawn])
        held = marked.held
        written.append((text.removesuffix(marked.marks[-1]), len(held.words)))
    return written


@pytest.fixture(scope="module")
def theirs(checkpoint: Path) -> Callable[[Session], list[tuple[str, int]]]:
    from funasr import AutoModel  # noqa: PLC0415 - heavy

    auto: Any = AutoModel(model=str(checkpoint), disable_update=True, disable_pbar=True, device="cpu", ncpu=1)

    def written(session: Session) -> list[tuple[str, int]]:
        cache: dict[str, Any] = {}
        texts = list[tuple[str, int]]()
        for portion in session:
            text = auto.generate(input=" ".join(portion), cache=cache)[0]["text"]
            texts.append((text.replace(" ", ""), len(cache["pre_text"])))
        return texts

    return written


def test_every_portion_reads_as_funasr_writes_it(
    exported: Path, theirs: Callable[[Session], list[tuple[str, int]]]
) -> None:
    live = LivePunctuator("ct-punc-live", exported / "fp32")
    spoken = sessions(75, 9)
    pairs = [pair for session in spoken for pair in zip(ours(live, session), theirs(session), strict=True)]
    text = "".join(text for _, (text, _) in pairs)
    seen = {mark: text.count(mark) for mark in "，。？、"}
    held = sorted(count for _, (_, count) in pairs)
    print(
        f"{sum(one == other for one, other in pairs)} of {len(pairs)} portions of {len(spoken)} texts alike; {seen}; "
        f"held: {held[len(held) // 2]} words (median), {held[-1]} at most"
    )
    assert [pair for pair in pairs if pair[0] != pair[1]] == []
    assert min(seen.values()) >= 50
    assert held[-1] > 200
    assert len(spoken) == 80


def test_the_pause_between_portions_tells(exported: Path) -> None:
    # otherwise the masks could be anything
    live = LivePunctuator("ct-punc-live", exported / "fp32")
    differ = 0
    for words in lines(60, 12):
        portion = words[:20]
        middle = len(portion) // 2
        first = live.marks(portion[:middle], Held())
        apart = live.marks(portion[middle:], first.held)
        together = live.marks(portion, Held())
        differ += apart.marks != together.marks[first.final :]
    print(f"{differ} of 60 texts have other marks with a pause in the middle")
    assert differ >= 10


def test_int8_sets_nearly_the_same_marks(exported: Path) -> None:
    full, small = (LivePunctuator("ct-punc-live", exported / name) for name in ("fp32", "int8"))
    places = other = 0
    for words in lines(60, 6):
        one, two = (punctuator.marks(words[:20], Held()).marks for punctuator in (full, small))
        places += len(one)
        other += sum(mark != mark_too for mark, mark_too in zip(one, two, strict=True))
    print(f"int8: {other} of {places} places differ")
    assert other <= 0.05 * places
