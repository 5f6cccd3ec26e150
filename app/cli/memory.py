"""`start.py models memory`: how many pieces Qwen3-ASR recognises at once on a card of some size, and what it takes."""

from __future__ import annotations

from app.domain.errors import EngineFailure
from app.engines.qwen3.memory import GIBIBYTE, Budget, Card, Weights, gpu_budgets
from app.modelstore.machine import read_machine
from app.settings import Settings

KV_BYTES = 2 * 28 * 8 * 128 * 2
"""Of a token in all three models: keys and values, layers, heads, their width, bf16."""
MODELS = {
    "qwen3-asr-0.6b": Weights(1_560_000_000, KV_BYTES),
    "qwen3-asr-1.7b": Weights(4_100_000_000, KV_BYTES),
}
ALIGNER = Weights(1_840_000_000, KV_BYTES, aligns=True)
"""Bytes as published; at a start, the files that are there count."""
USUAL_CARDS = (6, 8, 12, 16, 24, 32, 48, 80, 141)

Row = tuple[str, ...]
HEADER: Row = (
    "CARD",
    "MAY TAKE",
    "MODEL",
    "PIECES AT ONCE",
    "TOKENS A STEP",
    "KV CACHE",
    "MODEL TAKES",
    "ALIGNER TAKES",
)


def table(settings: Settings, gib: list[float]) -> list[Row]:
    """A row for each card and model. A card of a size that was named is empty; this machine's are as they are now."""
    cards = [(f"{size:g} GiB", Card(int(size * GIBIBYTE), int(size * GIBIBYTE))) for size in gib]
    if not cards:
        cards = [(f"cuda:{gpu.index} {gpu.name}", Card(gpu.memory, gpu.free)) for gpu in read_machine().gpus]
    if not cards:
        return table(settings, list(USUAL_CARDS))
    return [HEADER, *(_row(settings, name, card, model_id) for name, card in cards for model_id in MODELS)]


def _row(settings: Settings, name: str, card: Card, model_id: str) -> Row:
    fraction, most = settings.asr_gpu_memory_fraction, settings.asr_max_sequences
    start = (name, _size(card.room(fraction)), model_id)
    failures: list[EngineFailure] = []
    for aligner in (ALIGNER, None) if settings.asr_enable_aligner else (None,):
        try:
            ours, theirs = gpu_budgets(MODELS[model_id], aligner, card, fraction=fraction, max_sequences=most)
        except EngineFailure as failure:
            failures.append(failure)
            continue
        return (*start, *_figures(ours), "does not fit" if failures else _size(theirs.total_bytes) if theirs else "off")
    return (*start, *["does not fit"] + ["-"] * 4)


def _figures(budget: Budget) -> Row:
    counts = str(budget.max_num_seqs), str(budget.max_num_batched_tokens)
    return (*counts, _size(budget.kv_cache_bytes), _size(budget.total_bytes))


def _size(size: int) -> str:
    return f"{size / GIBIBYTE:.1f} GiB"
