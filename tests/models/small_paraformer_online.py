"""The two graphs of a streaming Paraformer, made of a checkpoint in FunASR's format without torch or FunASR: what
`models export` writes for one utterance at a time (tests/parity compares them). Written in ONNX's own encoding, so that
nothing but numpy is needed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from app.engines.speakers.checkpoints import read_checkpoint

Weights = Mapping[str, np.ndarray]

_INT32, _INT64, _FLOAT = 6, 7, 1
_COPIED = ("config.yaml", "tokens.json", "am.mvn", "seg_dict")
_EPSILON = 1e-12
_END = 2**62


def write_streaming_paraformer(checkpoint: Path, folder: Path) -> Path:
    """A model folder like an export of `checkpoint`, in fp32."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        shutil.copyfile(checkpoint / name, folder / name)
    config: dict[str, Any] = yaml.safe_load((checkpoint / "config.yaml").read_text("utf-8"))
    weights = read_checkpoint(checkpoint / "model.pt")
    (folder / "model.onnx").write_bytes(encoder(weights, config))
    vocabulary = len(json.loads((checkpoint / "tokens.json").read_text("utf-8")))
    (folder / "decoder.onnx").write_bytes(decoder(weights, config, vocabulary))
    return folder


def encoder(weights: Weights, config: dict[str, Any]) -> bytes:
    """speech, speech_lengths -> enc, enc_len, alphas."""
    conf = config["encoder_conf"]
    graph = _Layers(weights, conf["attention_heads"])
    at = "speech"
    layers = ["encoder.encoders0.0", *(f"encoder.encoders.{number}" for number in range(conf["num_blocks"] - 1))]
    for layer in layers:
        at = graph.encoding(at, layer, conf["kernel_size"], conf["sanm_shfit"])
    graph.name("enc", graph.norm(at, "encoder.after_norm"))
    graph.name("enc_len", "speech_lengths")
    heard = graph.flipped("enc")
    heard = graph.node("Conv", heard, *graph.both("predictor.cif_conv1d"), pads=[1, 1])
    weighed = graph.linear(graph.flipped(graph.node("Relu", heard)), "predictor.cif_output")
    graph.name("alphas", graph.node("Squeeze", graph.node("Sigmoid", weighed), graph.numbers(2)))
    size, width = weights["encoder.encoders0.0.norm1.weight"].size, conf["output_size"]
    inputs = [("speech", _FLOAT, ["batch", "frames", size]), ("speech_lengths", _INT32, ["batch"])]
    outputs = [("enc", _FLOAT, ["batch", "frames", width]), ("enc_len", _INT32, ["batch"])]
    return graph.model(inputs, [*outputs, ("alphas", _FLOAT, ["batch", "frames"])])


def decoder(weights: Weights, config: dict[str, Any], vocabulary: int, *, cropped: bool = True) -> bytes:
    """enc, enc_len, acoustic_embeds, acoustic_embeds_len, in_cache_* -> logits, sample_ids, out_cache_*.

    `cropped` memory is as long as that which goes in; else, what has just been heard is added to it.
    """
    conf, width = config["decoder_conf"], config["encoder_conf"]["output_size"]
    graph = _Layers(weights, conf["attention_heads"])
    at = "acoustic_embeds"
    for number in range(conf["num_blocks"]):
        at = graph.decoding(at, f"decoder.decoders.{number}", number, cropped=cropped)
    last = "decoder.decoders3.0"
    at = graph.fed(graph.norm(at, f"{last}.norm1"), f"{last}.feed_forward")
    graph.name("logits", graph.linear(graph.norm(at, "decoder.after_norm"), "decoder.output_layer"))
    graph.name("sample_ids", graph.node("ArgMax", "logits", axis=-1, keepdims=0))
    names, kept = [f"_cache_{number}" for number in range(conf["num_blocks"])], conf["kernel_size"] - 1
    inputs = [("enc", _FLOAT, ["batch", "frames", width]), ("enc_len", _INT32, ["batch"])]
    inputs += [("acoustic_embeds", _FLOAT, ["batch", "tokens", width]), ("acoustic_embeds_len", _INT32, ["batch"])]
    inputs += [(f"in{name}", _FLOAT, [1, width, kept]) for name in names]
    outputs = [("logits", _FLOAT, ["batch", "tokens", vocabulary]), ("sample_ids", _INT64, ["batch", "tokens"])]
    outputs += [(f"out{name}", _FLOAT, [1, width, kept if cropped else "kept"]) for name in names]
    return graph.model(inputs, outputs)


class _Layers:
    """Nodes and constants in the making. Methods that take `at` return the name of what they compute of it."""

    def __init__(self, weights: Weights, heads: int) -> None:
        self._weights = weights
        self._heads = heads
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: int | float | list[int]) -> str:
        """Of several outputs the first one's name; the others' end in _1, _2."""
        name = f"{kind}_{len(self._nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self._nodes.append(
            b"".join(
                [
                    *(_field(1, one.encode()) for one in inputs),
                    *(_field(2, one.encode()) for one in names),
                    _field(4, kind.encode()),
                    *(_field(5, _attribute(key, value)) for key, value in attributes.items()),
                ]
            )
        )
        return name

    def name(self, name: str, at: str) -> None:
        self._nodes.append(_field(1, at.encode()) + _field(2, name.encode()) + _field(4, b"Identity"))

    def constant(self, name: str, values: np.ndarray) -> str:
        kind = _INT64 if values.dtype == np.int64 else _FLOAT
        shape = b"".join(_field(1, size) for size in values.shape)
        raw = np.ascontiguousarray(values).tobytes()
        self._constants[name] = shape + _field(2, kind) + _field(8, name.encode()) + _field(9, raw)
        return name

    def numbers(self, *values: int) -> str:
        return self.constant("_".join(["numbers", *map(str, values)]), np.array(values, np.int64))

    def both(self, layer: str) -> tuple[str, str]:
        return tuple(self.constant(f"{layer}.{part}", self._weights[f"{layer}.{part}"]) for part in ("weight", "bias"))  # type: ignore[return-value]

    def norm(self, at: str, layer: str) -> str:
        return self.node("LayerNormalization", at, *self.both(layer), epsilon=_EPSILON)

    def linear(self, at: str, layer: str) -> str:
        at = self.node("MatMul", at, self.constant(f"{layer}.weight", self._weights[f"{layer}.weight"].T))
        if f"{layer}.bias" not in self._weights:
            return at
        return self.node("Add", at, self.constant(f"{layer}.bias", self._weights[f"{layer}.bias"]))

    def flipped(self, at: str) -> str:
        return self.node("Transpose", at, perm=[0, 2, 1])

    def memory(self, at: str, layer: str, pads: list[int]) -> str:
        """A weighted sum of neighbours, channel by channel; (batch, channels, length)."""
        kernel = self._weights[f"{layer}.weight"]
        return self.node("Conv", at, self.constant(f"{layer}.weight", kernel), pads=pads, group=len(kernel))

    def attention(self, query: str, key: str, value: str, layer: str, width: int) -> str:
        split = self.numbers(0, 0, self._heads, width // self._heads)
        parted = [self.node("Reshape", at, split) for at in (query, key, value)]
        query, value = (self.node("Transpose", at, perm=[0, 2, 1, 3]) for at in (parted[0], parted[2]))
        scale = self.constant(f"scale_{width}", np.array((width // self._heads) ** -0.5, np.float32))
        key = self.node("Transpose", parted[1], perm=[0, 2, 3, 1])
        scores = self.node("MatMul", self.node("Mul", query, scale), key)
        heard = self.node("MatMul", self.node("Softmax", scores, axis=-1), value)
        joined = self.node("Reshape", self.node("Transpose", heard, perm=[0, 2, 1, 3]), self.numbers(0, 0, width))
        return self.linear(joined, f"{layer}.linear_out")

    def fed(self, at: str, layer: str) -> str:
        at = self.node("Relu", self.linear(at, f"{layer}.w_1"))
        if f"{layer}.norm.weight" in self._weights:
            at = self.norm(at, f"{layer}.norm")
        return self.linear(at, f"{layer}.w_2")

    def encoding(self, at: str, layer: str, kernel: int, shift: int) -> str:
        width = len(self._weights[f"{layer}.self_attn.linear_out.weight"])
        same = self._weights[f"{layer}.norm1.weight"].size == width
        joined = self.linear(self.norm(at, f"{layer}.norm1"), f"{layer}.self_attn.linear_q_k_v")
        query = self.node("Split", joined, self.numbers(width, width, width), outputs=3, axis=-1)
        key, value = f"{query}_1", f"{query}_2"
        left = (kernel - 1) // 2 + shift
        beside = self.memory(self.flipped(value), f"{layer}.self_attn.fsmn_block", [left, kernel - 1 - left])
        heard = self.attention(query, key, value, f"{layer}.self_attn", width)
        heard = self.node("Sum", heard, self.flipped(beside), value, *([at] if same else []))
        return self.node("Add", heard, self.fed(self.norm(heard, f"{layer}.norm2"), f"{layer}.feed_forward"))

    def decoding(self, at: str, layer: str, number: int, *, cropped: bool) -> str:
        fed = self.norm(self.fed(self.norm(at, f"{layer}.norm1"), f"{layer}.feed_forward"), f"{layer}.norm2")
        before = self.node("Concat", f"in_cache_{number}", self.flipped(fed), axis=2)
        size = self._weights[f"{layer}.self_attn.fsmn_block.weight"].shape[-1] - 1
        kept = self.node("Slice", before, self.numbers(-size), self.numbers(_END), self.numbers(2))
        self.name(f"out_cache_{number}", kept if cropped else before)
        said = self.flipped(self.memory(before, f"{layer}.self_attn.fsmn_block", [0, 0]))
        at = self.node("Sum", said, fed, at)
        width = len(self._weights[f"{layer}.src_attn.linear_q.weight"])
        query = self.linear(self.norm(at, f"{layer}.norm3"), f"{layer}.src_attn.linear_q")
        pair = self.linear("enc", f"{layer}.src_attn.linear_k_v")
        key = self.node("Split", pair, self.numbers(width, width), outputs=2, axis=-1)
        return self.node("Add", at, self.attention(query, key, f"{key}_1", f"{layer}.src_attn", width))

    def model(self, inputs: list[tuple[str, int, list[Any]]], outputs: list[tuple[str, int, list[Any]]]) -> bytes:
        content = [_field(1, node) for node in self._nodes]
        content += [_field(2, b"paraformer"), *(_field(5, one) for one in self._constants.values())]
        content += [_field(11, _value(*one)) for one in inputs] + [_field(12, _value(*one)) for one in outputs]
        return _field(1, 8) + _field(8, _field(2, 17)) + _field(7, b"".join(content))


def _attribute(name: str, value: int | float | list[int]) -> bytes:
    if isinstance(value, float):
        said = _varint(2 << 3 | 5) + np.float32(value).tobytes() + _field(20, 1)
    elif isinstance(value, int):
        said = _field(3, value) + _field(20, 2)
    else:
        said = b"".join(_field(8, one) for one in value) + _field(20, 7)
    return _field(1, name.encode()) + said


def _value(name: str, kind: int, shape: list[str | int]) -> bytes:
    sizes = [_field(1, size) if isinstance(size, int) else _field(2, size.encode()) for size in shape]
    described = _field(1, kind) + _field(2, b"".join(_field(1, size) for size in sizes))
    return _field(1, name.encode()) + _field(2, _field(1, described))


def _field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer: a number, or something with a length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value % (1 << 64))
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)
