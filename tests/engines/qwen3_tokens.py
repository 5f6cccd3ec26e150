"""A small vocabulary in Qwen3-ASR's layouts: a byte-level BPE of a few sentences, with the tokens added to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

TEXTS = [
    "language English Chinese Cantonese Macedonian None",
    "Hello, world! It's fine. The quick brown fox jumps over the lazy dog. no no no ha ha ha",
    "欢迎大家来体验语音识别。哈哈哈哈你好世界",
    "こんにちは、カタカナ。안녕하세요 Привет, мир สวัสดี",
] * 3
ADDED = {
    "<|endoftext|>": True,
    "<|im_start|>": True,
    "<|im_end|>": True,
    "<|audio_pad|>": True,
    "<think>": False,
    "<asr_text>": False,
    "<timestamp>": False,
}
"""Names of added tokens, and whether they are marked special."""


@dataclass(frozen=True)
class Small:
    """The vocabulary as a tokenizer, and its files."""

    tokenizer: Tokenizer

    @cached_property
    def ids(self) -> dict[str, int]:
        """Ids of the added tokens by name."""
        return {name: self.tokenizer.get_vocab_size() + place for place, name in enumerate(ADDED)}

    @cached_property
    def single(self) -> dict[int, int]:
        """The token of each byte."""
        alphabet = _characters()
        return {byte: self.tokenizer.token_to_id(alphabet[byte]) for byte in range(256)}

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, added ones where they are named."""
        for name, token in self.ids.items():
            if name in text:
                before, _, after = text.partition(name)
                return [*self.encode(before), token, *self.encode(after)]
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def spell(self, utf8: bytes) -> list[int]:
        """Tokens of a byte each."""
        return [self.single[byte] for byte in utf8]

    def write(self, folder: Path, *, hf: bool = False) -> Path:
        """The files of one layout."""
        folder.mkdir(parents=True, exist_ok=True)
        vocab = self.tokenizer.get_vocab()
        added = [{"id": self.ids[name], "content": name, "special": special} for name, special in ADDED.items()]
        if hf:
            described = {"model": {"type": "BPE", "vocab": vocab, "merges": []}, "added_tokens": added}
            (folder / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
        else:
            (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
            decoder = {str(entry.pop("id")): entry for entry in added}
            config = {"added_tokens_decoder": decoder}
            (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return folder


def small(texts: Sequence[str] = TEXTS) -> Small:
    """Trained on some texts; every byte is a token, too."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, min_frequency=2, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    return Small(tokenizer)


def _characters() -> list[str]:
    """The stand-in of each byte, as the tokenizers package writes it."""
    standing = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    found: dict[int, str] = {}
    for code in (
        *range(0x80),
        *range(0x80, 0x800, 0x3F),
        *range(0x800, 0xD800, 0x11),
        *range(0x10000, 0x110000, 0xFFF),
    ):
        written = standing.pre_tokenize_str(chr(code))[0][0]
        found.update(zip(chr(code).encode(), written, strict=True))
    missing = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(found.values()))
    for byte, character in zip(sorted(set(range(256)) - set(found)), missing, strict=True):
        found[byte] = character  # bytes that no text has; their stand-ins are in order
    return [found[byte] for byte in range(256)]
