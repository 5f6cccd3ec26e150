"""What a soak makes of what it sees: outcomes against faults, memory against requests, answers without clocks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.soak import plan, telling, verdict
from benchmarks.soak.asks import KEY, plain
from benchmarks.soak.looking import Sample, metrics
from benchmarks.soak.outcomes import AS_ALONE, CLOSING, CUT_OFF, FULL, LATE, REFUSED, Fault, Judge, Outcome

ANSWER = Outcome("openai json", 10.0, 11.0, "200", right=True)
FAILED = replace(ANSWER, right=False, status="500")


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("disk full", replace(FAILED, status="507", after=True)),
        ("restart", replace(FAILED, status=REFUSED)),
        ("restart", replace(FAILED, status="503", after=True)),
        ("restart", replace(FAILED, status=CUT_OFF, kept=True)),
        ("restart", replace(FAILED, status=CLOSING, live=True)),
        ("decoder killed", FAILED),
        ("decoder hung", replace(FAILED, status="504")),
    ],
)
def test_a_fault_explains_what_happens_meanwhile_and_nothing_else(kind: plan.FaultKind, outcome: Outcome) -> None:
    assert Judge([Fault(kind, 10.5, 10.6)]).why(outcome) == kind
    for elsewhere in (Fault(kind, 5.0, 9.9), Fault(kind, 11.1)):
        judge = Judge([elsewhere])
        assert judge.why(outcome) is None
        assert judge.unexpected == [outcome]


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("disk full", FAILED),
        ("disk full", replace(FAILED, status="507")),
        ("disk full", replace(FAILED, status="507", after=True, live=True)),
        ("restart", FAILED),
        ("restart", replace(FAILED, status="503")),
        ("restart", replace(FAILED, status=CUT_OFF)),
        ("restart", replace(FAILED, status=LATE)),
        ("restart", replace(FAILED, status="200")),
        ("decoder killed", replace(FAILED, live=True)),
        ("decoder killed", replace(FAILED, stranger=True)),
    ],
)
def test_a_fault_does_not_explain_everything(kind: plan.FaultKind, outcome: Outcome) -> None:
    assert Judge([Fault(kind, 10.5, 10.6)]).why(outcome) is None


def test_a_decoder_costs_one_request() -> None:
    judge = Judge([Fault("decoder killed", 10.0, costs=1)])
    assert [judge.why(ANSWER), judge.why(FAILED), judge.why(FAILED)] == [AS_ALONE, "decoder killed", None]
    assert (judge.good, judge.unexpected) == (1, [FAILED])


def test_a_full_server_says_when_to_come_again() -> None:
    full = replace(FAILED, status="429", after=True)
    assert [Judge().why(full), Judge().why(replace(full, after=False))] == [FULL, None]


def _grown(requests: int, mib_a_thousand: float) -> list[Sample]:
    """Memory that wobbles, and grows only in the second half."""
    half = requests / 2
    return [
        Sample(float(done), done, 500 + done % 7 + max(0.0, done - half) / 1000 * mib_a_thousand, 40, 3)
        for done in range(0, requests + 1, 10)
    ]


@pytest.mark.parametrize(("grows", "met"), [(0.0, True), (0.8, True), (1.3, False), (5.0, False)])
def test_memory_is_judged_by_its_second_half(grows: float, met: bool) -> None:
    assert verdict.growth(_grown(12_000, grows), 0.0).met is met


def test_a_short_run_is_not_judged_by_its_memory() -> None:
    check = verdict.growth(_grown(2_000, 50.0), 0.0)
    assert check.met is None
    assert "too short" in check.measured
    assert verdict.growth([], 0.0).met is None
    late_restart = verdict.growth(_grown(12_000, 5.0), 11_000.0)
    assert late_restart.met is None


def test_what_a_start_makes_is_no_growth() -> None:
    began = 8_000
    warming = [
        replace(one, memory=500 + min(max(one.done - began, 0), verdict.WARM) / 20) for one in _grown(20_000, 0.0)
    ]
    assert verdict.growth(warming, float(began)).met is True
    assert verdict.growth(warming, 0.0).met is False


def test_the_same_seed_asks_the_same() -> None:
    assert list(plan.items(300, 8, 5)) == list(plan.items(300, 8, 5)) != list(plan.items(300, 8, 6))
    assert {one.doing for one in plan.items(500, 8, 5)} == set(plan._SHARES)
    assert {fault.kind for fault in plan.faults(100)} == {"decoder killed", "decoder hung", "disk full", "restart"}


def test_answers_are_compared_without_ids_and_clocks() -> None:
    one = {"task_id": "a", "text": "Hello.", "segments": [{"id": 3, "start": 0.5}]}
    other = {"segments": [{"id": 4, "start": 0.5}], "text": "Hello.", "task_id": "b"}
    assert plain(json.dumps(one)) == plain(json.dumps(other)) != plain(json.dumps(other | {"text": "Hello"}))
    assert plain("data: " + json.dumps(one) + "\n\n") == plain("data: " + json.dumps(other) + "\n\n")
    assert plain("Hello.\n") == "Hello.\n"


def test_what_a_sample_takes_from_metrics() -> None:
    text = """# HELP asr_http_requests_total HTTP requests that have ended. 499: the client left before its answer
asr_http_requests_total{method="POST",route="/v1/audio/transcriptions",status="200"} 7
asr_http_requests_total{method="POST",route="/asr",status="200"} 2
asr_http_requests_total{method="GET",route="/health/ready",status="503"} 9
asr_stage_duration_seconds_bucket{le="0.1",stage="decode"} 1
asr_stage_duration_seconds_sum{stage="decode"} 0.5
asr_pieces_waiting 3
"""
    told = metrics(text)
    assert (told["http_2xx"], told["http_5xx"], told["decode_sum"], told["waiting"]) == (9, 0, 0.5, 3)
    assert set(told) < set(Sample.__dataclass_fields__)


def test_words_and_keys_are_found_in_a_log() -> None:
    said = {"we met where somebody lives"}
    assert telling.secrets("request 1: answered, where somebody lives", said) == ["words that were said"]
    assert telling.secrets(f"authorization: Bearer {KEY}", said) == ["a key"]
    assert telling.secrets("somebody met where we lives", said) == []


def test_tracebacks_that_faults_explain_are_none() -> None:
    def line(message: str) -> str:
        return json.dumps({"message": message, "exception": "Traceback (most recent call last): ..."})

    log = "\n".join(["request 1: storage_full: full", "request 2: engine_failure: died", "request 3: KeyError"])
    assert telling.tracebacks("\n".join(map(line, log.splitlines()))) == ["request 3: KeyError"]
    assert telling.tracebacks("Traceback (most recent call last):\n") == ["Traceback (most recent call last):"]
