"""A FunASR checkpoint to ONNX, in the layout of FunASR's own exports: graphs in fp32, int8 and fp16 beside the
checkpoint's vocabulary and configuration. Needs torch and FunASR, which nothing that serves does.

A graph is kept only after it gave what torch gives.
"""

from __future__ import annotations

import importlib
import logging
import shutil
import tempfile
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from app.domain.errors import ModelStoreError
from app.modelstore.checkpoints import (
    CONFIG,
    LIVE_PUNCTUATION,
    PARTS,
    PUNCTUATION,
    TOKENS,
    WEIGHTS,
    blamed,
    build,
    fill,
    framework,
    read_config,
    read_tokens,
    read_weights,
)
from app.modelstore.halving import halve

Progress = Callable[[str], None]

_COPIED = (CONFIG, TOKENS, "am.mvn", "seg_dict", "jieba_usr_dict", "configuration.json")
_EXPORTED = frozenset({"model.onnx", "model_quant.onnx", "model_fp16.onnx", "model_eb.onnx", "model_eb_quant.onnx"})
_OPSET = 14
_FEW_TERMS = 50
"""Hotwords that SeACo's decoder attends to at once; of more, those that the piece is most like."""
_FRAMES, _TERMS = 84, 7
"""Size of the trial: five seconds of features, and hotwords. Other sizes than those it is traced with."""
_ALIKE = 1e-3
"""How far a graph's log probabilities may be from torch's."""
_HALF_ALIKE = 0.02
"""How far the weights that time tokens, which are up to 1, may be from torch's in fp16."""


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


def export(
    checkpoint: Path, target: Path, *, quantize: bool = True, fp16: bool = False, progress: Progress
) -> list[Path]:
    """Write the checkpoint in folder `checkpoint` to folder `target` as ONNX; returns the files that are there now.

    `model.onnx`, with `quantize` also `model_quant.onnx`, with `fp16` also `model_fp16.onnx`, and for models with
    hotwords `model_eb.onnx`. Nothing appears in `target` before all of it was tried; what an earlier export left there
    is replaced. Blocking: a minute and six gigabytes of memory for a large model.

    Raises:
        ModelStoreError: torch or FunASR is not installed, the checkpoint is no such model or is broken (the message
            names the file), it has no use for fp16, or `target` cannot be written.
    """
    config = read_config(checkpoint)
    if fp16 and config["model"] in (PUNCTUATION, LIVE_PUNCTUATION):
        raise ModelStoreError(f"{config['model']} is not served on a GPU: export it without fp16.")
    tokens = read_tokens(checkpoint)
    torch, funasr = framework("torch"), framework("funasr.register")
    progress(f"reading {config['model']} ({len(tokens)} tokens)")
    with blamed(f"{CONFIG} of the checkpoint describes no model that can be built"):
        model = build(funasr.tables, config, len(tokens))
    fill(model, read_weights(torch, checkpoint / WEIGHTS))
    with blamed(f"{CONFIG} of the checkpoint describes layers that cannot be exported"):
        graphs = _graphs(torch, model, config, len(tokens))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-export-") as work:
            for graph in graphs:
                _write(torch, graph, Path(work), progress)
                if quantize and graph.file == "model.onnx":
                    _quantise(graph, Path(work), str(config["model"]), progress)
                if fp16 and graph.file == "model.onnx":
                    _halve(graph, Path(work), progress)
            for name in _COPIED:
                if (checkpoint / name).is_file():
                    shutil.copyfile(checkpoint / name, Path(work, name))
            return _place(Path(work), target)
    except OSError as error:
        raise ModelStoreError(f"{target} cannot be written: {error.strerror or error}.") from error


def _graphs(torch: Any, model: Any, config: dict[str, Any], vocabulary: int) -> list[_Graph]:
    """What is to be written, with FunASR's own rewriting of layers for ONNX.

    Its rewriting takes a longest length and ignores it (`sequence_mask` counts up to what it is given), so that graphs
    have no limit; the trial is longer than what is traced, to see that.
    """
    named = {name: config[name] for name in PARTS if name in config}
    scripts = model.export(**named, type="onnx", device="cpu", max_seq_len=512)
    graph, *encoders = scripts if isinstance(scripts, (list, tuple)) else [scripts]
    kind = config["model"]
    if kind == PUNCTUATION:
        return [_punctuation(torch, graph, vocabulary)]
    if kind == LIVE_PUNCTUATION:
        return [_live_punctuation(torch, graph, vocabulary)]
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


def _live_punctuation(torch: Any, module: Any, vocabulary: int) -> _Graph:
    """One text at a time, with what each token may attend to: in the last layer, and in the others."""

    def text(length: int, pause: int) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(0)
        words = torch.randint(0, vocabulary, (1, length), generator=generator).int()
        vad = torch.ones(1, 1, length, length)
        vad[..., : pause - 1, pause:] = 0
        return words, torch.tensor([length]).int(), vad, torch.ones(1, 1, length, length).tril()

    masks = ("vad_masks", "sub_masks")
    axes = {"inputs": {1: "feats_length"}, "logits": {1: "logits_length"}}
    axes |= {name: {2: "feats_length1", 3: "feats_length2"} for name in masks}
    inputs = ("inputs", "text_lengths", *masks)
    return _Graph("model.onnx", module, text(120, 50), text(200, 130), inputs, ("logits",), axes)


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
    with blamed(f"{graph.file} cannot be written"), torch.inference_mode(), warnings.catch_warnings():
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
    punctuates = kind in (PUNCTUATION, LIVE_PUNCTUATION)
    last = "decoder" if punctuates else "output"
    onnx = framework("onnx")
    quantization = framework("onnxruntime.quantization")
    names: list[str] = [node.name for node in onnx.load(work / graph.file, load_external_data=False).graph.node]
    logging.disable(logging.WARNING)  # it has a line to say about every tensor
    try:
        with blamed(f"{path.name} cannot be written"):
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


def _halve(graph: _Graph, work: Path, progress: Progress) -> None:
    path = work / graph.file.replace(".onnx", "_fp16.onnx")
    progress(f"writing {path.name}")
    onnx = framework("onnx")
    with blamed(f"{path.name} cannot be written"):
        model = onnx.load(work / graph.file)
        halve(onnx, model)
        onnx.save(model, path)
    weights = graph.outputs.index("alphas" if "alphas" in graph.outputs else "us_alphas")
    expected, given = _tried(graph, work / graph.file)[weights], _tried(graph, path)[weights]
    if not np.allclose(given, expected, atol=_HALF_ALIKE, rtol=0.0):
        raise ModelStoreError(f"{path.name} does not give what {graph.file} gives: this model cannot be had in fp16.")


def _tried(graph: _Graph, path: Path) -> list[Any]:
    """What the graph in `path` gives for the trial."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    with blamed(f"{path.name} was written and cannot be run"):
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
