"""A transcript in each of the layouts that the command line writes."""

from __future__ import annotations

from typing import Literal, cast

from app.domain.errors import InvalidParameter
from app.domain.transcript import Transcript
from app.protocols import rendering
from app.protocols.labels import Language, numbered
from app.protocols.oddasr.narration import odd_label
from app.protocols.openai.wire import verbose_body

Layout = Literal["txt", "spk", "srt", "vtt", "json"]
LAYOUTS: tuple[Layout, ...] = ("txt", "spk", "srt", "vtt", "json")
TIMED = frozenset[Layout]({"spk", "srt", "vtt", "json"})
"""Layouts with times, and with a place for speakers."""


def read_layouts(said: str) -> tuple[Layout, ...]:
    """Layouts from a comma-separated list, each once.

    Raises:
        InvalidParameter: one is none of them.
    """
    names = tuple(dict.fromkeys(name.strip().lower() for name in said.split(",")))
    for name in names:
        if name not in LAYOUTS:
            raise InvalidParameter(f"--format {name}: it is none of {', '.join(LAYOUTS)}.")
    return cast("tuple[Layout, ...]", names)


def drawn(transcript: Transcript, layout: Layout, labels: Language | None, *, words: bool) -> str:
    """The transcript as text that ends in a newline; "" where nothing was said, but for layouts that always say
    something. `labels` is the language of speakers' labels (None: that of the recording), `words` gives JSON the words.
    """
    language = labels or ("zh" if transcript.language == "zh" else "en")
    match layout:
        case "txt":
            return rendering.plain_text(transcript)
        case "spk":
            return rendering.spk(transcript, odd_label(language))
        case "srt":
            return rendering.srt(transcript, numbered(labels or "en"))
        case "vtt":
            return rendering.vtt(transcript, numbered(labels or "en"))
        case "json":
            label = numbered(labels or "en")
            body = verbose_body(transcript, label, task="transcribe", words=words, logprobs=False)
            return body.model_dump_json(exclude_none=True) + "\n"
