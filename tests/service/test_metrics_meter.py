"""What is told becomes series: counted once, under labels of which there are few."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.domain.meters import Meter
from app.service.metrics.meter import PrometheusMeter


def series(meter: PrometheusMeter) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Each sample's value as a scraper reads it."""
    text = generate_latest(meter).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(meter: PrometheusMeter, name: str, **labels: str) -> float:
    return series(meter)[name, frozenset(labels.items())]


def test_a_recording_is_counted_by_model_and_outcome() -> None:
    meter = PrometheusMeter()
    meter.recording("m", "/v1/audio/transcriptions", 30.0, 3.0, "ok")
    meter.recording("m", "/asr", 12.5, 5.0, "ok")
    meter.recording("m", "/asr", 99.0, 5.0, "audio_too_long")
    meter.recording("m", "/asr", 0.0, 1.0, "cancelled")
    assert value(meter, "asr_recordings_total", model="m", outcome="ok") == 2
    assert value(meter, "asr_recordings_total", model="m", outcome="audio_too_long") == 1
    assert value(meter, "asr_recordings_total", model="m", outcome="cancelled") == 1
    assert value(meter, "asr_audio_seconds_total", kind="file", model="m") == 42.5
    assert value(meter, "asr_recording_real_time_factor_ratio_count", model="m") == 2
    assert value(meter, "asr_recording_real_time_factor_ratio_sum", model="m") == pytest.approx(0.1 + 0.4)
    assert value(meter, "asr_recording_real_time_factor_ratio_bucket", model="m", le="0.1") == 1


def test_a_stream_s_sound_is_counted_as_it_is_heard_and_once() -> None:
    meter = PrometheusMeter()
    meter.heard("m", 1.5)
    meter.heard("m", 0.5)
    assert value(meter, "asr_audio_seconds_total", kind="live", model="m") == 2
    meter.stream("m", "/ws/v1", 2.0, 2.5, "ok")
    assert value(meter, "asr_audio_seconds_total", kind="live", model="m") == 2
    assert value(meter, "asr_streams_total", model="m", outcome="ok") == 1


def test_calls_tell_pieces_fill_and_each_piece_s_wait() -> None:
    meter = PrometheusMeter()
    meter.call("m", 3, 0.75, [0.0, 0.2, 4.0])
    assert value(meter, "asr_call_pieces_sum", model="m") == 3
    assert value(meter, "asr_call_fill_ratio_bucket", model="m", le="0.7") == 0
    assert value(meter, "asr_call_fill_ratio_bucket", model="m", le="0.8") == 1
    assert value(meter, "asr_piece_wait_seconds_count", model="m") == 3
    assert value(meter, "asr_piece_wait_seconds_bucket", model="m", le="0.25") == 2


def test_times_of_stages_and_live_texts_and_restarts() -> None:
    meter = PrometheusMeter()
    assert value(meter, "asr_restarts_total", process="recogniser") == 0, "there before anything happens"
    assert value(meter, "asr_stage_duration_seconds_count", stage="speakers") == 0
    meter.stage("decode", 0.3)
    meter.first_partial(0.45)
    meter.final(0.25)
    meter.restarted("decoder")
    meter.refused("/v1/audio/transcriptions", "rate_limit_exceeded")
    assert value(meter, "asr_stage_duration_seconds_sum", stage="decode") == 0.3
    assert value(meter, "asr_live_first_partial_seconds_bucket", le="0.5") == 1
    assert value(meter, "asr_live_final_seconds_bucket", le="0.2") == 0
    assert value(meter, "asr_restarts_total", process="decoder") == 1
    assert value(meter, "asr_refused_total", code="rate_limit_exceeded") == 1


def test_what_nobody_knows_is_one_label_value() -> None:
    """Whatever is made up, there are not more series for it."""
    meter = PrometheusMeter()
    for number in range(50):
        meter.request("(unknown)", f"METHOD{number}", 405, 0.1)
        meter.refused(f"/path/{number}", f"code-{number}")
        meter.recording("m", f"/path/{number}", 1.0, 1.0, f"outcome {number}")
        meter.stream("m", f"/path/{number}", 1.0, 1.0, f"outcome {number}")
    assert value(meter, "asr_http_requests_total", route="(unknown)", method="other", status="405") == 50
    assert value(meter, "asr_refused_total", code="other") == 50
    assert value(meter, "asr_recordings_total", model="m", outcome="other") == 50
    assert not [name for name in series(meter) if "path" in str(name) or "METHOD" in str(name)]


def test_every_kind_of_news_is_listened_to() -> None:
    """A method added to Meter and forgotten here would count nothing."""
    told = {name for name in vars(Meter) if not name.startswith("_")}
    assert told <= set(vars(PrometheusMeter))


def test_two_servers_in_one_process_count_for_themselves() -> None:
    one, other = PrometheusMeter(), PrometheusMeter()
    one.restarted("decoder")
    assert value(other, "asr_restarts_total", process="decoder") == 0


@pytest.mark.skipif(
    shutil.which("promtool") is None and os.environ.get("CI") != "true", reason="promtool is not on this machine"
)
def test_promtool_finds_nothing_to_say() -> None:
    meter = PrometheusMeter()
    meter.request("/v1/models", "GET", 200, 0.1)
    meter.handshake("/ws/v1", 101)
    meter.refused("/asr", "rate_limit_exceeded")
    meter.recording("m", "/asr", 1.0, 1.0, "ok")
    meter.call("m", 1, 1.0, [0.1])
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=generate_latest(meter), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
