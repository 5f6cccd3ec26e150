"""How much of a card Qwen3-ASR and its aligner take, on cards of every size that people have."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from app.domain.errors import EngineFailure
from app.engines.qwen3.memory import (
    AUDIO_TOKENS,
    GIBIBYTE,
    MAX_MODEL_LEN,
    Budget,
    Card,
    Weights,
    cpu_budgets,
    gpu_budgets,
    smaller,
)

KV = 2 * 28 * 8 * 128 * 2
SMALL, LARGE = Weights(1_560_000_000, KV), Weights(4_100_000_000, KV)
ALIGNER = Weights(1_840_000_000, KV, aligns=True)
BANDS = (6, 8, 12, 16, 24, 31.7, 80, 141)
MODELS = pytest.mark.parametrize("model", [SMALL, LARGE], ids=["0.6B", "1.7B"])
Pair = tuple[Budget, Budget | None]


def card(total: float, used: float = 0.3) -> Card:
    return Card(int(total * GIBIBYTE), int((total - used) * GIBIBYTE))


def budgets(model: Weights, there: Card, *, fraction: float = 0.9, sequences: int = 0, times: bool = True) -> Pair:
    return gpu_budgets(model, ALIGNER if times else None, there, fraction=fraction, max_sequences=sequences)


def together(pair: Pair) -> int:
    return sum(budget.total_bytes for budget in pair if budget is not None)


def assert_workable(budget: Budget) -> None:
    """What vLLM asks of its numbers, and that every piece can be served."""
    assert budget.max_model_len == MAX_MODEL_LEN
    assert 1 <= budget.max_num_seqs <= budget.max_num_batched_tokens
    assert budget.max_num_batched_tokens > AUDIO_TOKENS, "the sound of a piece fits into a step"
    assert budget.kv_cache_bytes >= MAX_MODEL_LEN * KV, "the longest piece fits into the cache"


@pytest.mark.parametrize(
    ("model", "total", "sequences", "tokens", "aligned"),
    [
        (SMALL, 8, 4, 2048, 2),
        (SMALL, 12, 12, 2048, 8),
        (SMALL, 16, 24, 4096, 8),
        (SMALL, 24, 64, 8192, 16),
        (SMALL, 31.7, 128, 8192, 16),
        (LARGE, 12, 6, 2048, 2),
        (LARGE, 16, 16, 4096, 8),
        (LARGE, 24, 48, 4096, 16),
        (LARGE, 31.7, 96, 8192, 16),
        (LARGE, 80, 128, 8192, 16),
        (LARGE, 141, 128, 8192, 16),
    ],
)
def test_cards(model: Weights, total: float, sequences: int, tokens: int, aligned: int) -> None:
    ours, theirs = budgets(model, card(total))
    assert theirs is not None
    assert (ours.max_num_seqs, ours.max_num_batched_tokens, theirs.max_num_seqs) == (sequences, tokens, aligned)


@MODELS
@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize("used", [0.3, 2.5, 5.0])
@pytest.mark.parametrize("fraction", [0.5, 0.9, 0.98])
def test_never_more_than_may_be_taken(model: Weights, times: bool, used: float, fraction: float) -> None:
    served = 0
    for total in BANDS:
        there = card(total, used)
        try:
            pair = budgets(model, there, fraction=fraction, times=times)
        except EngineFailure:
            continue
        served += 1
        assert together(pair) <= there.total * fraction
        assert together(pair) < there.free
        assert sum(budget.share_of(there) for budget in pair if budget) <= fraction
        for budget in filter(None, pair):
            assert_workable(budget)
    assert served >= 4


@MODELS
@pytest.mark.parametrize("times", [True, False])
def test_more_memory_never_gives_less(model: Weights, times: bool) -> None:
    found: list[Pair] = []
    for tenths in range(20, 1500, 2):
        try:
            found.append(budgets(model, card(tenths / 10), times=times))
        except EngineFailure:
            assert not found, "what fits on a small card fits on a larger one"
    assert len(found) > 500
    for less, more in pairwise(found):
        assert less[0].max_num_seqs <= more[0].max_num_seqs
        assert less[0].max_num_batched_tokens <= more[0].max_num_batched_tokens
        assert together(less) <= together(more)


def test_the_larger_model_leaves_less_room() -> None:
    for total in BANDS[2:]:
        small, large = budgets(SMALL, card(total))[0], budgets(LARGE, card(total))[0]
        assert large.max_num_seqs <= small.max_num_seqs


def test_a_large_card_is_not_taken_whole() -> None:
    ours, _ = budgets(LARGE, card(141))
    assert ours.kv_cache_bytes == 128 * MAX_MODEL_LEN * KV, "more could not be filled"
    assert ours.share_of(card(141)) < 0.3


def test_a_small_card_is_used_up() -> None:
    there = card(12)
    pair = budgets(SMALL, there, times=False)
    assert together(pair) == int(there.total * 0.9)


@pytest.mark.parametrize(("total", "used"), [(6, 0.3), (24, 19), (8, 2)])
def test_what_does_not_fit_is_refused_with_figures(total: float, used: float) -> None:
    with pytest.raises(EngineFailure) as failure:
        budgets(SMALL, card(total, used))
    said = failure.value.message
    assert re.match(r"Qwen3-ASR needs \d+\.\d GiB of the GPU's memory, and \d+\.\d GiB may be taken ", said)
    assert f"({total - used:.1f} GiB of {total:.1f} GiB are free)" in said
    needed, there = map(float, re.findall(r"(\d+\.\d) GiB", said)[:2])
    assert needed > there
    assert "Without word times (ASR_ENABLE_ALIGNER=false)" in said
    assert budgets(SMALL, card(total, used), times=False)[0].max_num_seqs >= 1


def test_what_does_not_fit_either_way_has_no_advice() -> None:
    with pytest.raises(EngineFailure) as failure:
        budgets(LARGE, card(4))
    assert "ASR_ENABLE_ALIGNER" not in failure.value.message


@pytest.mark.parametrize(("asked", "total", "given"), [(1, 80, 1), (40, 80, 40), (300, 80, 300), (40, 16, 24)])
def test_a_number_of_sequences_is_a_most(asked: int, total: float, given: int) -> None:
    ours, _ = budgets(SMALL, card(total), sequences=asked)
    assert ours.max_num_seqs == given
    assert_workable(ours)


@MODELS
@pytest.mark.parametrize("total", [12, 24, 80])
def test_smaller_and_smaller_until_there_is_an_end(model: Weights, total: float) -> None:
    ours, theirs = budgets(model, card(total))
    for budget in filter(None, (ours, theirs)):
        steps = [budget]
        while (less := smaller(steps[-1])) is not None:
            assert_workable(less)
            assert less.total_bytes < steps[-1].total_bytes
            assert less.max_num_seqs <= steps[-1].max_num_seqs
            steps.append(less)
            assert len(steps) < 12
        assert steps[-1].max_num_seqs == 1
        assert steps[-1].kv_cache_bytes == MAX_MODEL_LEN * KV
        if len(steps) > 1:
            assert steps[1].max_num_seqs == budget.max_num_seqs // 2


@pytest.mark.parametrize("times", [True, False])
def test_a_cpu(times: bool) -> None:
    found: list[Pair] = []
    for gib in range(4, 129):
        available = gib * GIBIBYTE
        try:
            pair = cpu_budgets(SMALL, ALIGNER if times else None, available)
        except EngineFailure as failure:
            assert not found
            assert f"and {gib:.1f} GiB are available" in failure.message
            continue
        assert together(pair) <= available
        assert pair[0].kv_cache_bytes <= 4 * GIBIBYTE
        for budget in filter(None, pair):
            assert_workable(budget)
        found.append(pair)
    assert found[0][0].max_num_seqs < found[-1][0].max_num_seqs == 16
    for less, more in pairwise(found):
        assert less[0].max_num_seqs <= more[0].max_num_seqs
        assert less[0].kv_cache_bytes <= more[0].kv_cache_bytes


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (5, 5), (32, 32), (500, 32)])
def test_sequences_on_a_cpu_are_a_most(asked: int, given: int) -> None:
    ours, _ = cpu_budgets(SMALL, None, 64 * GIBIBYTE, max_sequences=asked)
    assert ours.max_num_seqs == given
    assert_workable(ours)


def test_what_the_document_says_of_a_cpu_is_reckoned_so() -> None:
    document = (Path(__file__).parents[2] / "docs" / "MODEL_SETUP.md").read_text("utf-8")
    pattern = r"0\.6B wants ([\d.]+) GiB, with its aligner ([\d.]+)\..*?: ([\d.]+) and ([\d.]+) GiB"
    stated = re.search(pattern, document, re.DOTALL)
    assert stated
    wide, aligner = (Weights(2 * one.weight_bytes, 2 * one.kv_bytes, aligns=one.aligns) for one in (SMALL, ALIGNER))
    needs = [_least(SMALL, None), _least(SMALL, ALIGNER), _least(wide, None), _least(wide, aligner)]
    assert [float(figure) for figure in stated.groups()] == needs


def _least(recognizer: Weights, aligner: Weights | None) -> float:
    """The least memory that is enough, in GiB, as the refusal of less says it."""
    with pytest.raises(EngineFailure) as failure:
        cpu_budgets(recognizer, aligner, 0)
    said = re.search(r"needs ([\d.]+) GiB", failure.value.message)
    assert said
    return float(said[1])
