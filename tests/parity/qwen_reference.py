"""Qwen3-ASR and its forced aligner in transformers' own hands, in float32 on the CPU, one recording at a time.

transformers has classes for the layout of the "-hf" repositories only, and reads the original one without complaint
into random weights: here its names are translated, and nothing may be missing or left over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from models.small_qwen import hf_name
from numpy.typing import NDArray

from app.domain.engines import SAMPLE_RATE

Samples = NDArray[np.float32]
"""Mono at 16 kHz, in [-1, 1]."""

_AUDIO = "<|audio_start|><|audio_pad|><|audio_end|>"
_PLACES = "<timestamp><timestamp>"
"""Where an aligner tells the start and the end of the word before."""


def tokens(folder: Path, prompt: str, samples: Samples, max_new_tokens: int) -> list[tuple[int, float]]:
    """The likeliest tokens that follow `prompt`, which has one <|audio_pad|>, and their log-probabilities."""
    import torch  # noqa: PLC0415 - in the heavy environment only

    model = _model(folder, "Qwen3ASRForConditionalGeneration")
    inputs = _inputs(folder, prompt, samples)
    with torch.inference_mode():
        said = model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=json.loads((folder / "generation_config.json").read_text("utf-8"))["eos_token_id"],
            return_dict_in_generate=True,
            output_logits=True,
        )
    new = said.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    chances = [logits[0].log_softmax(-1) for logits in said.logits]
    return [(token, float(chance[token])) for token, chance in zip(new, chances, strict=True)]


def bins(folder: Path, samples: Samples, words: Sequence[str]) -> list[int]:
    """The likeliest time bin for the start and the end of each word, as the aligner says it: in no order."""
    logits, tokens, place = _aligned(folder, samples, words)
    return logits[tokens == place].argmax(-1).tolist()


def alignment(folder: Path, samples: Samples, words: Sequence[str]) -> list[tuple[str, float, float]]:
    """Each word with its start and end in seconds, in order."""
    logits, tokens, place = _aligned(folder, samples, words)
    (aligned,) = _processor(folder).decode_forced_alignment(logits, tokens, [list(words)], place)
    return [(word["text"], word["start_time"], word["end_time"]) for word in aligned]


def _aligned(folder: Path, samples: Samples, words: Sequence[str]) -> tuple[Any, Any, int]:
    """Logits (1, tokens, bins), the tokens (1, tokens), and the one that asks for a time."""
    import torch  # noqa: PLC0415

    model = _model(folder, "Qwen3ASRForTokenClassification")
    inputs = _inputs(folder, _AUDIO + "".join(word + _PLACES for word in words), samples)
    with torch.inference_mode():
        return model(**inputs).logits, inputs["input_ids"], model.config.timestamp_token_id


def _inputs(folder: Path, prompt: str, samples: Samples) -> Any:
    return _processor(folder)(text=[prompt], audio=[samples], sampling_rate=SAMPLE_RATE, return_tensors="pt")


def _processor(folder: Path) -> Any:
    from transformers import AutoProcessor, AutoTokenizer, Qwen3ASRFeatureExtractor, Qwen3ASRProcessor  # noqa: PLC0415

    if (folder / "processor_config.json").is_file():
        return AutoProcessor.from_pretrained(folder)
    # The original layout names Whisper's features: the same numbers, not padded to whole seconds as its class needs.
    return Qwen3ASRProcessor(Qwen3ASRFeatureExtractor(), AutoTokenizer.from_pretrained(folder))


def _model(folder: Path, kind: str) -> Any:
    """The transformers class called `kind` with the checkpoint's weights, every one of them."""
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    config = json.loads((folder / "config.json").read_text("utf-8"))
    cls = getattr(transformers, kind)
    if "thinker_config" not in config:
        model, report = cls.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        assert not any(report.values()), report
        return model.eval()
    model = cls(transformers.Qwen3ASRConfig(**_translated(config["thinker_config"]))).float().eval()
    weights = _weights(folder)
    head = weights.pop("score.weight", None)  # of a recogniser: its embeddings once more
    embeddings = weights["model.language_model.embed_tokens.weight"]
    if kind == "Qwen3ASRForTokenClassification":
        weights["score.weight"] = head
    else:
        weights["lm_head.weight"] = embeddings if model.config.tie_word_embeddings else head
    model.load_state_dict(weights, strict=True)
    return model


def _translated(thinker: dict[str, Any]) -> dict[str, Any]:
    """The original configuration as Qwen3ASRConfig takes it. The three axes of the original's rotary positions are one
    where there is nothing but sound and text."""
    text = dict(thinker["text_config"]) | {"model_type": "qwen3"}
    del text["rope_scaling"]
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": text.pop("rope_theta")}
    audio = dict(thinker["audio_config"]) | {"model_type": "qwen3_asr_encoder"}
    for unknown in ("max_source_positions", "conv_chunksize"):
        audio.pop(unknown, None)
    tied = text["tie_word_embeddings"]
    config = {"text_config": text, "audio_config": audio, "tie_word_embeddings": tied}
    config |= {"audio_token_id": thinker["audio_token_id"]}
    return config if "classify_num" not in thinker else config | {"num_labels": thinker["classify_num"]}


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file  # noqa: PLC0415

    return {
        hf_name(name): weight
        for file in sorted(folder.glob("*.safetensors"))
        for name, weight in load_file(file).items()
    }
