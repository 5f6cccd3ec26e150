"""Marks for text that is still being spoken: FunASR's CT-Transformer with VAD masks. For live sessions, which hand over
words as they are heard and keep the unfinished sentence themselves.

The same marks as FunASR's `CTTransformerStreaming.inference` gives the same words in the same portions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.live_engines import Held, Marked
from app.engines.ct_punc.files import LIVE, read_files
from app.engines.ct_punc.punctuator import LONG, best_marks, feed_of, last_end, marks_of, open_graph
from app.engines.ct_punc.segmenting import Characters

if TYPE_CHECKING:
    from app.engines.ct_punc.punctuator import Feed

_VAD, _SUB = "vad_masks", "sub_masks"
_LONGEST = 400
"""Tokens after which an unfinished sentence without a comma is final, but for the last `LONG`: it is gone through again
with every call."""


class LivePunctuator:
    """Thread-safe, one thread a call; keeps no state between calls.

    Raises:
        EngineFailure: the folder does not hold the model.
    """

    languages = frozenset({"zh", "en"})

    def __init__(self, model_id: str, folder: Path) -> None:
        self.id = model_id
        self._files = read_files(folder, LIVE)
        self._session = open_graph(folder, self._files, partial(_feed, pause=1))
        self._segmenter = Characters()

    def marks(self, words: Sequence[str], held: Held) -> Marked:
        """The marks of the words that `held` has and of new `words`, between which the speaker paused. Blocking.

        `words` are single characters of languages written without spaces, whole words of others. No end is forced: the
        last word has whatever mark is likeliest so far, which is never final.

        Raises:
            EngineFailure: the model failed.
        """
        looked_up = [*held.words, *self._looked_up(words)]
        ids = [token for word in looked_up for token in word]
        scored = partial(self._scored, pause=sum(map(len, held.words)))
        marks = marks_of(ids, scored, self._files.sentence_end)
        cut = last_end(marks) or (len(marks) - LONG if len(marks) > _LONGEST else 0)
        ends = list(accumulate(map(len, looked_up)))
        final = sum(end <= cut for end in ends)
        going_on = [word[max(0, len(word) + cut - end) :] for word, end in zip(looked_up, ends, strict=True)]
        return Marked(
            tuple(marks[end - 1] if word else "" for word, end in zip(looked_up, ends, strict=True)),
            final,
            Held(tuple(going_on[final:])),
        )

    def _looked_up(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of each word's tokens."""
        ids, unknown = self._files.ids, self._files.unknown
        return [tuple(ids.get(token.text, unknown) for token in self._segmenter.tokens([word])) for word in words]

    def _scored(self, ids: list[int], pause: int) -> list[str]:
        return best_marks(self._session, _feed(ids, pause), self._files.marks)


def _feed(ids: list[int], pause: int) -> Feed:
    """The graph's inputs. Layers look back only, but for the last, in which tokens look ahead, too, though not beyond a
    `pause`: those before it, save the last one, do not see those behind it.

    As in FunASR, `pause` counts from the first of `ids`, also after a sentence that ended within the same call.
    """
    size = len(ids)
    vad = np.ones((1, 1, size, size), dtype=np.float32)
    if 0 < pause < size:
        vad[..., : pause - 1, pause:] = 0
    return {**feed_of(ids), _VAD: vad, _SUB: np.tril(np.ones((1, 1, size, size), dtype=np.float32))}
