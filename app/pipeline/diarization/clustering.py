"""Whose voice is whose: embeddings of a whole recording to speakers, in bounded memory.

Windows of ten minutes or so are clustered by themselves (average linkage on cosine similarity), and their centroids
are merged over the whole recording while they are alike. Hours of speech so cost no more memory than minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Labels = NDArray[np.int64]

BLOCK = 300
"""Embeddings clustered at once: about ten minutes of speech."""
ALIKE = 0.45
"""Average similarity down to which embeddings are one voice."""
SAME = 0.55
"""Similarity of two centroids from which they are one voice. Centroids are less noisy than what they are made of."""
FIRM_SECONDS = 1.0
"""An embedding of less sound says too little to make a speaker of."""
LEAST_SECONDS = 3.0
"""A voice heard for less is taken for one of the others, unless it is unlike all of them."""
MOST_CLUSTERS = 300
"""Clusters that are merged over the whole recording: those heard longest. Merging takes their number squared in memory;
what is left out is given to the voice it is most like."""
STRANGER, UNLIKE = 0.25, 0.35
"""Similarity below which even a voice heard once is somebody else, and one heard for UNLIKE_SECONDS."""
UNLIKE_SECONDS = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """The speakers of a recording: unit-length `centroids`, float32 of shape (speakers, size); `seconds` of each."""

    centroids: Floats
    seconds: Floats

    def __len__(self) -> int:
        return len(self.centroids)


def find_voices(
    embeddings: Floats, seconds: Floats, *, count: int | None = None, least: int = 1, most: int | None = None
) -> Voices:
    """The voices in `embeddings` (n, size), each made from `seconds` (n,) of sound, in order of time.

    `count` voices, where there is sound enough for them; otherwise from `least` to `most`, as the sound tells.
    """
    firm = np.flatnonzero(seconds >= FIRM_SECONDS)
    if len(firm) < max(count or least, 1):
        firm = np.arange(len(embeddings))
    embeddings, seconds = embeddings[firm], seconds[firm]
    if count is not None:
        least = most = count
    parts = [
        grouped(embeddings[first : first + BLOCK], seconds[first : first + BLOCK], least)
        for first in range(0, len(embeddings), BLOCK)
    ]
    sums = np.concatenate([part[0] for part in parts])
    lengths = np.concatenate([part[1] for part in parts])
    return _merged(sums, lengths, least, most)


def grouped(embeddings: Floats, seconds: Floats, least: int = 1) -> tuple[Floats, Floats]:
    """Clusters of one block, at least `least` of them if there are so many embeddings: the sum of each one's
    embeddings, each times its seconds, and its seconds."""
    labels = _clustered(embeddings, least)
    number = int(labels.max()) + 1
    sums = np.zeros((number, embeddings.shape[1]), np.float32)
    lengths = np.zeros(number, np.float32)
    np.add.at(sums, labels, embeddings * seconds[:, None])
    np.add.at(lengths, labels, seconds)
    return sums, lengths


def _clustered(embeddings: Floats, least: int) -> Labels:
    """A cluster's number for each embedding; at least `least` of them, if there are so many embeddings."""
    if len(embeddings) == 1:
        return np.zeros(1, np.int64)
    tree = linkage(embeddings, method="average", metric="cosine")
    labels = np.asarray(fcluster(tree, 1 - ALIKE, criterion="distance"), np.int64) - 1
    if labels.max() + 1 < least:
        labels = np.asarray(fcluster(tree, least, criterion="maxclust"), np.int64) - 1
    return labels


def _merged(sums: Floats, lengths: Floats, least: int, most: int | None) -> Voices:
    """Merge the most alike until none are, or there are few enough."""
    heaviest = np.sort(np.argsort(-lengths, kind="stable")[: max(MOST_CLUSTERS, least)])
    sums, lengths = sums[heaviest], lengths[heaviest]
    while len(sums) > max(least, 1):
        centroids = unit(sums)
        alike = centroids @ centroids.T
        np.fill_diagonal(alike, -2.0)
        one, other = divmod(int(alike.argmax()), len(sums))
        if alike[one, other] < SAME and (most is None or len(sums) <= most):
            small = _dissolving(alike, lengths)
            if small is None:
                break
            one, other = int(alike[small].argmax()), small
        sums[one] += sums[other]
        lengths[one] += lengths[other]
        sums, lengths = np.delete(sums, other, axis=0), np.delete(lengths, other)
    return Voices(unit(sums), lengths)


def _dissolving(alike: Floats, lengths: Floats) -> int | None:
    """The shortest voice that is too short to be one and not unlike all others; None if there is none."""
    for small in np.argsort(lengths, kind="stable").tolist():
        if lengths[small] >= LEAST_SECONDS:
            return None
        unlike = UNLIKE if lengths[small] >= UNLIKE_SECONDS else STRANGER
        if alike[small].max() >= unlike:
            return small
    return None


def unit(vectors: Floats) -> Floats:
    """Rows (n, size) scaled to a length of 1; zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-9))
