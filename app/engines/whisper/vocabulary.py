"""Whisper's tokens: the special ones by meaning, prompts, and how tokens make words."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from tokenizers import Tokenizer

from app.domain.errors import EngineFailure
from app.domain.options import Task

_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages written without spaces: every character is a word."""
_OPENING = frozenset("“‘¿¡([{「『《〈（【")
_OPENING_AFTER_SPACE = frozenset("\"'-")
"""Marks that open or close: after a space they open."""
CONTEXT_TOKENS = 223
"""Room for what precedes the text: half of the decoder's 448 positions less the start token."""


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes, by character: printable Latin-1 stands for itself."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTE_OF = MappingProxyType(_byte_alphabet())


@dataclass(frozen=True, slots=True)
class TokenWord:
    """A word's text with its punctuation, and the tokens it came from (`first` is an index into the sequence)."""

    text: str
    space_before: bool
    first: int
    count: int


class Vocabulary:
    """The tokenizer and special tokens of one Whisper checkpoint. Immutable, so threads may share one.

    Raises:
        EngineFailure: the files are not a multilingual Whisper's.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._tokenizer = _tokenizer(folder / "tokenizer.json")
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError) as error:
            raise EngineFailure("tokenizer.json or config.json is missing or broken") from error
        self.start = self._special("<|startoftranscript|>")
        self.end = self._special("<|endoftext|>")
        self._previous = self._special("<|startofprev|>")
        self._no_timestamps = self._special("<|notimestamps|>")
        self._tasks = {"transcribe": self._special("<|transcribe|>"), "translate": self._special("<|translate|>")}
        self.suppressed = [-1, self.start, self._previous, *self._tasks.values(), self._special("<|startoflm|>")]
        names = [self._tokenizer.id_to_token(token) for token in config.get("lang_ids", [])]
        self._languages = {name[2:-2]: self._special(name) for name in names if name}
        if not self._languages:
            raise EngineFailure("config.json lists no languages: not a multilingual Whisper")

    @property
    def languages(self) -> frozenset[str]:
        """ISO-639 codes the checkpoint was trained on."""
        return frozenset(self._languages)

    def start_sequence(self, language: str, task: Task) -> list[int]:
        """The decoder's first tokens: start, language, task."""
        return [self.start, self._languages[language], self._tasks[task]]

    def context(self, prompt: str, hotwords: Sequence[str]) -> tuple[list[int], bool]:
        """Tokens that precede the start, and whether some of `prompt` had to be left out.

        Hotwords come first, as many whole ones as fit, and the end of the prompt last, nearest to the speech; the
        prompt's beginning gives way.
        """
        terms = self._fitting(hotwords)
        text = self._encode(" " + prompt.strip()) if prompt.strip() else []
        if not terms and not text:
            return [], False
        room = CONTEXT_TOKENS - len(terms)
        text_kept = text[-room:] if room else []
        return [self._previous, *terms, *text_kept], len(text_kept) < len(text)

    def _fitting(self, hotwords: Sequence[str]) -> list[int]:
        """Tokens of the first hotwords, of which there may be thousands: what does not fit is not looked at."""
        tokens: list[int] = []
        for number, term in enumerate(hotwords):
            more = self._encode((", " if number else " ") + term)
            if len(tokens) + len(more) >= CONTEXT_TOKENS:
                break
            tokens += more
        return [*tokens, *self._encode(".")][:CONTEXT_TOKENS] if tokens else []

    def prompt(self, context: Sequence[int], language: str, task: Task) -> list[int]:
        """All tokens before the first one to be decoded."""
        return [*context, *self.start_sequence(language, task), self._no_timestamps]

    def text_tokens(self, tokens: Sequence[int]) -> list[int]:
        """Only the tokens that are text."""
        return [token for token in tokens if token < self.end]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; bytes that end inside a character become U+FFFD."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True)

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes of one token, which may be a part of a character."""
        return bytes(_BYTE_OF[char] for char in self._tokenizer.id_to_token(token) or "")

    def words(self, tokens: Sequence[int], language: str) -> list[TokenWord]:
        """Words of a text-token sequence: at spaces, or every character in languages written without them."""
        units = self._units(tokens)
        merged: list[TokenWord] = []
        for unit in units:
            begins = not merged or unit.space_before or (language in _UNSPACED and _stands_alone(merged[-1], unit))
            merged[len(merged) if begins else -1 :] = [unit if begins else _joined(merged[-1], unit)]
        return _attach_punctuation(merged)

    def _units(self, tokens: Sequence[int]) -> list[TokenWord]:
        """The shortest runs of tokens that decode to whole characters; blank tokens belong to what follows them."""
        units: list[TokenWord] = []
        first = 0
        for index in range(len(tokens)):
            text = self.decode(tokens[first : index + 1])
            stripped = text.strip()
            if ("\ufffd" in text or not stripped) and index + 1 < len(tokens):
                continue  # the character goes on in the next token, or none has come yet
            if stripped:
                units.append(TokenWord(stripped, text.startswith(" "), first, index + 1 - first))
            elif units:
                units[-1] = replace(units[-1], count=len(tokens) - units[-1].first)
            first = index + 1
        return units

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _special(self, name: str) -> int:
        token = self._tokenizer.token_to_id(name)
        if token is None:
            raise EngineFailure(f"tokenizer.json has no {name}: not a Whisper vocabulary")
        return int(token)


def _tokenizer(path: Path) -> Tokenizer:
    """The tokenizer, with the merge that published files lack.

    Their list of merges was read from a text file whose first line was taken for a comment; without it every word that
    begins with a t is taken apart in prompts ("Ġ", "the" instead of "Ġthe").
    """
    described = json.loads(path.read_text(encoding="utf-8"))
    model = described["model"]
    merges = model["merges"]
    first = "Ġ t" if merges and isinstance(merges[0], str) else ["Ġ", "t"]
    if "Ġt" in model["vocab"] and first not in merges[:1]:
        merges.insert(0, first)
    return Tokenizer.from_str(json.dumps(described))


def _stands_alone(last: TokenWord, unit: TokenWord) -> bool:
    """In an unspaced language, whether `unit` begins a word of its own: unless both are Latin letters or digits."""
    return not (
        last.text[-1].isascii() and last.text[-1].isalnum() and unit.text[0].isascii() and unit.text[0].isalnum()
    )


def _is_punctuation(text: str) -> bool:
    return all(unicodedata.category(char)[0] in "PS" for char in text)


def _attach_punctuation(words: list[TokenWord]) -> list[TokenWord]:
    """Opening marks join the word after them, all others the word before."""
    attached: list[TokenWord] = []
    opening: TokenWord | None = None
    for word in words:
        if _is_punctuation(word.text):
            if word.text[-1] in _OPENING or (word.space_before and word.text[-1] in _OPENING_AFTER_SPACE):
                opening = word if opening is None else _joined(opening, word)
                continue
            if attached and opening is None:
                attached[-1] = _joined(attached[-1], word)
                continue
        attached.append(word if opening is None else _joined(opening, word))
        opening = None
    if opening is not None:
        attached.append(opening)
    return attached


def _joined(first: TokenWord, second: TokenWord) -> TokenWord:
    space = " " if second.space_before else ""
    return TokenWord(first.text + space + second.text, first.space_before, first.first, first.count + second.count)
