"""What Qwen3-ASR and its aligner are told: turns of a chat with the caller's context, the sound, and how to answer."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.domain.hotwords import Hotword
from app.domain.options import RecognitionOptions
from app.engines.qwen3.languages import model_name
from app.engines.qwen3.vocabulary import ASR_TEXT, TIMESTAMP

CONTEXT_TOKENS = 1000
"""Room for the caller's context, in estimated tokens."""
_SOUND = "<|audio_start|><|audio_pad|><|audio_end|>"
_CONTROL = re.compile(
    r"<(?:\|[^<>|]*\||/?(?:asr_text|timestamp|think|tool_call|tool_response)|non_speech|tts_\w+|blank\d+)>"
)
"""What is or could be one of the vocabulary's added tokens."""
_WIDE = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's text, with one place for the sound; `warnings` name what a reader should know."""

    text: str
    warnings: tuple[str, ...] = ()


def recognition_prompt(options: RecognitionOptions, *, language: str | None = None, prefix: str = "") -> Prompt:
    """The prompt for one piece.

    `language` is the model's name of the language to hear, in place of the options' own; `prefix` is text the answer
    goes on from, which needs a language before it (ValueError).
    """
    name = language or (model_name(options.language) if options.language else None)
    if prefix and name is None:
        raise ValueError("an answer can go on from a text only in a known language")
    context, cut = _context(options)
    head = f"language {name}{ASR_TEXT}{harmless(prefix)}" if name else ""
    text = (
        f"<|im_start|>system\n{context}<|im_end|>\n<|im_start|>user\n{_SOUND}<|im_end|>\n<|im_start|>assistant\n{head}"
    )
    return Prompt(text, ("prompt_truncated",) if cut else ())


def alignment_prompt(units: Iterable[str]) -> str:
    """What the aligner is asked: the sound, and two times for each unit. Units are letters and digits only."""
    return _SOUND + "".join(unit + TIMESTAMP * 2 for unit in units)


def harmless(text: str) -> str:
    """Text without anything that the tokenizer would take for more than text, nor what would become it by that."""
    kept: list[str] = []
    opened: list[int] = []
    for character in text.encode(errors="ignore").decode():
        kept.append(character)
        if character == "<":
            opened.append(len(kept) - 1)
        elif character == ">" and opened:
            if _CONTROL.fullmatch("".join(kept[opened[-1] :])):
                del kept[opened.pop() :]
            else:
                opened.clear()  # none of what is open can end after this
    return "".join(kept)


def estimated_tokens(text: str) -> float:
    """About how many tokens a text takes, rather too many: 1 to 3 times as many as Qwen's tokenizer finds in
    sentences of a dozen languages and lists of names, 0.65 times in letters that make no words, never under a third."""
    return sum(map(_cost, text))


def _cost(character: str) -> float:
    if character.isascii():
        return 1 / 3 if character.isalpha() or character.isspace() else 1.0
    return 1.2 if _WIDE.match(character) else len(character.encode()) / 2


def _context(options: RecognitionOptions) -> tuple[str, bool]:
    """Hotwords, heaviest first, and the prompt; whether something did not fit: the last hotwords, or the prompt's
    beginning, since its end is nearest to what is said."""
    terms, left_out = _fitting(options.hotwords)
    room = CONTEXT_TOKENS - estimated_tokens(terms + "\n" if terms else "")
    prompt = harmless(options.prompt).strip()
    kept = _end(prompt, room)
    return "\n".join(part for part in (terms, kept) if part), left_out or len(kept) < len(prompt)


def _fitting(hotwords: Sequence[Hotword]) -> tuple[str, bool]:
    """As many hotwords as fit, as a list that reads as written; whether some did not. There may be thousands."""
    heaviest = heapq.nlargest(CONTEXT_TOKENS, hotwords, key=lambda one: one.weight)
    terms = dict.fromkeys(term for one in heaviest if (term := " ".join(harmless(one.text).split())))
    listed = ""
    room = float(CONTEXT_TOKENS)
    for term in terms:
        more = (_comma(listed) if listed else "") + term
        room -= estimated_tokens(more)
        if room < 2:  # for the full stop
            return listed + _stop(listed), True
        listed += more
    return listed + _stop(listed), len(heaviest) < len(hotwords)


def _end(text: str, room: float) -> str:
    """The end of a text that takes no more than `room` tokens, from the beginning of a word on."""
    for place in range(len(text) - 1, -1, -1):
        room -= _cost(text[place])
        if room < 0:
            end = text[place + 1 :]
            word = re.search(r"\s", end)
            inside = text[place].isascii() and text[place].isalnum() and end[:1].isascii() and end[:1].isalnum()
            return end[word.end() :] if inside and word else end.lstrip()
    return text


def _comma(before: str) -> str:
    return "、" if _WIDE.match(before[-1]) else ", "


def _stop(before: str) -> str:
    return ("。" if _WIDE.match(before[-1]) else ".") if before else ""
