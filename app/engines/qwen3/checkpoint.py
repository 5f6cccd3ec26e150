"""A Qwen3-ASR or forced aligner folder: what its config says, and whether its weights are all there.

Checked before vLLM sees it, which starts without complaint where a layer's weights are missing, on whatever the memory
held before.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from app.domain.errors import EngineFailure
from app.engines.folders import read_object

Object = Mapping[str, object]

_ORIGINAL, _HF = "original", "hf"
_PREFIXES = {  # of the audio tower, of what joins it to the language model, of the language model
    _ORIGINAL: ("thinker.audio_tower.", ("thinker.audio_tower.proj1", "thinker.audio_tower.proj2"), "thinker.model."),
    _HF: (
        "model.audio_tower.",
        ("model.multi_modal_projector.linear_1", "model.multi_modal_projector.linear_2"),
        "model.language_model.",
    ),
}
_HEADS = {_ORIGINAL: "thinker.lm_head", _HF: "lm_head"}
"""What writes tokens; an aligner's tells times."""
_CONVOLUTIONS = ("conv2d1", "conv2d2", "conv2d3")
_AUDIO_LAYER = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2")
_TEXT_LAYER = (
    *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
    *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
)
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_DEFAULT_SEGMENT_MS = 80
_HEADER = struct.Struct("<Q")
_LARGEST_HEADER = 100_000_000


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the engine has to know. `weight_bytes` and `kv_bytes`, those of one token's keys and values, are for numbers
    of `number_bytes`, as in its files. An aligner's time bins are of `bin_seconds` each, and asked for by
    `timestamp_token`."""

    folder: Path
    aligns: bool
    weight_bytes: int
    kv_bytes: int
    number_bytes: int
    timestamp_token: int
    bin_seconds: float


def read_checkpoint(folder: Path, *, aligns: bool) -> Checkpoint:
    """The checkpoint in `folder`, in the original layout or the one whose repositories end in "-hf". Blocking.

    Raises:
        EngineFailure: a file is missing, broken, of another model, or lacks weights; the message names it.
    """
    config = read_object(folder / "config.json")
    if config.get("model_type") != "qwen3_asr":
        raise EngineFailure(f"config.json is of another kind of model ({config.get('model_type')!r}).")
    thinker = _mapping(config, "thinker_config") if "thinker_config" in config else config
    hf_layout = thinker is config
    text, audio = _mapping(thinker, "text_config"), _mapping(thinker, "audio_config")
    bins = _labels(config) if hf_layout else _number(thinker, "classify_num", 0)
    if aligns != (bins > 0):
        kind = "a forced aligner" if bins else "a recogniser"
        raise EngineFailure(f"config.json is of {kind}, and {'an aligner' if aligns else 'a recogniser'} is needed.")
    if aligns and hf_layout:  # vLLM 0.32 reads neither its configuration nor its names
        raise EngineFailure(
            "config.json is of the aligner's -hf repository, which vLLM cannot load; Qwen/Qwen3-ForcedAligner-0.6B "
            "is the one to have."
        )
    layout = _HF if hf_layout else _ORIGINAL
    tied = bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", not hf_layout)))
    needed = set(_needed(layout, text, audio, aligns=aligns, tied=tied))
    number_bytes = _BYTES.get(str(thinker.get("dtype") or config.get("dtype")), 2)
    return Checkpoint(
        folder=folder,
        aligns=aligns,
        weight_bytes=_weights(folder, needed),
        kv_bytes=_kv_numbers(text) * number_bytes,
        number_bytes=number_bytes,
        timestamp_token=_number(config, "timestamp_token_id", 0),
        bin_seconds=_number(config, "timestamp_segment_time", _DEFAULT_SEGMENT_MS) / 1000,
    )


def _needed(layout: str, text: Object, audio: Object, *, aligns: bool, tied: bool) -> Iterator[str]:
    """Names of the weights without which the model would run on chance."""
    tower, projections, language = _PREFIXES[layout]
    layers = [f"layers.{layer}.{name}" for layer in range(_number(audio, "encoder_layers", 1)) for name in _AUDIO_LAYER]
    with_bias = (*projections, *(tower + name for name in (*_CONVOLUTIONS, *layers)))
    yield from (f"{name}.{part}" for name in with_bias for part in ("weight", "bias"))
    yield f"{tower}conv_out.weight"
    yield f"{language}embed_tokens.weight"
    yield f"{language}norm.weight"
    for layer in range(_number(text, "num_hidden_layers", 1)):
        yield from (f"{language}layers.{layer}.{name}.weight" for name in _TEXT_LAYER)
    if aligns or not tied:
        yield f"{_HEADS[layout]}.weight"


def _weights(folder: Path, needed: set[str]) -> int:
    """Bytes of all weights, once it is known that none is missing and no file ends early."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise EngineFailure("model.safetensors is missing.")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = {str(name) for name in _mapping(read_object(index), "weight_map").values()}
        if missing := sorted(parts - {file.name for file in files}):
            raise EngineFailure(f"{missing[0]} is missing.")
    found: set[str] = set()
    for file in files:
        found |= _names(file)
    if missing := sorted(needed - found):
        raise EngineFailure(
            f"{files[0].name} lacks {len(missing)} of the model's weights, {missing[0]} for one: it is of another "
            "model or layout."
        )
    return sum(file.stat().st_size for file in files)


def _names(file: Path) -> set[str]:
    """Names of the tensors in a safetensors file, which must be whole."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(_HEADER.size)
        length = _HEADER.unpack(head)[0] if len(head) == _HEADER.size else _LARGEST_HEADER + 1
        raw = stream.read(length) if length <= min(size, _LARGEST_HEADER) else b""
    try:
        header = cast("dict[str, dict[str, list[int]]]", json.loads(raw))
        ends = {name: tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise EngineFailure(f"{file.name} is not a whole safetensors file.") from None
    if size != _HEADER.size + length + max(ends.values(), default=0):
        raise EngineFailure(f"{file.name} is not a whole safetensors file: its size is not what its header says.")
    return set(ends)


def _labels(config: Object) -> int:
    """Classes of an aligner in the "-hf" layout: as many as have a name there. A recogniser has none."""
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or "Qwen3ASRForTokenClassification" not in architectures:
        return 0
    labels = config.get("id2label")
    return len(cast("dict[str, str]", labels)) if isinstance(labels, dict) else _number(config, "num_labels", 0)


def _kv_numbers(text: Object) -> int:
    heads = _number(text, "num_key_value_heads", 1)
    return 2 * _number(text, "num_hidden_layers", 1) * heads * _number(text, "head_dim", 128)


def _mapping(said: Object, key: str) -> dict[str, object]:
    value = said.get(key)
    if not isinstance(value, dict):
        raise EngineFailure(f"a configuration of this model says nothing of {key}.")
    return cast("dict[str, object]", value)


def _number(said: Object, key: str, default: int) -> int:
    value = said.get(key, default)
    return int(value) if isinstance(value, int | float) else default
