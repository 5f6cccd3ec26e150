"""Recipes of Qwen3-ASR and Qwen3-ForcedAligner checkpoints in the published layouts: small ones for tests, and ones of
the published sizes with random weights, which take the time and memory that the published ones take.

    .venv-vllm/bin/python -m tests.models.small_qwen FOLDER [--kind random --size 0.6b] [--layout hf] [--script TEXT]

Needs tokenizers and NumPy.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .qwen_tokenizer import LANGUAGES, TOKENS, write_tokenizer

Kind = Literal["scripted", "random", "aligner"]
Layout = Literal["original", "hf"]
Size = Literal["tiny", "0.6b", "1.7b", "aligner"]

SCRIPT = "language English<asr_text>The quick brown fox jumps over a lazy dog."

VOCABULARY = 151_936
"""Rows of the embeddings, of which the tokenizer uses 151,706."""
_ENDS = [TOKENS["<|endoftext|>"], TOKENS["<|im_end|>"]]
_TEMPLATE = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}\n"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'text' -%}{{ part.text }}"
    "{%- else -%}<|audio_start|><|audio_pad|><|audio_end|>{%- endif -%}"
    "{%- endfor -%}{%- endif -%}<|im_end|>\n{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"
)


class _Shape(NamedTuple):
    """Widths and numbers of layers: of the audio encoder, of the language model."""

    audio: int
    audio_layers: int
    audio_heads: int
    audio_inner: int
    channels: int
    text: int
    text_layers: int
    heads: int
    kv_heads: int
    inner: int
    files: int = 1


_SHAPES: dict[Size, _Shape] = {
    "tiny": _Shape(32, 2, 2, 64, 16, 64, 2, 2, 1, 96),
    "0.6b": _Shape(896, 18, 14, 3584, 480, 1024, 28, 16, 8, 3072),
    "1.7b": _Shape(1024, 24, 16, 4096, 480, 2048, 28, 16, 8, 6144, files=2),
    "aligner": _Shape(1024, 24, 16, 4096, 480, 1024, 28, 16, 8, 3072),
}
_HEAD_SIZE = 128
_BIN_MS = 80
_MELS = 128
_AUDIO = "thinker.audio_tower."
_TEXT = "thinker.model."
_EMBEDDINGS = _TEXT + "embed_tokens.weight"
_HEAD = "thinker.lm_head.weight"
_LOUD = 3.0
"""How much larger the convolutions are than what keeps variance: else what is heard drowns in where it is heard."""
_SHARP = 2.0
"""Scale of queries and of keys: else attention averages over everything, and all noises sound the same."""
_CHUNK = 1 << 22
"""Weights drawn at once, so that a checkpoint of any size takes little memory to make."""


class _Tensor(NamedTuple):
    """Weights by name in the original layout: normally distributed, or all alike where nothing deviates."""

    name: str
    shape: tuple[int, ...]
    deviation: float
    mean: float = 0.0
    source: str = ""
    """The tensor that this is a copy of."""


def make(
    folder: Path,
    *,
    kind: Kind = "scripted",
    size: Size = "tiny",
    layout: Layout = "original",
    script: str = SCRIPT,
    loops: bool = False,
    seed: int = 0,
    classify_num: int = 5000,
) -> Path:
    """A checkpoint in bfloat16. The same `seed` gives the same weights in both layouts.

    "scripted" says `script`, whatever it hears, and then ends, or with `loops` says what follows <asr_text> again and
    again. It goes on from wherever in the script its prompt ends. "random" has random weights: what it says depends on
    the sound. "aligner" is a forced aligner with random weights and `classify_num` time bins of 80 ms.

    Raises `ValueError` where the script has a token twice or too many, and where kind and size do not go together.
    """
    if (kind == "scripted" and size == "aligner") or (kind == "aligner") < (size == "aligner"):
        raise ValueError(f"there is no {kind} checkpoint of size {size}")
    shape = _SHAPES[size]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(folder, script, whole=layout == "hf")
    _write_configuration(folder, layout, shape, classify_num if kind == "aligner" else None)
    exact = _scripted(tokenizer, script, shape, seed, loops=loops) if kind == "scripted" else {}
    tensors = [*_audio_tensors(shape), *_text_tensors(shape)]
    if kind == "aligner":
        tensors += _linear(_HEAD, classify_num, shape.text)
    elif layout == "original":  # the published files carry the tied head a second time
        tensors.append(_Tensor(_HEAD, (VOCABULARY, shape.text), 0.02, source=_EMBEDDINGS))
    _write_weights(folder, tensors, layout, exact, seed, shape.files)
    return folder


def hf_name(name: str) -> str:
    """What the "-hf" repositories call a tensor of the original layout. The head is an aligner's: others have none."""
    for original, renamed in (
        (_AUDIO + "proj1.", "model.multi_modal_projector.linear_1."),
        (_AUDIO + "proj2.", "model.multi_modal_projector.linear_2."),
        (_AUDIO, "model.audio_tower."),
        (_TEXT, "model.language_model."),
        (_HEAD, "score.weight"),
    ):
        if name.startswith(original):
            return renamed + name.removeprefix(original)
    raise ValueError(f"not a tensor of Qwen3-ASR: {name}")


# --- configuration


def _write_configuration(folder: Path, layout: Layout, shape: _Shape, bins: int | None) -> None:
    """`bins`: time bins of an aligner, none of a recogniser."""
    config = (_original_config if layout == "original" else _hf_config)(shape, bins)
    _write_json(folder / "config.json", {"model_type": "qwen3_asr", "dtype": "bfloat16"} | config)
    ends = {"eos_token_id": _ENDS, "pad_token_id": _ENDS[0]}
    _write_json(folder / "generation_config.json", {"do_sample": False} | ends)
    features: dict[str, Any] = {"feature_size": _MELS, "hop_length": 160, "n_fft": 400, "sampling_rate": 16000}
    features |= {"padding_side": "right", "padding_value": 0.0, "return_attention_mask": True}
    processor = {"processor_class": "Qwen3ASRProcessor"}
    if layout == "original":
        features |= {"feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": 30, "dither": 0.0}
        features |= {"n_samples": 480_000, "nb_max_frames": 3000}
        _write_json(folder / "preprocessor_config.json", features | processor)
        _write_json(folder / "chat_template.json", {"chat_template": _TEMPLATE})
    else:
        features |= {"feature_extractor_type": "Qwen3ASRFeatureExtractor"}
        processing = {"feature_extractor": features, "timestamp_segment_time": _BIN_MS}
        _write_json(folder / "processor_config.json", processor | processing)
        (folder / "chat_template.jinja").write_text(_TEMPLATE, "utf-8")


def _original_config(shape: _Shape, bins: int | None) -> dict[str, Any]:
    audio = {"model_type": "qwen3_asr_audio_encoder", "max_source_positions": 1500, "conv_chunksize": 500}
    rope = {"rope_type": "default", "interleaved": True, "mrope_interleaved": True, "mrope_section": [24, 20, 20]}
    text = {"model_type": "qwen3_asr_text", "rope_theta": 1e6, "rope_scaling": rope}
    thinker: dict[str, Any] = {
        "model_type": "qwen3_asr_thinker" if bins is None else "qwen3_forced_aligner",
        "audio_config": _audio_config(shape) | audio,
        "text_config": _text_config(shape, bins) | text,
        "audio_token_id": TOKENS["<|audio_pad|>"],
        "audio_start_token_id": TOKENS["<|audio_start|>"],
        "audio_end_token_id": TOKENS["<|audio_end|>"],
        "user_token_id": 872,
        "initializer_range": 0.02,
        "dtype": "bfloat16",
    }
    config: dict[str, Any] = {
        "architectures": ["Qwen3ASRForConditionalGeneration"],
        "transformers_version": "4.57.6",
        "support_languages": LANGUAGES,
        "thinker_config": thinker,
    }
    if bins is not None:
        thinker["classify_num"] = bins
        config |= {"timestamp_token_id": TOKENS["<timestamp>"], "timestamp_segment_time": _BIN_MS}
    return config


def _hf_config(shape: _Shape, bins: int | None) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e6}
    config: dict[str, Any] = {
        "architectures": ["Qwen3ASRForConditionalGeneration" if bins is None else "Qwen3ASRForTokenClassification"],
        "transformers_version": "5.16.0",
        "audio_config": _audio_config(shape) | {"model_type": "qwen3_asr_encoder"},
        "text_config": _text_config(shape, bins) | {"model_type": "qwen3", "rope_parameters": rope},
        "audio_token_id": TOKENS["<|audio_pad|>"],
        "timestamp_token_id": TOKENS["<timestamp>"],
        "pad_token_id": TOKENS["<|im_end|>"],
        "eos_token_id": _ENDS,
        "tie_word_embeddings": bins is None,
    }
    if bins is not None:  # transformers writes labels instead of their number
        config["id2label"] = {number: f"LABEL_{number}" for number in range(bins)}
        config["label2id"] = {f"LABEL_{number}": number for number in range(bins)}
    return config


def _audio_config(shape: _Shape) -> dict[str, Any]:
    return {
        "num_mel_bins": _MELS,
        "encoder_layers": shape.audio_layers,
        "encoder_attention_heads": shape.audio_heads,
        "encoder_ffn_dim": shape.audio_inner,
        "d_model": shape.audio,
        "output_dim": shape.text,
        "downsample_hidden_size": shape.channels,
        "n_window": 50,
        "n_window_infer": 800,
        "activation_function": "gelu",
        "scale_embedding": False,
        "initializer_range": 0.02,
    } | dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.0)


def _text_config(shape: _Shape, bins: int | None) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": shape.text,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.text_layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": _HEAD_SIZE,
        "hidden_act": "silu",
        "max_position_embeddings": 65536,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "use_cache": True,
        "tie_word_embeddings": bins is None,
        "attention_bias": False,
        "attention_dropout": 0.0,
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")


# --- weights


def _audio_tensors(shape: _Shape) -> Iterator[_Tensor]:
    width, channels = shape.audio, shape.channels
    for name, inputs in (("conv2d1", 1), ("conv2d2", channels), ("conv2d3", channels)):
        yield _Tensor(f"{_AUDIO}{name}.weight", (channels, inputs, 3, 3), _LOUD * (9 * inputs) ** -0.5)
        yield _Tensor(f"{_AUDIO}{name}.bias", (channels,), 0.0)
    inputs = channels * _MELS // 8
    yield _Tensor(f"{_AUDIO}conv_out.weight", (width, inputs), _LOUD * inputs**-0.5)
    for number in range(shape.audio_layers):
        layer = f"{_AUDIO}layers.{number}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _biased(f"{layer}self_attn.{name}", width, width)
        yield from _biased(layer + "fc1", shape.audio_inner, width)
        yield from _biased(layer + "fc2", width, shape.audio_inner)
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            yield from _norm(layer + name, width, biased=True)
    yield from _norm(_AUDIO + "ln_post", width, biased=True)
    yield from _biased(_AUDIO + "proj1", width, width)
    yield from _biased(_AUDIO + "proj2", shape.text, width)


def _text_tensors(shape: _Shape) -> Iterator[_Tensor]:
    width, heads, kv_heads = shape.text, shape.heads * _HEAD_SIZE, shape.kv_heads * _HEAD_SIZE
    yield _Tensor(_EMBEDDINGS, (VOCABULARY, width), 0.02)
    for number in range(shape.text_layers):
        layer = f"{_TEXT}layers.{number}."
        yield from _linear(layer + "self_attn.q_proj.weight", heads, width)
        yield from _linear(layer + "self_attn.k_proj.weight", kv_heads, width)
        yield from _linear(layer + "self_attn.v_proj.weight", kv_heads, width)
        yield from _linear(layer + "self_attn.o_proj.weight", width, heads)
        yield from _linear(layer + "mlp.gate_proj.weight", shape.inner, width)
        yield from _linear(layer + "mlp.up_proj.weight", shape.inner, width)
        yield from _linear(layer + "mlp.down_proj.weight", width, shape.inner)
        for name in ("self_attn.q_norm", "self_attn.k_norm"):
            yield from _norm(layer + name, _HEAD_SIZE, mean=_SHARP)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield from _norm(layer + name, width)
    yield from _norm(_TEXT + "norm", width)


def _linear(name: str, outputs: int, inputs: int) -> Iterator[_Tensor]:
    yield _Tensor(name, (outputs, inputs), inputs**-0.5)


def _biased(name: str, outputs: int, inputs: int) -> Iterator[_Tensor]:
    yield from _linear(name + ".weight", outputs, inputs)
    yield _Tensor(name + ".bias", (outputs,), 0.0)


def _norm(name: str, width: int, *, biased: bool = False, mean: float = 1.0) -> Iterator[_Tensor]:
    yield _Tensor(name + ".weight", (width,), 0.0, mean=mean)
    if biased:
        yield _Tensor(name + ".bias", (width,), 0.0)


def _scripted(tokenizer: Any, script: str, shape: _Shape, seed: int, *, loops: bool) -> dict[str, NDArray[np.float32]]:
    """Weights with which token k of the script is followed by token k + 1: token k is embedded as the k-th unit vector,
    attention adds nothing, and the first feed-forward network adds the unit vector that comes next."""
    start: list[int] = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False).ids
    said: list[int] = tokenizer.encode(script, add_special_tokens=False).ids
    chain = [start[-1], *said] + ([] if loops else [TOKENS["<|im_end|>"]])
    if len(set(chain)) < len(chain) or len(chain) > shape.text:
        tokens = [tokenizer.decode([token], skip_special_tokens=False) for token in chain]
        raise ValueError(f"a script has at most {shape.text} tokens, none of them twice: {tokens}")
    follows = [*range(1, len(chain)), chain.index(TOKENS["<asr_text>"]) + 1][: len(chain) - (not loops)]

    exact = {
        tensor.name: np.zeros(tensor.shape, np.float32)
        for tensor in _text_tensors(shape)
        if ".o_proj." in tensor.name or ".mlp." in tensor.name
    }
    first = f"{_TEXT}layers.0.mlp."
    for here, following in enumerate(follows):
        exact[first + "gate_proj.weight"][here, here] = exact[first + "up_proj.weight"][here, here] = 1.0
        exact[first + "down_proj.weight"][following, here] = 1.0
    embeddings = next(tensor for tensor in _text_tensors(shape) if tensor.name == _EMBEDDINGS)
    embedded = np.concatenate(list(_drawn(embeddings, seed))).reshape(embeddings.shape)
    embedded[:, : len(chain)] = 0.0
    embedded[chain] = np.eye(len(chain), shape.text, dtype=np.float32)
    exact[_EMBEDDINGS] = embedded
    exact[_TEXT + "norm.weight"] = np.full(shape.text, 2.0, np.float32)  # 98 % sure of each token; with 1, 2 %
    return exact


def _drawn(tensor: _Tensor, seed: int) -> Iterator[NDArray[np.float32]]:
    """Flat chunks, which depend on the seed and the name alone."""
    random = np.random.default_rng([seed, zlib.crc32((tensor.source or tensor.name).encode())])
    count = int(np.prod(tensor.shape))
    for start in range(0, count, _CHUNK):
        length = min(_CHUNK, count - start)
        if tensor.deviation:
            yield random.standard_normal(length, np.float32) * np.float32(tensor.deviation)
        else:
            yield np.full(length, tensor.mean, np.float32)


def _write_weights(
    folder: Path, tensors: list[_Tensor], layout: Layout, exact: dict[str, NDArray[np.float32]], seed: int, files: int
) -> None:
    """safetensors files, with an index where there are several."""
    index: dict[str, str] = {}
    for number in range(files):
        part = tensors[len(tensors) * number // files : len(tensors) * (number + 1) // files]
        names = [tensor.name if layout == "original" else hf_name(tensor.name) for tensor in part]
        file = "model.safetensors" if files == 1 else f"model-{number + 1:05}-of-{files:05}.safetensors"
        index |= dict.fromkeys(names, file)
        with (folder / file).open("wb") as stream:
            stream.write(_header(names, part))
            for tensor in part:
                known = exact.get(tensor.source or tensor.name)
                for chunk in _drawn(tensor, seed) if known is None else [known.ravel()]:
                    (chunk.view(np.uint32) >> 16).astype(np.uint16).tofile(stream)  # bfloat16: the upper half
    if files > 1:
        _write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})


def _header(names: list[str], tensors: list[_Tensor]) -> bytes:
    """What a safetensors file begins with: the length of a JSON object, and the object: where which weights are."""
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in zip(names, tensors, strict=True):
        start, end = end, end + 2 * int(np.prod(tensor.shape))
        described[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": (start, end)}
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=("scripted", "random", "aligner"), default="scripted")
    parser.add_argument("--size", choices=tuple(_SHAPES), default="tiny")
    parser.add_argument("--layout", choices=("original", "hf"), default="original")
    parser.add_argument("--script", default=SCRIPT)
    parser.add_argument("--loops", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--classify-num", type=int, default=5000)
    print(make(**vars(parser.parse_args())))


if __name__ == "__main__":
    _main()
