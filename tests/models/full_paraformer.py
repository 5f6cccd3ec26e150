"""Recipes of Paraformer checkpoints with seeded random weights in FunASR's layout: full size, which takes the time and
memory that the published ones take, and a small SeACo, which computes what the published one computes.

    .venv-models/bin/python -m tests.models.full_paraformer [FOLDER]

makes the full-size ones and exports them (models/.bench unless told otherwise; a minute, 6 GB of memory, once). Needs
torch and FunASR, and the published vocabulary and normalisation (../shared/models/paraformer-large).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from app.modelstore.exporting import export

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "models" / ".bench"
PUBLISHED = ROOT.parent / "shared" / "models" / "paraformer-large"

TOKENS_A_SECOND = 4.0
"""As many as people say; how many the predictor counts decides how much the decoder has to do."""
_FRAMES_A_SECOND = 1 / 0.06

_PUNCTUATION: dict[str, Any] = {
    "model": "CTTransformer",
    "model_conf": {
        "ignore_id": 0,
        "embed_unit": 256,
        "att_unit": 256,
        "dropout_rate": 0.1,
        "punc_list": ["<unk>", "_", "，", "。", "？", "、"],
        "sentence_end_id": 3,
    },
    "encoder": "SANMEncoder",
    "encoder_conf": {
        "input_size": 256,
        "output_size": 256,
        "attention_heads": 8,
        "linear_units": 1024,
        "num_blocks": 4,
        "input_layer": "pe",
        "pos_enc_class": "SinusoidalPositionEncoder",
        "normalize_before": True,
        "kernel_size": 11,
        "sanm_shfit": 0,
        "selfattention_layer_type": "sanm",
        "padding_idx": 0,
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>"},
}
"""The published zh-cn model: its sizes are the defaults of ports of its weights (256, 8 heads, 1024, 4 blocks)."""
_PUNCTUATION_WORDS = 272_727
"""Words in its vocabulary, as its name says."""

_NO_BIAS = 8377
"""The token by which SeACo says "no hotword here"."""
_SMALL = 64
_SEACO: dict[str, Any] = {
    "model": "SeacoParaformer",
    "model_conf": {"inner_dim": _SMALL, "bias_encoder_type": "lstm", "bias_encoder_bid": False, "NO_BIAS": _NO_BIAS},
    "seaco_decoder": "ParaformerSANMDecoder",
    "seaco_decoder_conf": {
        "attention_heads": 4,
        "linear_units": 2 * _SMALL,
        "num_blocks": 6,
        "att_layer_num": 6,
        "kernel_size": 21,
        "sanm_shfit": 0,
        "use_output_layer": False,
        "wo_input_layer": True,
    },
}


def make_paraformer(folder: Path, published: Path = PUBLISHED) -> Path:
    """Paraformer-large (220 M parameters) as `published` configures it: 50 encoder and 16 decoder blocks of 512."""
    config: dict[str, Any] = yaml.safe_load((published / "config.yaml").read_text("utf-8"))
    for name in ("config.yaml", "configuration.json", "tokens.json", "seg_dict", "am.mvn"):
        _copy(published / name, folder)
    _save_weights(folder, config, _talkative)
    return folder


def make_punctuation(folder: Path) -> Path:
    """A CT-Transformer of the published size. Its vocabulary is made up, but for Chinese characters and letters."""
    characters = [chr(number) for number in range(0x4E00, 0xA000)]
    words = ["<unk>", *characters, *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"word{number}" for number in range(_PUNCTUATION_WORDS - len(words))]
    _write_config(folder, _PUNCTUATION, words)
    _save_weights(folder, _PUNCTUATION, lambda _model: None)
    return folder


def make_small_seaco(folder: Path, published: Path = PUBLISHED) -> Path:
    """SeACo-Paraformer with the published vocabulary and kinds of layers, but few and narrow ones (9 MB). Every token
    of its seg_dict is spelled with itself. It writes Chinese characters only, about half of them others when hotwords
    are others."""
    return _make_small(folder, published, _bias, _SEACO)


def make_small_bicif(folder: Path, published: Path = PUBLISHED) -> Path:
    """BiCif-Paraformer: the same without hotwords."""
    return _make_small(folder, published, _write_characters, {"model": "BiCifParaformer"})


def _make_small(folder: Path, published: Path, adjust: Callable[[Any, list[int]], None], kind: dict[str, Any]) -> Path:
    large: dict[str, Any] = yaml.safe_load((published / "config.yaml").read_text("utf-8"))
    tokens = json.loads((published / "tokens.json").read_text("utf-8"))
    config = {**large, **_small(large), **kind}
    config["model_conf"] = {**large["model_conf"], **kind.get("model_conf", {})}
    _write_config(folder, config, tokens)
    _copy(published / "am.mvn", folder)
    (folder / "seg_dict").write_text("".join(f"{token} {token}\n" for token in tokens), "utf-8")

    characters = [number for number, token in enumerate(tokens) if len(token) == 1 and "\u4e00" <= token <= "\u9fff"]
    _save_weights(folder, config, lambda model: adjust(model, characters))
    return folder


def _write_characters(model: Any, characters: list[int]) -> None:
    """Nothing else is written: parts of words in a random order are no words."""
    _talkative(model)
    _allow(model.decoder.output_layer, characters)


def _allow(layer: Any, tokens: list[int]) -> None:
    written = layer.bias.data[tokens].clone()
    layer.bias.data.fill_(-100.0)
    layer.bias.data[tokens] = written


def _bias(model: Any, characters: list[int]) -> None:
    """Hotwords are heard: as they are drawn, weights are too small for which hotword it is to matter, and nearly every
    token is taken for one."""
    _write_characters(model, characters)
    _allow(model.hotword_output_layer, characters)
    for name, weight in model.named_parameters():
        if name.startswith("bias_encoder.weight"):
            weight.data.mul_(4)
        elif name.startswith("seaco_decoder") and "src_attn" in name and name.endswith("weight"):
            weight.data.mul_(2)
    model.hotword_output_layer.weight.data.mul_(2)
    model.hotword_output_layer.bias.data[_NO_BIAS] = 4.5


def _small(large: dict[str, Any]) -> dict[str, Any]:
    """The large model's configuration with few and narrow layers, and the predictor that tells times."""
    layers = {"attention_heads": 4, "linear_units": 2 * _SMALL}
    return {
        "encoder_conf": {**large["encoder_conf"], **layers, "output_size": _SMALL, "num_blocks": 3},
        "decoder_conf": {**large["decoder_conf"], **layers, "num_blocks": 2, "att_layer_num": 2},
        "predictor": "CifPredictorV3",
        "predictor_conf": {
            "idim": _SMALL,
            "threshold": 1.0,
            "l_order": 1,
            "r_order": 1,
            "tail_threshold": 0.45,
            "smooth_factor2": 0.25,
            "noise_threshold2": 0.01,
            "upsample_times": 3,
            "use_cif1_cnn": False,
            "upsample_type": "cnn_blstm",
        },
    }


def _talkative(model: Any) -> None:
    """The predictor counts TOKENS_A_SECOND, whatever it hears."""
    weight = TOKENS_A_SECOND / _FRAMES_A_SECOND
    model.predictor.cif_output.weight.data.mul_(0.1)
    model.predictor.cif_output.bias.data.fill_(float(np.log(weight / (1 - weight))))


def _save_weights(folder: Path, config: dict[str, Any], adjust: Callable[[Any], None]) -> None:
    import torch  # noqa: PLC0415 - in the heavy environment only
    from funasr.register import tables  # noqa: PLC0415

    torch.manual_seed(0)
    vocabulary = len(json.loads((folder / "tokens.json").read_text("utf-8")))
    parts = {name: value for name, value in config.items() if name not in ("model", "model_conf", "specaug")}
    parts |= dict.fromkeys(("frontend", "tokenizer"))
    model = tables.model_classes[config["model"]](
        **config["model_conf"], **parts, input_size=560, vocab_size=vocabulary
    ).eval()
    adjust(model)
    torch.save(model.state_dict(), folder / "model.pt")


def _write_config(folder: Path, config: dict[str, Any], tokens: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), "utf-8")
    (folder / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=False), "utf-8")
    files = {"init_param": "model.pt", "config": "config.yaml", "tokenizer_conf": {"token_list": "tokens.json"}}
    if "frontend" in config:
        files["tokenizer_conf"] = {"token_list": "tokens.json", "seg_dict_file": "seg_dict"}
        files["frontend_conf"] = {"cmvn_file": "am.mvn"}
    described = {"framework": "pytorch", "model": {"type": "funasr"}, "file_path_metas": files}
    (folder / "configuration.json").write_text(json.dumps(described, indent=1), "utf-8")


def _copy(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, folder / source.name)


def full_size(cache: Path = CACHE) -> dict[str, Path]:
    """The full-size models: "paraformer-large" and "ct-punc" as ONNX, and "checkpoint", Paraformer for FunASR. Made
    where they are not there yet."""
    checkpoint = _once(cache / "paraformer-large-checkpoint", make_paraformer)
    return {
        "checkpoint": checkpoint,
        "paraformer-large": _once(cache / "paraformer-large", lambda folder: _exported(checkpoint, folder)),
        "ct-punc": _once(cache / "ct-punc", _exported_punctuation),
    }


def _exported_punctuation(folder: Path) -> Path:
    with tempfile.TemporaryDirectory() as work:
        return _exported(make_punctuation(Path(work)), folder)


def _exported(checkpoint: Path, folder: Path) -> Path:
    export(checkpoint, folder, progress=lambda line: print(line, file=sys.stderr, flush=True))
    return folder


def _once(folder: Path, make: Callable[[Path], Path]) -> Path:
    """A folder that is there, or is made beside its place and moved there when it is whole."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            make(Path(work, "made")).rename(folder)
    return folder


if __name__ == "__main__":
    for name, made in full_size(Path(sys.argv[1]) if len(sys.argv) > 1 else CACHE).items():
        print(name, made)
