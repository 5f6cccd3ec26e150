"""How much of a card, or of a machine's memory, Qwen3-ASR and its aligner take: how many pieces at once that allows,
and what vLLM is told. Arithmetic only; nothing here asks a device.

Where the figures come from: shapes of the published configurations and of what vLLM 0.32 allocates for them. What could
not be measured without a card (contexts, graphs) is rounded up, and vLLM proves the rest when it starts: it runs the
largest batch it was promised. If that fails, `smaller` says what to try next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from app.domain.errors import EngineFailure

GIBIBYTE = 1024**3
MEBIBYTE = 1024**2

PIECE_SECONDS = 30
AUDIO_TOKENS = 390
"""Of a piece of 30 s: 13 a second."""
MAX_MODEL_LEN = 2048
"""Tokens of one piece: 390 of audio, 20 of template, at most 1,000 of context, 512 of text; an aligner's: the audio and
three for each of at most 500 words."""
USUAL_TOKENS = 1024
"""What a piece is reckoned with: 390 of audio, 150 of text, and room for context. Where more of them are long, vLLM
lets some wait."""

_CONTEXT = 768 * MEBIBYTE
"""Of one process: CUDA's context and kernels, cuBLAS's and attention's workspaces."""
_GRAPH = 24 * MEBIBYTE
"""Of one captured batch size, with and without attention in it."""
_FIRST_CONVOLUTION = 480 * 64 * 50 * 2
"""Bytes of what the encoder's first convolution makes of a second of sound: channels, bins, frames, bf16. The largest
tensor there is; it lives twice, before and behind the activation."""
_ENCODED_TOGETHER = 500
"""Seconds of sound that the convolutions take in one go (conv_chunksize); more are done one after the other."""
_TOKEN = 64 * 1024
"""Bytes of a token on its way through a layer, and of what the encoder made of it: three times the 6,144 and eight
times the 2,048 of the larger model's widths, in bf16."""
_LOGITS = 151_936 * 28
"""Bytes of the choice of one piece's next token, for each of the vocabulary: bf16 and fp32 logits, and what sampling
makes of them (sorted values and places, probabilities, sums)."""
_CLASSES = 5_000 * 10
"""Bytes of an aligner's token: bf16 and fp32 scores of its time bins, and their softmax."""
_UNEVEN = 1.2
"""Activations come in unlike sizes, and what an allocator keeps of one does not fit the next."""
_LEFT_FREE = 256 * MEBIBYTE
"""Of what is free on a card that others use, too."""

_SEQUENCES = (128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
"""The model's report shows throughput rising up to 128 pieces at once, and no more."""
_BATCHED_TOKENS = ((64, 8192), (16, 4096), (0, MAX_MODEL_LEN))
"""(from so many pieces at once, tokens a step): enough to take in new pieces beside those that are being written."""
_ALIGNED = ((32, 16), (8, 8), (0, 2))
"""(from so many pieces recognised at once, pieces aligned at once): an aligned piece is done after one step."""
_FEWEST_TOKENS = 512
"""The smallest step that holds the sound of one piece."""

_CPU_SEQUENCES = 16
"""On a CPU pieces at once save reading the weights again; beyond these each only waits longer."""
_CPU_PROCESSES = 2816 * MEBIBYTE
"""Of the three processes of a vLLM on a CPU. Measured with a model of 20 MB, what they share counted once: 2.7 GiB."""
_CPU_KV_CACHE = 4 * GIBIBYTE


@dataclass(frozen=True, slots=True)
class Weights:
    """A checkpoint's sizes in bytes: all its weights, and one token's keys and values."""

    weight_bytes: int
    kv_bytes: int
    aligns: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU: bytes in all, and bytes nobody uses."""

    total: int
    free: int

    def room(self, fraction: float) -> int:
        """Bytes that may be taken: `fraction` of the card, and never all that is free."""
        return max(0, min(int(self.total * fraction), self.free - _LEFT_FREE))


@dataclass(frozen=True, slots=True)
class Budget:
    """What one vLLM engine is told. `total_bytes` is all that its processes take, the KV cache included."""

    weights: Weights
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_cache_bytes: int
    on_cpu: bool = False
    max_model_len: int = MAX_MODEL_LEN

    @property
    def total_bytes(self) -> int:
        """Everything together."""
        return self.other_bytes + self.kv_cache_bytes

    @property
    def other_bytes(self) -> int:
        """Everything but the KV cache."""
        fixed = _CPU_PROCESSES if self.on_cpu else _CONTEXT + _graph_bytes(self.max_num_seqs)
        return self.weights.weight_bytes + fixed + self.activation_bytes

    @property
    def activation_bytes(self) -> int:
        """What one step needs at its worst: sound is encoded, then tokens go through the layers, then the next ones are
        chosen. One after the other, so the largest counts."""
        seqs, tokens = self.max_num_seqs, self.max_num_batched_tokens
        # A piece that is longer than the last full second has a second more.
        seconds = min(_ENCODED_TOGETHER, seqs * PIECE_SECONDS, tokens * PIECE_SECONDS // AUDIO_TOKENS + seqs)
        scores = tokens * _CLASSES if self.weights.aligns else seqs * _LOGITS
        return int(max(2 * seconds * _FIRST_CONVOLUTION, tokens * _TOKEN + scores) * _UNEVEN)

    def share_of(self, card: Card) -> float:
        """The part of the card that is taken. vLLM refuses to start where more than its gpu_memory_utilization is in
        use, whatever KV cache it is told to make: so it is told this, too."""
        return self.total_bytes / card.total


def gpu_budgets(
    recognizer: Weights, aligner: Weights | None, card: Card, *, fraction: float, max_sequences: int = 0
) -> tuple[Budget, Budget | None]:
    """Budgets of the recogniser and the aligner on one card: the most pieces at once that fit, 128 at most.

    `fraction` is ASR_GPU_MEMORY_FRACTION, `max_sequences` ASR_MAX_SEQUENCES (0: by the memory; else at most so many).
    The KV cache gets what is left over, up to what that many pieces of the longest kind can fill.

    Raises:
        EngineFailure: not even one piece at a time fits; the message says what is needed and what is there.
    """
    room = card.room(fraction)
    for sequences in _steps(max_sequences):
        ours = _least(recognizer, sequences, _at_least(_BATCHED_TOKENS, sequences))
        theirs = _least_aligner(aligner, sequences)
        spare = room - ours.total_bytes - (theirs.total_bytes if theirs else 0)
        if spare >= 0:
            most = sequences * MAX_MODEL_LEN * recognizer.kv_bytes
            return replace(ours, kv_cache_bytes=min(most, ours.kv_cache_bytes + spare)), theirs
    alone, beside = _least(recognizer, 1, MAX_MODEL_LEN).total_bytes, _least_aligner(aligner, 1)
    there = f"{_gib(room)} may be taken ({_gib(card.free)} of {_gib(card.total)} are free)"
    needed = alone + (beside.total_bytes if beside else 0)
    raise _refusal(needed, alone, room, f"of the GPU's memory, and {there}")


def cpu_budgets(
    recognizer: Weights, aligner: Weights | None, available: int, *, max_sequences: int = 0
) -> tuple[Budget, Budget | None]:
    """Budgets on a CPU, of `available` bytes of memory (what can be had without swapping): 16 pieces at once at most,
    unless `max_sequences` (ASR_MAX_SEQUENCES) says otherwise.

    The KV cache is a quarter of what is left beside everything else, 4 GiB at most: decoders, recordings and other
    models want the rest.

    Raises:
        EngineFailure: it does not fit; the message says what is needed and what is there.
    """
    theirs = Budget(aligner, 2, MAX_MODEL_LEN, 2 * MAX_MODEL_LEN * aligner.kv_bytes, on_cpu=True) if aligner else None
    one = Budget(recognizer, 1, MAX_MODEL_LEN, MAX_MODEL_LEN * recognizer.kv_bytes, on_cpu=True)
    needed = one.total_bytes + (theirs.total_bytes if theirs else 0)
    if needed > available:
        there = f"{_gib(available)} are available"
        raise _refusal(needed, one.total_bytes, available, f"of memory on a CPU, and {there}")
    spare = available - needed + one.kv_cache_bytes
    for sequences in _steps(max_sequences or _CPU_SEQUENCES):
        cache = min(_CPU_KV_CACHE, spare // 4, sequences * MAX_MODEL_LEN * recognizer.kv_bytes)
        ours = replace(one, max_num_seqs=sequences, kv_cache_bytes=max(one.kv_cache_bytes, cache))
        growth = ours.total_bytes - one.total_bytes
        if sequences * USUAL_TOKENS * recognizer.kv_bytes <= ours.kv_cache_bytes and needed + growth <= available:
            return ours, theirs
    return one, theirs


def smaller(budget: Budget) -> Budget | None:
    """What to start with after this budget ran out of memory: half as many pieces, half the tokens a step, half the KV
    cache, down to one piece at a time; None below."""
    longest = MAX_MODEL_LEN * budget.weights.kv_bytes
    fewest = MAX_MODEL_LEN if budget.weights.aligns else _FEWEST_TOKENS
    less = replace(
        budget,
        max_num_seqs=max(1, budget.max_num_seqs // 2),
        max_num_batched_tokens=max(fewest, budget.max_num_batched_tokens // 2),
        kv_cache_bytes=max(longest, budget.kv_cache_bytes // 2),
    )
    return less if less != budget else None


def _steps(max_sequences: int) -> Iterator[int]:
    """Pieces at once to try, most first."""
    if max_sequences:
        yield max_sequences
    yield from (step for step in _SEQUENCES if not max_sequences or step < max_sequences)


def _at_least(table: tuple[tuple[int, int], ...], sequences: int) -> int:
    return next(value for least, value in table if sequences >= least)


def _least(weights: Weights, sequences: int, tokens: int) -> Budget:
    """With the smallest KV cache that is worth it: every piece as long as usual, and one as long as any."""
    cache = max(MAX_MODEL_LEN, sequences * USUAL_TOKENS) * weights.kv_bytes
    return Budget(weights, sequences, tokens, cache)


def _least_aligner(aligner: Weights | None, sequences: int) -> Budget | None:
    """The aligner beside so many recognised pieces. Its cache holds a piece for one step: as much as a step takes."""
    if aligner is None:
        return None
    aligned = _at_least(_ALIGNED, sequences)
    tokens = max(MAX_MODEL_LEN, aligned * USUAL_TOKENS // 2)
    return Budget(aligner, aligned, tokens, (tokens + MAX_MODEL_LEN) * aligner.kv_bytes)


def _graph_bytes(sequences: int) -> int:
    """vLLM captures batches of 1, 2, 4, every eighth size up to 256 and every sixteenth up to 512, as far as twice the
    pieces at once."""
    largest = min(2 * sequences, 512)
    count = sum(size <= largest for size in (1, 2, 4)) + min(largest, 256) // 8 + max(0, largest - 256) // 16
    return count * _GRAPH


def _refusal(needed: int, alone: int, room: int, where: str) -> EngineFailure:
    message = f"Qwen3-ASR needs {_gib(needed)} {where}."
    if alone < needed and alone <= room:
        message += f" Without word times (ASR_ENABLE_ALIGNER=false) it needs {_gib(alone)}."
    return EngineFailure(message)


def _gib(size: int) -> str:
    return f"{size / GIBIBYTE:.1f} GiB"
