"""What exporting reads: a FunASR checkpoint's configuration, vocabulary and weights, and the torch module they make.

A checkpoint is somebody else's file: weights are read as tensors only, and classes are chosen from a list.
"""

from __future__ import annotations

import importlib
import json
import pickle
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml

from app.domain.errors import ModelStoreError

CONFIG, TOKENS, WEIGHTS = "config.yaml", "tokens.json", "model.pt"
PUNCTUATION, LIVE_PUNCTUATION = "CTTransformer", "CTTransformerStreaming"
STREAMING = "ParaformerStreaming"
ON_CPU = (STREAMING, PUNCTUATION, LIVE_PUNCTUATION)
"""Kinds that are served on a CPU only, where fp16 is of no use."""
_KINDS = ("Paraformer", "BiCifParaformer", "SeacoParaformer", *ON_CPU)
PARTS = ("encoder", "decoder", "predictor", "seaco_decoder", "bias_encoder")
"""What config.yaml may choose by name, each with its `_conf`."""
_UNUSED = ("ctc.", "criterion")
"""Parameters that training leaves behind and no graph reads."""


@contextmanager
def blamed(what: str) -> Generator[None]:
    """Inside others' code, whatever a wrong figure happens to break there is `what`."""
    try:
        yield
    except Exception as error:
        raise ModelStoreError(f"{what}: {str(error) or type(error).__name__}.") from error


def framework(name: str) -> Any:
    """A module that only exporting needs. Raises ModelStoreError: it is not installed, and how that is done."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelStoreError(
            f"{error.name or name} is not installed. Exporting needs torch and FunASR, in an environment of its own:\n"
            "  python3.11 -m venv .venv-models && .venv-models/bin/python -m pip install -r requirements-models.txt\n"
            "then run the same command with .venv-models/bin/python."
        ) from error


def read_config(checkpoint: Path) -> dict[str, Any]:
    """config.yaml, which describes a model that can be exported; acoustic ones also have am.mvn.

    Raises:
        ModelStoreError: it does not, or a file cannot be read.
    """
    try:
        config: Any = yaml.safe_load(_text(checkpoint / CONFIG))
    except yaml.YAMLError as error:
        raise ModelStoreError(f"{CONFIG} of the checkpoint is not YAML.") from error
    kind = cast("dict[str, Any]", config).get("model") if isinstance(config, dict) else None
    if kind not in _KINDS:
        raise ModelStoreError(
            f"{CONFIG} of the checkpoint describes {kind!r}; what can be exported: {', '.join(_KINDS)}."
        )
    if kind not in (PUNCTUATION, LIVE_PUNCTUATION):
        _text(checkpoint / "am.mvn")
    return cast("dict[str, Any]", config)


def read_tokens(checkpoint: Path) -> list[str]:
    """The vocabulary. Raises ModelStoreError."""
    try:
        tokens: object = json.loads(_text(checkpoint / TOKENS))
    except ValueError:
        tokens = None
    if not isinstance(tokens, list) or not tokens:
        raise ModelStoreError(f"{TOKENS} of the checkpoint is not a list of tokens.")
    return cast("list[str]", tokens)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ModelStoreError(f"{path.name} of the checkpoint cannot be read: {reason}.") from error


def read_weights(torch: Any, path: Path) -> dict[str, Any]:
    """Parameters by name. A pickle can run any code, so this one may hold tensors and plain containers only.

    Raises:
        ModelStoreError: it holds something else, is broken or cannot be read.
    """
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelStoreError(f"{path.name} of the checkpoint cannot be read: {error.strerror or error}.") from error
    except pickle.UnpicklingError as error:
        raise ModelStoreError(
            f"{path.name} of the checkpoint holds something other than tensors, or is broken: it was not read, because "
            "it could run code."
        ) from error
    except Exception as error:  # a broken zip or pickle raises whatever its bytes happen to call for
        raise ModelStoreError(f"{path.name} of the checkpoint is broken.") from error
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(inner := cast("Mapping[str, Any]", loaded).get(name), Mapping):
            loaded = cast("Mapping[str, Any]", inner)
    if not isinstance(loaded, Mapping):
        raise ModelStoreError(f"{path.name} of the checkpoint holds no parameters.")
    items = cast("Mapping[str, Any]", loaded).items()
    return {str(name).removeprefix("module."): value for name, value in items if isinstance(value, torch.Tensor)}


def build(tables: Any, config: dict[str, Any], vocabulary: int) -> Any:
    """FunASR's model as config.yaml describes it. Only what describes a model is handed on: no files, no code."""
    described = dict(cast("dict[str, Any]", config.get("model_conf") or {}))
    for part in PARTS:
        for name in (part, f"{part}_conf"):
            if name in config:
                described[name] = config[name]
    described.pop("jieba_usr_dict", None)
    front = cast("dict[str, Any]", config.get("frontend_conf") or {})
    size = int(front.get("lfr_m", 1)) * int(front.get("n_mels", 80))
    return tables.model_classes[config["model"]](**described, input_size=size, vocab_size=vocabulary).eval()


def fill(model: Any, weights: dict[str, Any]) -> None:
    """Every parameter must be there and of its shape: FunASR itself would go on with random numbers.

    Raises:
        ModelStoreError: some are missing, of other shapes or not numbers; the message names them.
    """
    expected: dict[str, Any] = model.state_dict()
    missing = [name for name in expected if name not in weights and not name.startswith(_UNUSED)]
    if missing:
        raise ModelStoreError(f"{WEIGHTS} of the checkpoint lacks {len(missing)} parameters: {_some(missing)}.")
    wrong = [name for name in expected if name in weights and weights[name].shape != expected[name].shape]
    if wrong:
        raise ModelStoreError(
            f"{WEIGHTS} of the checkpoint has parameters of other shapes than {CONFIG} and {TOKENS} say: "
            f"{_some(wrong)}."
        )
    bad = [name for name in expected if name in weights and not bool(weights[name].isfinite().all())]
    if bad:
        raise ModelStoreError(f"{WEIGHTS} of the checkpoint has parameters that are not numbers: {_some(bad)}.")
    model.load_state_dict({name: weights.get(name, value) for name, value in expected.items()})


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
