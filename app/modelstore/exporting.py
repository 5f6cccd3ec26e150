"""A FunASR checkpoint to ONNX, in the layout of FunASR's own exports: graphs in fp32 and int8 beside the checkpoint's
vocabulary and configuration. Needs torch and FunASR, which nothing that serves does.

A checkpoint is somebody else's file: weights are read as tensors only, classes are chosen from a list, and a graph is
kept only after it gave what torch gives.
"""

from __future__ import annotations

import importlib
import json
import logging
import pickle
import shutil
import tempfile
import types
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort
import yaml

from app.domain.errors import ModelStoreError

Progress = Callable[[str], None]

_CONFIG, _TOKENS, _WEIGHTS = "config.yaml", "tokens.json", "model.pt"
_COPIED = (_CONFIG, _TOKENS, "am.mvn", "seg_dict", "jieba_usr_dict", "configuration.json")
_EXPORTED = frozenset({"model.onnx", "model_quant.onnx", "model_eb.onnx", "model_eb_quant.onnx"})
_PUNCTUATION = "CTTransformer"
_KINDS = ("Paraformer", "BiCifParaformer", "SeacoParaformer", _PUNCTUATION)
_PARTS = ("encoder", "decoder", "predictor", "seaco_decoder", "bias_encoder")
"""What config.yaml may choose by name, each with its `_conf`."""
_UNUSED = ("ctc.", "criterion")
"""Parameters that training leaves behind and no graph reads."""
_OPSET = 14
_FEW_TERMS = 50
"""Hotwords that SeACo's decoder attends to at once; of more, those that the piece is most like."""
_FRAMES, _TERMS = 84, 7
"""Size of the trial: five seconds of features, and hotwords. Other sizes than those it is traced with."""
_ALIKE = 1e-3
"""How far a graph's log probabilities may be from torch's."""


@dataclass(frozen=True, slots=True)
class _Graph:
    """A torch module to be written as `file`, what it is traced and tried with, and what its tensors are called."""

    file: str
    module: Any
    traced: tuple[Any, ...]
    trial: tuple[Any, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: dict[str, dict[int, str]]


def export(checkpoint: Path, target: Path, *, quantize: bool = True, progress: Progress) -> list[Path]:
    """Write the checkpoint in folder `checkpoint` to folder `target` as ONNX; returns the files that are there now.

    `model.onnx`, with `quantize` also `model_quant.onnx`, and for models with hotwords `model_eb.onnx`. Nothing appears
    in `target` before all of it was tried; what an earlier export left there is replaced. Blocking: a minute and six
    gigabytes of memory for a large model.

    Raises:
        ModelStoreError: torch or FunASR is not installed, the checkpoint is no such model or is broken (the message
            names the file), or `target` cannot be written.
    """
    config = _read_config(checkpoint)
    tokens = _read_tokens(checkpoint)
    torch, funasr = _framework("torch"), _framework("funasr.register")
    progress(f"reading {config['model']} ({len(tokens)} tokens)")
    with _blamed(f"{_CONFIG} of the checkpoint describes no model that can be built"):
        model = _build(funasr.tables, config, len(tokens))
    _fill(model, _read_weights(torch, checkpoint / _WEIGHTS))
    with _blamed(f"{_CONFIG} of the checkpoint describes layers that cannot be exported"):
        graphs = _graphs(torch, model, config, len(tokens))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-export-") as work:
            for graph in graphs:
                _write(torch, graph, Path(work), progress)
                if quantize and graph.file == "model.onnx":
                    _quantise(graph, Path(work), str(config["model"]), progress)
            for name in _COPIED:
                if (checkpoint / name).is_file():
                    shutil.copyfile(checkpoint / name, Path(work, name))
            return _place(Path(work), target)
    except OSError as error:
        raise ModelStoreError(f"{target} cannot be written: {error.strerror or error}.") from error


@contextmanager
def _blamed(what: str) -> Generator[None]:
    """Inside others' code, whatever a wrong figure happens to break there is `what`."""
    try:
        yield
    except Exception as error:
        raise ModelStoreError(f"{what}: {str(error) or type(error).__name__}.") from error


def _framework(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelStoreError(
            f"{error.name or name} is not installed. Exporting needs torch and FunASR, in an environment of its own:\n"
            "  python3.11 -m venv .venv-models && .venv-models/bin/python -m pip install -r requirements-models.txt\n"
            "then run the same command with .venv-models/bin/python."
        ) from error


def _read_config(checkpoint: Path) -> dict[str, Any]:
    try:
        config: Any = yaml.safe_load(_text(checkpoint / _CONFIG))
    except yaml.YAMLError as error:
        raise ModelStoreError(f"{_CONFIG} of the checkpoint is not YAML.") from error
    kind = cast("dict[str, Any]", config).get("model") if isinstance(config, dict) else None
    if kind not in _KINDS:
        raise ModelStoreError(
            f"{_CONFIG} of the checkpoint describes {kind!r}; what can be exported: {', '.join(_KINDS)}."
        )
    if kind != _PUNCTUATION:
        _text(checkpoint / "am.mvn")
    return cast("dict[str, Any]", config)


def _read_tokens(checkpoint: Path) -> list[str]:
    try:
        tokens: object = json.loads(_text(checkpoint / _TOKENS))
    except ValueError:
        tokens = None
    if not isinstance(tokens, list) or not tokens:
        raise ModelStoreError(f"{_TOKENS} of the checkpoint is not a list of tokens.")
    return cast("list[str]", tokens)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ModelStoreError(f"{path.name} of the checkpoint cannot be read: {reason}.") from error


def _read_weights(torch: Any, path: Path) -> dict[str, Any]:
    """Parameters by name. A pickle can run any code, so this one may hold tensors and plain containers only."""
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


def _build(tables: Any, config: dict[str, Any], vocabulary: int) -> Any:
    """FunASR's model as config.yaml describes it. Only what describes a model is handed on: no files, no code."""
    described = dict(cast("dict[str, Any]", config.get("model_conf") or {}))
    for part in _PARTS:
        for name in (part, f"{part}_conf"):
            if name in config:
                described[name] = config[name]
    described.pop("jieba_usr_dict", None)
    front = cast("dict[str, Any]", config.get("frontend_conf") or {})
    size = int(front.get("lfr_m", 1)) * int(front.get("n_mels", 80))
    return tables.model_classes[config["model"]](**described, input_size=size, vocab_size=vocabulary).eval()


def _fill(model: Any, weights: dict[str, Any]) -> None:
    """Every parameter must be there and of its shape: FunASR itself would go on with random numbers."""
    expected: dict[str, Any] = model.state_dict()
    missing = [name for name in expected if name not in weights and not name.startswith(_UNUSED)]
    if missing:
        raise ModelStoreError(f"{_WEIGHTS} of the checkpoint lacks {len(missing)} parameters: {_some(missing)}.")
    wrong = [name for name in expected if name in weights and weights[name].shape != expected[name].shape]
    if wrong:
        raise ModelStoreError(
            f"{_WEIGHTS} of the checkpoint has parameters of other shapes than {_CONFIG} and {_TOKENS} say: "
            f"{_some(wrong)}."
        )
    bad = [name for name in expected if name in weights and not bool(weights[name].isfinite().all())]
    if bad:
        raise ModelStoreError(f"{_WEIGHTS} of the checkpoint has parameters that are not numbers: {_some(bad)}.")
    model.load_state_dict({name: weights.get(name, value) for name, value in expected.items()})


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _graphs(torch: Any, model: Any, config: dict[str, Any], vocabulary: int) -> list[_Graph]:
    """What is to be written, with FunASR's own rewriting of layers for ONNX.

    Its rewriting takes a longest length and ignores it (`sequence_mask` counts up to what it is given), so that graphs
    have no limit; the trial is longer than what is traced, to see that.
    """
    named = {name: config[name] for name in _PARTS if name in config}
    scripts = model.export(**named, type="onnx", device="cpu", max_seq_len=512)
    graph, *encoders = scripts if isinstance(scripts, (list, tuple)) else [scripts]
    kind = config["model"]
    if kind == _PUNCTUATION:
        return [_punctuation(torch, graph, vocabulary)]
    if kind == "Paraformer":
        graph.forward = types.MethodType(_paraformer, graph)
    if kind == "SeacoParaformer":
        graph.no_bias = int(model.NO_BIAS)
        graph.forward = types.MethodType(_seaco, graph)
    return [_acoustic(torch, graph, kind), *(_bias_encoder(torch, one, vocabulary) for one in encoders)]


def _acoustic(torch: Any, module: Any, kind: str) -> _Graph:
    size = int(module.encoder.model.encoders0[0].in_size)
    outputs = ("alphas",) if kind == "Paraformer" else ("us_alphas", "us_cif_peak")
    biased = kind == "SeacoParaformer"
    generator = torch.Generator().manual_seed(0)

    def noise(batch: int, frames: int, terms: int) -> tuple[Any, ...]:
        lengths = torch.linspace(frames / 2, frames, batch + 1)[1:].int()
        speech = torch.randn(batch, frames, size, generator=generator)
        width = int(module.encoder.model.output_size())
        bias = (torch.randn(batch, terms, width, generator=generator),) if biased else ()
        return speech, lengths, *bias

    axes = {"speech": {0: "batch_size", 1: "feats_length"}, "speech_lengths": {0: "batch_size"}}
    axes |= {"bias_embed": {0: "batch_size", 1: "num_hotwords"}} if biased else {}
    axes |= {"logits": {0: "batch_size", 1: "logits_length"}, "token_num": {0: "batch_size"}}
    axes |= {name: {0: "batch_size", 1: "alphas_length"} for name in outputs}
    return _Graph(
        "model.onnx",
        module,
        traced=noise(2, 30, 3),
        trial=noise(1, _FRAMES, _TERMS),
        inputs=("speech", "speech_lengths", *(("bias_embed",) if biased else ())),
        outputs=("logits", "token_num", *outputs),
        axes=axes,
    )


def _bias_encoder(torch: Any, module: Any, vocabulary: int) -> _Graph:
    def terms(count: int) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(0)
        return (torch.randint(0, vocabulary, (count, 10), generator=generator).int(),)

    axes = {"hotword": {0: "num_hotwords"}, "hw_embed": {1: "num_hotwords"}}
    return _Graph("model_eb.onnx", module, terms(6), terms(_TERMS), ("hotword",), ("hw_embed",), axes)


def _punctuation(torch: Any, module: Any, vocabulary: int) -> _Graph:
    def text(batch: int, length: int) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(0)
        words = torch.randint(0, vocabulary, (batch, length), generator=generator).int()
        return words, torch.linspace(length / 2, length, batch + 1)[1:].int()

    axes = {
        "inputs": {0: "batch_size", 1: "feats_length"},
        "text_lengths": {0: "batch_size"},
        "logits": {0: "batch_size", 1: "logits_length"},
    }
    return _Graph("model.onnx", module, text(2, 120), text(1, 200), ("inputs", "text_lengths"), ("logits",), axes)


def _paraformer(self: Any, speech: Any, speech_lengths: Any) -> tuple[Any, ...]:
    """FunASR's own graph, and the weights that time tokens: [batch, frames + 1]."""
    encoded, lengths = self.encoder(speech=speech, speech_lengths=speech_lengths)
    embeds, count, alphas, _ = self.predictor(encoded, self.make_pad_mask(lengths)[:, None, :])
    count = count.floor().int()
    scores, _ = self.decoder(encoded, lengths, embeds, count)
    return scores.log_softmax(-1), count, alphas


def _seaco(self: Any, speech: Any, speech_lengths: Any, bias_embed: Any) -> tuple[Any, ...]:
    """What SeACo computes in torch. FunASR's own graph differs where there are more than fifty hotwords: it may drop
    the "none of these", and in a batch all rows attend to what the first is like."""
    encoded, lengths = self.encoder(speech=speech, speech_lengths=speech_lengths)
    mask = self.make_pad_mask(lengths)[:, None, :]
    embeds, count, _, _ = self.predictor(encoded, mask)
    count = count.floor().int()
    scores, hidden, _ = self.decoder(encoded, lengths, embeds, count, return_hidden=True, return_both=True)
    terms, number = _likely_terms(self, bias_embed, hidden, count)
    heard, _ = self.seaco_decoder(terms, number, embeds, count)
    written, _ = self.seaco_decoder(terms, number, hidden, count)
    biased = self.hotword_output_layer(heard + written).log_softmax(-1)
    none = (biased.argmax(-1) == self.no_bias).float().unsqueeze(-1)
    alphas, peaks = self.predictor.get_upsample_timestmap(encoded, mask, count)
    return scores.log_softmax(-1) * none + biased * (1 - none), count, alphas, peaks


def _likely_terms(self: Any, bias_embed: Any, hidden: Any, count: Any) -> tuple[Any, Any]:
    """The embeddings a row of the batch attends to, and how many they are: all, or of more than `_FEW_TERMS` those with
    the most attention and, at the end, the last ("none of these"). In operations that a trace keeps."""
    torch = importlib.import_module("torch")
    every = torch.ones_like(bias_embed[:, :, 0]).sum(-1)
    said = self.make_pad_mask(count)[:, None, :, None]
    attention = (self.seaco_decoder.forward_asf6(bias_embed, every, hidden, count) * said).sum(dim=(1, 2))
    order = attention.sort(dim=-1, descending=True)[1][:, :_FEW_TERMS]
    best = bias_embed.gather(1, order[:, :, None].expand(-1, -1, bias_embed.shape[-1]))
    number = every.clamp(max=_FEW_TERMS) + (every > _FEW_TERMS).float()
    return torch.cat([best, bias_embed[:, -1:]], dim=1)[:, : number.max().long()], number


def _write(torch: Any, graph: _Graph, work: Path, progress: Progress) -> None:
    progress(f"writing {graph.file}")
    with _blamed(f"{graph.file} cannot be written"), torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = graph.module(*graph.trial)
        torch.onnx.export(
            graph.module,
            graph.traced,
            str(work / graph.file),
            dynamo=False,  # FunASR's rewriting is made for tracing
            opset_version=_OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes=graph.axes,
        )
    wanted = [output.numpy() for output in (expected if isinstance(expected, tuple) else (expected,))]
    given = _tried(graph, work / graph.file)
    same = len(given) == len(wanted) and all(
        one.shape == other.shape and np.allclose(one, other, atol=_ALIKE, rtol=_ALIKE)
        for one, other in zip(given, wanted, strict=True)
    )
    if not same:
        raise ModelStoreError(f"{graph.file} does not give what torch gives: this model cannot be exported.")


def _quantise(graph: _Graph, work: Path, kind: str, progress: Progress) -> None:
    """Weights to integers, each column scaled by itself, but for the last layer's.

    Signed ones of seven bits: with eight, sums overflow on processors without VNNI (6.0 % of the tiny model's tokens
    differ from fp32's, 0.5 % with seven), and unsigned ones, FunASR's choice, are as exact (0.4 %) but take 20 % longer
    there. The punctuation model is mostly its table of words, so that is made smaller, too.
    """
    path = work / graph.file.replace(".onnx", "_quant.onnx")
    progress(f"writing {path.name}")
    punctuates = kind == _PUNCTUATION
    last = "decoder" if punctuates else "output"
    onnx = _framework("onnx")
    quantization = _framework("onnxruntime.quantization")
    names: list[str] = [node.name for node in onnx.load(work / graph.file, load_external_data=False).graph.node]
    logging.disable(logging.WARNING)  # it has a line to say about every tensor
    try:
        with _blamed(f"{path.name} cannot be written"):
            quantization.quantize_dynamic(
                model_input=work / graph.file,
                model_output=path,
                op_types_to_quantize=["MatMul", "Gather"] if punctuates else ["MatMul"],
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
                reduce_range=True,
                nodes_to_exclude=[name for name in names if last in name],
            )
    finally:
        logging.disable(logging.NOTSET)
    _tried(graph, path)


def _tried(graph: _Graph, path: Path) -> list[Any]:
    """What the graph in `path` gives for the trial."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    with _blamed(f"{path.name} was written and cannot be run"):
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {name: tensor.numpy() for name, tensor in zip(graph.inputs, graph.trial, strict=True)}
        given = [np.asarray(output) for output in session.run(list(graph.outputs), feed)]
    if not all(np.isfinite(output).all() for output in given):
        raise ModelStoreError(f"{path.name} gives something that is not a number.")
    return given


def _place(work: Path, target: Path) -> list[Path]:
    """Move everything to `target`: a new folder in one rename, into one that is there file by file. An earlier export's
    graphs that are not among them go: they are of other weights."""
    names = sorted(path.name for path in work.iterdir())
    if not target.exists():
        work.chmod(0o755)
        work.rename(target)
        work.mkdir()  # for the context manager to remove
        return [target / name for name in names]
    for name in names:
        (work / name).replace(target / name)
    for name in _EXPORTED - set(names):
        (target / name).unlink(missing_ok=True)
    return [target / name for name in names]
