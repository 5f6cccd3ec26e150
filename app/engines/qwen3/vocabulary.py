"""What the tokens of a Qwen3-ASR checkpoint stand for: a byte-level BPE vocabulary and the tokens added to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import cast

from app.domain.errors import EngineFailure
from app.engines.folders import read_object

ASR_TEXT = "<asr_text>"
"""Stands between the language's name and the text."""
TIMESTAMP = "<timestamp>"
"""Where the aligner tells a time."""
_ENDS = ("<|im_end|>", "<|endoftext|>")
_CONTROL = frozenset({ASR_TEXT, TIMESTAMP})
"""Not marked special in the files, and no text either."""


def _byte_alphabet() -> dict[str, int]:
    """The byte each character of GPT-2's alphabet stands for: visible Latin-1 for itself, 256 and on for the rest."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + place): byte for place, byte in enumerate(hidden)}


_BYTE_OF = MappingProxyType(_byte_alphabet())


class Vocabulary:
    """Bytes of tokens by id. Immutable, so threads may share one.

    Reads vocab.json and tokenizer_config.json (the original layout) or tokenizer.json (the layout of repositories that
    end in "-hf").

    Raises:
        EngineFailure: a file is missing, broken, or not Qwen3-ASR's; the message names it.
    """

    def __init__(self, folder: Path) -> None:
        """Blocking: reads some megabytes."""
        original = (folder / "vocab.json").is_file()
        ids, added, self._file = _original(folder) if original else _converted(folder)
        self._pieces = {token: piece for piece, token in ids.items()}
        self._names = {name: token for token, (name, _) in added.items()}
        self._silent = frozenset(token for token, (name, special) in added.items() if special or name in _CONTROL)
        self._added = {token: name.encode() for token, (name, _) in added.items()}
        self.asr_text = self.id_of(ASR_TEXT)
        self.ends = frozenset(self.id_of(name) for name in _ENDS)

    def id_of(self, name: str) -> int:
        """The id of an added token, such as "<timestamp>".

        Raises:
            EngineFailure: the vocabulary has no such token.
        """
        if name not in self._names:
            raise EngineFailure(f"{self._file} has no {name}: not a Qwen3-ASR vocabulary.")
        return self._names[name]

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes of one token, which may be a part of a character; b"" for one that is no text."""
        if token in self._silent:
            return b""
        if token in self._added:
            return self._added[token]
        return bytes(_BYTE_OF[character] for character in self._pieces.get(token, "") if character in _BYTE_OF)


_Added = dict[int, tuple[str, bool]]
"""Added tokens by id: the name, and whether it is marked special."""


def _original(folder: Path) -> tuple[dict[str, int], _Added, str]:
    file = "tokenizer_config.json"
    ids = _ids(read_object(folder / "vocab.json"), "vocab.json")
    listed = _mapping(read_object(folder / file).get("added_tokens_decoder"), file, "added_tokens_decoder")
    try:
        described = [(int(token), entry) for token, entry in listed.items()]
    except ValueError:
        raise EngineFailure(f"{file} lists an added token under something that is not a number.") from None
    return ids, _added(described, file), file


def _converted(folder: Path) -> tuple[dict[str, int], _Added, str]:
    file = "tokenizer.json"
    if not (folder / file).is_file():
        raise EngineFailure("vocab.json and tokenizer.json are missing: one of them is needed.")
    described = read_object(folder / file)
    ids = _ids(_mapping(_mapping(described.get("model"), file, "model").get("vocab"), file, "vocab"), file)
    listed = described.get("added_tokens")
    entries = cast("Sequence[object]", listed) if isinstance(listed, list) else ()
    numbered = [(_mapping(entry, file, "for an added token").get("id"), entry) for entry in entries]
    return ids, _added(numbered, file), file


def _mapping(said: object, file: str, name: str) -> Mapping[str, object]:
    if not isinstance(said, dict):
        raise EngineFailure(f"{file} has no mapping {name}.")
    return cast("Mapping[str, object]", said)


def _ids(said: Mapping[str, object], file: str) -> dict[str, int]:
    if not said or not all(isinstance(token, int) for token in said.values()):
        raise EngineFailure(f"{file} is not a vocabulary: tokens and their ids.")
    return cast("dict[str, int]", said)


def _added(entries: Sequence[tuple[object, object]], file: str) -> _Added:
    added: _Added = {}
    for token, entry in entries:
        described = _mapping(entry, file, "for an added token")
        name = described.get("content")
        if not isinstance(token, int) or not isinstance(name, str):
            raise EngineFailure(f"{file} describes an added token without an id or content.")
        added[token] = (name, described.get("special") is True)
    return added
