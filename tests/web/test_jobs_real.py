"""Jobs on the page with the real server behind it, and a key: from a file to its text, and to nothing left of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from models.small_whisper import make_small_whisper
from playwright.sync_api import BrowserContext, expect
from real.job_servers import JobServers, long_recording

from .browser import visited
from .job_desk import JobDesk
from .jobs_server import FakeJobs
from .test_jobs_lost import break_line

KEY = "an-api-key"
PATIENCE = 60_000
"""Milliseconds: it is recognised, on a machine that may be busy."""


@pytest.fixture
def servers(models_dir: Path, tmp_path: Path) -> Iterator[JobServers]:
    small = make_small_whisper(tmp_path / "small", models_dir / "whisper-base")
    made = JobServers(models_dir, small, tmp_path, API_KEYS=KEY)
    yield made
    made.kill()


def files_of(folder: Path) -> list[Path]:
    """What lies where recordings do."""
    return sorted(path for path in (folder / "data" / "jobs").rglob("*") if path.is_file())


def test_a_file_whose_answer_is_lost_becomes_text_once_and_can_be_deleted(
    own_mind: BrowserContext, servers: JobServers, phone_call: Path, tmp_path: Path
) -> None:
    recording = long_recording(phone_call / "sample.wav", tmp_path / "通话 long.wav", 4)
    server = servers.start()
    before = files_of(tmp_path)
    http = httpx.Client(base_url=server.base, headers={"authorization": f"Bearer {KEY}"}, trust_env=False, timeout=60)
    with http, visited(own_mind, server.base) as somebody:
        desk = JobDesk(somebody.page, FakeJobs())
        desk.page.wait_for_selector("#server[data-state=locked]")
        somebody.set(token=KEY)
        desk.page.wait_for_selector("#server[data-state=ready]")
        desk.page.click("#tab-jobs")
        desk.page.select_option("#job-language", "en")
        desk.page.route(re.compile(r"/v1/jobs$"), break_line, times=1)
        desk.add(recording)
        go_on = desk.page.get_by_role("button", name="Go on")
        expect(go_on).to_be_visible(timeout=PATIENCE)
        go_on.click()
        row = desk.row("通话 long.wav")
        expect(row).to_be_visible(timeout=PATIENCE)
        row.click()
        expect(desk.page.locator("#job-state")).to_have_text("Done", timeout=PATIENCE)
        expect(desk.page.locator("#job-numbers")).to_have_text("2:00")
        [job] = http.get("/v1/jobs").json()["data"]
        result = http.get(f"/v1/jobs/{job['id']}/result", params={"response_format": "verbose_json"}).json()
        texts = [segment["text"].strip() for segment in result["segments"]]
        assert len(texts) > 5
        expect(desk.page.locator("#job-text .said")).to_have_text(texts, timeout=PATIENCE)
        name, saved = desk.saved("srt")
        assert name == "通话 long.srt"
        assert re.match(r"1\n00:00:\d\d,\d{3} --> ", saved)
        assert job["model"] == desk.page.inner_text("#job-model-used")

        desk.page.click("#job-delete")
        desk.answer("delete", "Delete “通话 long.wav”?")
        expect(row).to_have_count(0, timeout=PATIENCE)
        assert http.get("/v1/jobs").json()["data"] == []
        assert files_of(tmp_path) == before
