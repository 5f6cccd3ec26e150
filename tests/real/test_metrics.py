"""A real server scraped after a recording and a live stream: it counted what was sent, promtool accepts it, and
nobody's words, keys or names stand in it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tools.dialects import said
from tools.dialects.hearing import Wishes

from .scoring import read_wav
from .server import RealServer, start_server

KEY, OTHER_KEY = "a-key-that-nobody-may-read", "the-key-of-monitoring"
SECONDS = 30.0
Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


@pytest.fixture(scope="module")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    server = start_server(models_dir, tmp_path_factory.mktemp("metrics"), API_KEYS=f"{KEY},{OTHER_KEY}")
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def words(server: RealServer, phone_call: Path) -> set[str]:
    """What was said of a recording and of a stream."""
    with (phone_call / "sample.wav").open("rb") as sound:
        answer = httpx.post(
            f"{server.base}/v1/audio/transcriptions",
            params={"who": "asked-by-somebody"},
            files={"file": ("named-by-somebody.wav", sound)},
            data={"response_format": "verbose_json"},
            headers={"authorization": f"Bearer {KEY}"},
            timeout=120,
        )
    assert answer.status_code == 200, answer.text
    assert answer.json()["duration"] == pytest.approx(SECONDS, abs=0.01)
    heard = asyncio.run(said("aliyun", server.base, read_wav(phone_call / "sample.wav"), None, Wishes(token=KEY)))
    assert heard.text
    for number in range(30):
        assert httpx.get(f"{server.base}/made/up/{number}", headers={"api-key": KEY}).status_code == 404
    assert httpx.get(f"{server.base}/v1/voices/voice_of_somebody", headers={"api-key": KEY}).status_code == 404
    return set(re.findall(r"[a-z]{5,}", f"{answer.json()['text']} {heard.text}".lower()))


@pytest.fixture(scope="module")
def text(server: RealServer, words: set[str]) -> str:
    assert words
    assert httpx.get(f"{server.base}/metrics").status_code == 401
    answer = httpx.get(f"{server.base}/metrics", headers={"authorization": f"Bearer {OTHER_KEY}"})
    assert answer.status_code == 200
    return answer.text


@pytest.fixture(scope="module")
def samples(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def of(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def test_promtool_accepts_it(text: str) -> None:
    if shutil.which("promtool") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool (Debian's package prometheus) is not on this machine")
        pytest.skip("promtool (Debian's package prometheus) is not on this machine")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_seconds_of_sound_are_those_that_were_sent(samples: Samples) -> None:
    sound = samples["asr_audio_seconds_total"]
    assert sound[of(kind="file", model="whisper-base")] == pytest.approx(SECONDS, abs=0.01)
    assert sound[of(kind="live", model="whisper-base")] == pytest.approx(SECONDS, abs=0.01)
    assert samples["asr_recordings_total"] == {of(model="whisper-base", outcome="ok"): 1}
    assert samples["asr_streams_total"] == {of(model="whisper-base", outcome="ok"): 1}
    factor = samples["asr_recording_real_time_factor_ratio_sum"][of(model="whisper-base")]
    assert factor > 0


def test_times_were_taken_everywhere(samples: Samples) -> None:
    for stage in ("decode", "detect", "recognise", "write", "render"):
        assert samples["asr_stage_duration_seconds_count"][of(stage=stage)] == 1, stage
        assert samples["asr_stage_duration_seconds_sum"][of(stage=stage)] > 0, stage
    assert samples["asr_live_final_seconds_count"][of()] >= 1
    assert 1 <= samples["asr_live_first_partial_seconds_count"][of()] <= samples["asr_live_final_seconds_count"][of()]
    model = of(model="whisper-base")
    calls, pieces = samples["asr_call_pieces_count"][model], samples["asr_call_pieces_sum"][model]
    assert 2 <= calls <= pieces
    assert samples["asr_piece_wait_seconds_count"][model] == pieces
    assert samples["asr_websocket_handshakes_total"] == {of(route="/ws/v1/asr", status="101"): 1}


def test_nothing_goes_on_and_nothing_has_died(samples: Samples) -> None:
    for name in ("requests_in_progress", "streams_in_progress", "pieces_waiting", "backlog_seconds"):
        assert samples[f"asr_{name}"][of()] == 0, name
    assert set(samples["asr_restarts_total"].values()) == {0}
    assert samples["asr_ready"][of()] == 1


def test_paths_that_somebody_makes_up_are_one_label_value(samples: Samples) -> None:
    requests = samples["asr_http_requests_total"]
    assert requests[of(route="(unknown)", method="GET", status="404")] == 30
    assert requests[of(route="/v1/voices/{id}", method="GET", status="404")] == 1
    assert requests[of(route="/metrics", method="GET", status="401")] == 1


def test_nobody_s_words_keys_or_names_stand_in_it(text: str, words: set[str]) -> None:
    values = " ".join(re.findall(r'"([^"]*)"', text)).lower()  # explanations are the program's own
    assert not [word for word in words if re.search(rf"\b{word}\b", values)]
    for secret in (KEY, OTHER_KEY, "somebody", "made/up"):
        assert secret not in text


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
def test_memory_processes_and_files_of_the_server(samples: Samples, server: RealServer) -> None:
    resident = samples["asr_memory_resident_bytes"]
    assert resident[of(role="server")] > 100 * 2**20, "whisper-base is in it"
    assert resident[of(role="decoder")] > 2**20
    assert samples["asr_processes"][of(role="server")] == 1
    assert samples["asr_processes"][of(role="decoder")] >= 1
    assert 0 < samples["process_open_fds"][of()] < samples["process_max_fds"][of()]
    assert samples["asr_disk_free_bytes"][of(folder="temp")] == pytest.approx(
        shutil.disk_usage(server.temp).free, rel=0.5
    )
