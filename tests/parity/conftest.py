"""What parity tests of Paraformer share: checkpoints, what `export` makes of them, and FunASR itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real.server import ROOT

from app.domain.engines import SAMPLE_RATE
from app.engines import paraformer
from app.engines.paraformer.recognizer import ParaformerRecognizer
from app.modelstore.exporting import export
from app.settings import Settings

Load = Callable[[Path], ParaformerRecognizer]
Convert = Callable[[Path], "Converted"]


@dataclass(frozen=True)
class Wave:
    """Samples as app.domain.engines.Sound."""

    samples: np.ndarray

    @property
    def duration(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    def piece(self, start: float, end: float) -> np.ndarray:
        return self.samples[max(0, round(start * SAMPLE_RATE)) : round(end * SAMPLE_RATE)]


@dataclass(frozen=True)
class Converted:
    """An exported checkpoint: folders with the fp32 graph only, and with the int8 graph beside it."""

    fp32: Path
    int8: Path


@dataclass(frozen=True)
class Theirs:
    """What FunASR heard: the tokens, the words made of them, and each word's start and end in seconds."""

    tokens: tuple[str, ...]
    words: tuple[str, ...]
    times: np.ndarray


class FunAsr:
    """A checkpoint in FunASR's own hands, on one thread."""

    def __init__(self, folder: Path) -> None:
        from funasr import AutoModel  # noqa: PLC0415 - in the heavy environment only

        self.auto: Any = AutoModel(model=str(folder), device="cpu", disable_update=True, disable_pbar=True, ncpu=1)

    def hear(self, samples: np.ndarray, hotwords: Sequence[str] = ()) -> Theirs:
        """Recognise float32 16 kHz samples as they are."""
        tokens: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            _right_order(patch)
            _overhear(patch, tokens)
            heard = self.auto.generate(input=samples, pred_timestamp=True, hotword=" ".join(hotwords))
        if not heard or not heard[0].get("text"):
            return Theirs((), (), np.zeros((0, 2)))
        times = np.array(heard[0]["timestamp"]) / 1000
        return Theirs(tuple(tokens), tuple(heard[0]["text"].split()), times)


def _right_order(patch: pytest.MonkeyPatch) -> None:
    """The plain model hands (peaks, weights) to a function that takes (weights, peaks)."""
    import funasr.models.paraformer.model as plain  # noqa: PLC0415

    theirs = plain.ts_prediction_lfr6_standard
    patch.setattr(
        plain,
        "ts_prediction_lfr6_standard",
        lambda peaks, alphas, *rest, **more: theirs(alphas, peaks, *rest, **more),
    )


def _overhear(patch: pytest.MonkeyPatch, tokens: list[str]) -> None:
    from funasr.utils import postprocess_utils  # noqa: PLC0415

    theirs = postprocess_utils.sentence_postprocess

    def listening(words: list[str], *rest: Any) -> Any:
        tokens[:] = words
        return theirs(words, *rest)

    patch.setattr(postprocess_utils, "sentence_postprocess", listening)


@pytest.fixture(scope="session")
def checkpoint() -> Callable[[str], Path]:
    """The folder of a checkpoint that is not part of the repository, by name."""

    def find(name: str) -> Path:
        folder = ROOT.parent / "shared" / "models" / name
        if not (folder / "config.yaml").is_file():
            reason = f"the shared checkpoint {name} (../shared/models) is not on this machine"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        return folder

    return find


@pytest.fixture(scope="session")
def convert(tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """Export a checkpoint, once."""
    done: dict[Path, Converted] = {}

    def converted(folder: Path) -> Converted:
        if folder not in done:
            pytest.importorskip("torch")
            work = tmp_path_factory.mktemp("exported")
            export(folder, work / "int8", progress=print)
            shutil.copytree(work / "int8", work / "fp32", ignore=shutil.ignore_patterns("*_quant.onnx"))
            done[folder] = Converted(work / "fp32", work / "int8")
        return done[folder]

    return converted


@pytest.fixture(scope="session")
def load() -> Load:
    """The engine in a folder."""
    return lambda folder: paraformer.load("paraformer-large", folder, Settings(asr_enable_lm=False))
