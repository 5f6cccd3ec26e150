"""A FunASR checkpoint to ONNX, in the layout of FunASR's own exports: graphs in fp32, int8 and fp16 beside the
checkpoint's vocabulary and configuration. Needs torch and FunASR, which nothing that serves does.

A graph is kept only after it gave what torch gives.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort

from app.domain.errors import ModelStoreError
from app.modelstore.checkpoints import (
    CONFIG,
    LIVE_PUNCTUATION,
    ON_CPU,
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
from app.modelstore.graphs import DECODER, EXPORTED, MODEL, Graph, graphs_of
from app.modelstore.halving import halve

Progress = Callable[[str], None]

_COPIED = (CONFIG, TOKENS, "am.mvn", "seg_dict", "jieba_usr_dict", "configuration.json")
_IN_INTEGERS = (MODEL, DECODER)
"""What is written in int8, too; the others are small."""
_OPSET = 14
_ALIKE = 1e-3
"""How far a graph's log probabilities may be from torch's."""
_HALF_ALIKE = 0.02
"""How far the weights that time tokens, which are up to 1, may be from torch's in fp16."""


def export(
    checkpoint: Path, target: Path, *, quantize: bool = True, fp16: bool = False, progress: Progress
) -> list[Path]:
    """Write the checkpoint in folder `checkpoint` to folder `target` as ONNX; returns the files that are there now.

    `model.onnx`, with `quantize` also `model_quant.onnx`, with `fp16` also `model_fp16.onnx`; for models with hotwords
    `model_eb.onnx`, for the streaming one `decoder.onnx` and, with `quantize`, `decoder_quant.onnx`. Nothing appears in
    `target` before all of it was tried; what an earlier export left there is replaced. Blocking: a minute and six
    gigabytes of memory for a large model.

    Raises:
        ModelStoreError: torch or FunASR is not installed, the checkpoint is no such model or is broken (the message
            names the file), it has no use for fp16, or `target` cannot be written.
    """
    config = read_config(checkpoint)
    if fp16 and config["model"] in ON_CPU:
        raise ModelStoreError(f"{config['model']} is not served on a GPU: export it without fp16.")
    tokens = read_tokens(checkpoint)
    torch, funasr = framework("torch"), framework("funasr.register")
    progress(f"reading {config['model']} ({len(tokens)} tokens)")
    with blamed(f"{CONFIG} of the checkpoint describes no model that can be built"):
        model = build(funasr.tables, config, len(tokens))
    fill(model, read_weights(torch, checkpoint / WEIGHTS))
    with blamed(f"{CONFIG} of the checkpoint describes layers that cannot be exported"):
        graphs = graphs_of(torch, model, config, len(tokens))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-export-") as work:
            for graph in graphs:
                _write(torch, graph, Path(work), progress)
                if quantize and graph.file in _IN_INTEGERS:
                    _quantise(graph, Path(work), str(config["model"]), progress)
                if fp16 and graph.file == MODEL:
                    _halve(graph, Path(work), progress)
            for name in _COPIED:
                if (checkpoint / name).is_file():
                    shutil.copyfile(checkpoint / name, Path(work, name))
            return _place(Path(work), target)
    except OSError as error:
        raise ModelStoreError(f"{target} cannot be written: {error.strerror or error}.") from error


def _write(torch: Any, graph: Graph, work: Path, progress: Progress) -> None:
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
    wanted = [output.numpy() for output in _flat(expected)]
    given = _tried(graph, work / graph.file)
    same = len(given) == len(wanted) and all(
        one.shape == other.shape and np.allclose(one, other, atol=_ALIKE, rtol=_ALIKE)
        for one, other in zip(given, wanted, strict=True)
    )
    if not same:
        raise ModelStoreError(f"{graph.file} does not give what torch gives: this model cannot be exported.")


def _flat(outputs: Any) -> list[Any]:
    """Tensors in order, as a graph gives them, of what a module gives."""
    if isinstance(outputs, list | tuple):
        return [tensor for one in cast("list[Any]", outputs) for tensor in _flat(one)]
    return [outputs]


def _quantise(graph: Graph, work: Path, kind: str, progress: Progress) -> None:
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


def _halve(graph: Graph, work: Path, progress: Progress) -> None:
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


def _tried(graph: Graph, path: Path) -> list[Any]:
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
    for name in EXPORTED - set(names):
        (target / name).unlink(missing_ok=True)
    return [target / name for name in names]
