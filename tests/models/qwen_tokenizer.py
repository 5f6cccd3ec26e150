"""A small tokenizer in Qwen3-ASR's files: byte pairs of few words, and the steering tokens by published numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_FIRST_SPECIAL = 151_643
_SPECIAL: tuple[str, ...] = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>"),
    *("<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>"),
    *("</tool_response>", "<think>", "</think>", "<|audio_start|>", "<|audio_end|>", "<tts_pad>"),
    *("<tts_text_bos>", "<tts_text_eod>", "<tts_text_bos_single>", "<non_speech>", "<|audio_pad|>"),
    *(f"<blank{number}>" for number in range(1, 28)),
    *("<asr_text>", "<timestamp>"),
)
TOKENS = {token: _FIRST_SPECIAL + number for number, token in enumerate(_SPECIAL)}
"""<|audio_pad|> is 151676, <asr_text> 151704, <timestamp> 151705."""
_WRITTEN = re.compile(r"</?(tool_|think>|\|fim_|\|repo_|\|file_|asr_text|timestamp)")
"""Those that are written out where special tokens are skipped."""
_WORD = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""What Qwen's tokenizers call a word: pairs are merged within it."""
LANGUAGES: tuple[str, ...] = (
    *("Chinese", "English", "Cantonese", "Arabic", "German", "French", "Spanish", "Portuguese", "Indonesian"),
    *("Italian", "Korean", "Russian", "Thai", "Vietnamese", "Japanese", "Turkish", "Hindi", "Malay", "Dutch"),
    *("Swedish", "Danish", "Finnish", "Polish", "Czech", "Filipino", "Persian", "Greek", "Romanian"),
    *("Hungarian", "Macedonian"),
)

Merges = list[tuple[str, str]]


def write_tokenizer(folder: Path, text: str, *, whole: bool) -> Any:
    """Each word of `text` becomes a token, each two characters of its Chinese another; other text is spelled in bytes.

    Writes tokenizer.json if `whole`, else vocab.json and merges.txt. Returns the `tokenizers.Tokenizer`.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - not needed to import this module

    vocabulary, merges = _train(text)
    taken = set(vocabulary.values())
    vocabulary |= {f"Ġunused{number}": number for number in range(_FIRST_SPECIAL) if number not in taken}
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = {
        number: {"content": token, "special": not _WRITTEN.match(token)} | plain for token, number in TOKENS.items()
    }
    model = json.dumps(_described(vocabulary, merges, added), ensure_ascii=False)
    if whole:
        (folder / "tokenizer.json").write_text(model, "utf-8")
    else:
        (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), "utf-8")
    _write_settings(folder / "tokenizer_config.json", added)
    return Tokenizer.from_str(model)


def _train(text: str) -> tuple[dict[str, int], Merges]:
    """The vocabulary without the tokens that steer, and its merges, the first of which come first."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers  # noqa: PLC0415

    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(_WORD), "isolated")
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, in_bytes])
    parts = [part for piece in re.split(r"<\w+>", text) for part in re.findall(r"[一-鿿]{1,2}|[^一-鿿]+", piece)]
    parts += ["system\nuser\nassistant\nlanguage None", *(f"language {name}" for name in LANGUAGES)]
    characters = [letter for part in parts for letter in part if letter > "\x7f"]
    trainer = trainers.BpeTrainer(
        vocab_size=4000, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    tokenizer.train_from_iterator([*characters * 100, *parts], trainer)  # what is frequent is merged first
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(first, second) for first, second in model["merges"]]


def _described(vocabulary: dict[str, int], merges: Merges, added: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What is in tokenizer.json."""
    in_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    words = {"type": "Split", "pattern": {"Regex": _WORD}, "behavior": "Isolated", "invert": False}
    pairs = {"type": "BPE", "vocab": vocabulary, "merges": merges, "dropout": None, "unk_token": None}
    pairs |= dict.fromkeys(("continuing_subword_prefix", "end_of_word_suffix"), "")
    pairs |= dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number} | token for number, token in added.items()],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [words, in_bytes]},
        "post_processor": in_bytes,
        "decoder": in_bytes,
        "model": pairs,
    }


def _write_settings(path: Path, added: dict[int, dict[str, Any]]) -> None:
    audio = {
        "audio_token": "<|audio_pad|>",
        "audio_bos_token": "<|audio_start|>",
        "audio_eos_token": "<|audio_end|>",
    }
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "processor_class": "Qwen3ASRProcessor",
        "model_max_length": 131_072,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "bos_token": None,
        "unk_token": None,
        "errors": "replace",
        "additional_special_tokens": [token["content"] for token in added.values() if token["special"]],
        "extra_special_tokens": audio,
        "added_tokens_decoder": {str(number): token for number, token in added.items()},
        **dict.fromkeys(("add_prefix_space", "add_bos_token", "split_special_tokens"), False),
        "clean_up_tokenization_spaces": False,
        **audio,
    }
    path.write_text(json.dumps(settings, ensure_ascii=False, indent=1), "utf-8")
