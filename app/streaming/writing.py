"""Text that is still being spoken, as it is shown: simplified characters, and marks as far as they can be known."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from app.domain.engines import Capabilities, Hypothesis
from app.domain.live_engines import Held, LivePunctuator
from app.domain.options import RecognitionOptions
from app.pipeline.text.masking import Masker
from app.pipeline.text.writing import Writer, Writing

_UNIT = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")

_UNSURE_END = re.compile(r"(?:[^\w*)]|_)+$")


class DraftWriter:
    """Writes the guesses of one stream. `marks` is what sets marks in live text; None: there are none.

    Numbers stay words, and hotwords are not mended: that is for what is final.
    """

    def __init__(
        self,
        writing: Writing,
        options: RecognitionOptions,
        able: Capabilities,
        marks: LivePunctuator | None,
        threads: Executor,
    ) -> None:
        plain = replace(writing, punctuator=_Unfinished(marks) if marks else None, numbers=None, correctors=None)
        self._writer = Writer(plain, replace(options, hotwords=()), able)
        self._threads = threads

    async def written(self, hypothesis: Hypothesis) -> str:
        """The text of a guess.

        Raises:
            EngineFailure: the punctuation model failed.
        """
        if self._writer.quick:
            return self._writer.written(hypothesis).hypothesis.text
        loop = asyncio.get_running_loop()
        written = await loop.run_in_executor(self._threads, self._writer.written, hypothesis)
        return written.hypothesis.text


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """A Punctuator for what is not over: what follows the last word is not known yet."""

    live: LivePunctuator

    @property
    def id(self) -> str:
        return self.live.id

    @property
    def languages(self) -> frozenset[str]:
        return self.live.languages

    def marks(self, words: Sequence[str]) -> list[str]:
        return [*self.live.marks(words, Held()).marks[:-1], ""] if words else []


def masked_so_far(masker: Masker, text: str, stable: str) -> tuple[str, str]:
    """A text that is still being spoken and its stable beginning, masked. What may be the beginning of a term waits."""
    shown, kept = masker.unfinished(text), masker.unfinished(stable)
    kept = _UNSURE_END.sub("", kept)  # marks there depend on what follows
    return (shown if shown.startswith(kept) else kept), kept


def without_end(text: str, units: int) -> str:
    """All of a text but its last words (characters of languages that are written without spaces)."""
    found = list(_UNIT.finditer(text))
    return text[: found[-units].start()].rstrip() if len(found) > units else ""
