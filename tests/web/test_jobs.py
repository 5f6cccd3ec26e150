"""Jobs on the page: added, followed, read, saved, ended; uploads that break off and go on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from .browser import PATIENCE, visited
from .job_desk import JobDesk, made
from .jobs_server import SEGMENTS, FakeJobs

MB = 1024 * 1024


def test_a_recording_is_sent_in_chunks_and_becomes_a_job(job_desk: JobDesk, tmp_path: Path) -> None:
    job_desk.shows("#jobs-state", "There are none yet.")
    recording = made(tmp_path, "会议 one.wav", 12 * MB)
    job_desk.page.fill("#job-hotwords", "Anthony Burgess\n 王小明 ")
    job_desk.page.select_option("#job-language", "zh")
    job_desk.page.select_option("#job-vocabulary", "vocab_1")
    job_desk.page.set_checked("#job-words", False, force=True)
    contents: dict[str, bytes] = {}
    job_desk.fake.uploads = Remembering(contents)
    job_desk.add(recording)
    expect(job_desk.row("会议 one.wav")).to_contain_text("Waiting · ", timeout=PATIENCE)
    assert job_desk.fake.patched == [0, 8 * MB]
    assert contents == {"会议 one.wav": recording.read_bytes()}
    [form] = job_desk.fake.forms
    assert form.pop("upload")[0].startswith("upload_")
    assert form == {
        "model": ["first-model"],
        "language": ["zh"],
        "vocabulary_id": ["vocab_1"],
        "hotwords": ["Anthony Burgess\r\n王小明"],
        "response_format": ["verbose_json"],
        "punctuation": ["true"],
        "itn": ["true"],
        "enable_speaker_diarization": ["true"],
        "timestamp_granularities[]": ["segment"],
    }
    assert re.fullmatch(r"[0-9a-f]{32}", job_desk.fake.keys[0])
    assert job_desk.page.locator("#job-uploads li").count() == 0
    assert json.loads(job_desk.page.evaluate("localStorage.getItem('speech.uploads')")) == []


class Remembering(dict[str, Any]):
    """Uploads whose bytes are kept, by name, when they are taken."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        super().__init__()
        self._contents = contents

    def pop(self, key: str, *default: Any) -> Any:
        upload = super().pop(key, *default)
        self._contents[upload.name] = bytes(upload.content)
        return upload


def test_an_address_becomes_a_job(job_desk: JobDesk) -> None:
    job_desk.page.click("#job-send")
    job_desk.shows("#job-form-notice-title", "Choose a recording, or give the address of one")
    job_desk.page.fill("#job-address", "https://example.com/talks/long.mp3")
    job_desk.fake.refusal = (400, "The address is this machine's.")
    job_desk.page.click("#job-send")
    job_desk.shows("#job-form-notice-title", "The server refused it")
    job_desk.shows("#job-form-notice-detail", "The address is this machine's.")
    job_desk.fake.refusal = None
    job_desk.page.click("#job-send")
    expect(job_desk.row("long.mp3")).to_be_visible(timeout=PATIENCE)
    first, second = job_desk.fake.keys
    assert first == second, "an answer may be lost: the same again is the same job"
    assert job_desk.page.input_value("#job-address") == ""


@pytest.mark.parametrize("status", [502, 503, 423])
def test_an_upload_whose_line_breaks_goes_on_by_itself(job_desk: JobDesk, tmp_path: Path, status: int) -> None:
    job_desk.fake.breaks_at, job_desk.fake.breaks_with = [9 * MB], status
    job_desk.add(made(tmp_path, "a.wav", 12 * MB))
    expect(job_desk.row("a.wav")).to_be_visible(timeout=PATIENCE)
    assert job_desk.fake.patched[:2] == [0, 8 * MB]
    assert 9 * MB <= job_desk.fake.patched[2] < 12 * MB, "not from the beginning of the chunk"


def test_an_upload_survives_a_reload(job_desk: JobDesk, tmp_path: Path) -> None:
    contents: dict[str, bytes] = {}
    job_desk.fake.uploads = Remembering(contents)
    recording, other = made(tmp_path, "a.wav", 12 * MB), made(tmp_path, "b.wav", 1000)
    job_desk.fake.hold_from = 9 * MB
    job_desk.add(recording)
    job_desk.page.wait_for_function(
        "() => document.querySelector('#job-uploads progress')?.value >= 66", timeout=PATIENCE
    )
    assert job_desk.page.locator("#tab-jobs[data-unsaved]").count() == 1
    while not any(len(upload.content) >= 9 * MB for upload in job_desk.fake.uploads.values()):
        job_desk.page.wait_for_timeout(20)
    job_desk.page.reload()
    job_desk.shows(".upload-state", re.compile(r"Broke off at (7|8)\d %"))
    assert job_desk.page.locator("#job-uploads progress").evaluate("bar => bar.value") >= 66
    job_desk.fake.hold_from = None
    before = len(job_desk.fake.patched)
    with job_desk.page.expect_file_chooser() as chooser:
        job_desk.page.locator("#job-uploads").get_by_role("button", name="Choose the file again").click()
    chooser.value.set_files(other)
    job_desk.shows("#jobs-notice-title", "That is another file")
    with job_desk.page.expect_file_chooser() as chooser:
        job_desk.page.click("#jobs-notice-again")
    chooser.value.set_files(recording)
    expect(job_desk.row("a.wav")).to_be_visible(timeout=PATIENCE)
    assert job_desk.fake.patched[before] >= 9 * MB, "what had arrived is not sent again"
    assert contents == {"a.wav": recording.read_bytes()}


def test_an_upload_is_paused_gone_on_with_and_discarded(job_desk: JobDesk, tmp_path: Path) -> None:
    job_desk.fake.hold_from = 9 * MB
    job_desk.add(made(tmp_path, "a.wav", 12 * MB), made(tmp_path, "b.wav", 1 * MB))
    states = job_desk.page.locator(".upload-state")
    expect(states.nth(1)).to_have_text("Waits for the one before", timeout=PATIENCE)
    job_desk.page.wait_for_function(
        "() => document.querySelector('#job-uploads progress').value >= 66", timeout=PATIENCE
    )
    job_desk.page.get_by_role("button", name="Pause").first.click()
    expect(job_desk.row("b.wav")).to_be_visible(timeout=PATIENCE)
    expect(states).to_have_text(re.compile("Paused at"))
    job_desk.page.get_by_role("button", name="Discard").click()
    job_desk.answer("stay", "Discard the upload of “a.wav”?")
    job_desk.fake.hold_from = None
    job_desk.page.get_by_role("button", name="Go on").click()
    expect(job_desk.row("a.wav")).to_be_visible(timeout=PATIENCE)
    job_desk.fake.hold_from = 0
    job_desk.add(made(tmp_path, "c.wav", 1 * MB))
    expect(states).to_have_text(re.compile("Sending"), timeout=PATIENCE)
    job_desk.page.get_by_role("button", name="Discard").click()
    job_desk.answer("discard", "Discard the upload of “c.wav”?")
    expect(states).to_have_count(0)
    job_desk.page.wait_for_function("() => fetch('/v1/jobs/uploads/upload_3').then(() => true)")
    assert len(job_desk.fake.jobs) == 2


@pytest.mark.parametrize("status", [400, 404])
def test_wishes_that_are_refused_can_be_put_right(job_desk: JobDesk, tmp_path: Path, status: int) -> None:
    """A 404 is about a model or a vocabulary that is not there any more."""
    job_desk.fake.refusal = (status, "The model does not know this language.")
    job_desk.page.select_option("#job-language", "yue")
    job_desk.add(made(tmp_path, "a.wav", 1000))
    expect(job_desk.page.locator(".upload-why").last).to_have_text(
        "The model does not know this language.", timeout=PATIENCE
    )
    expect(job_desk.page.locator(".upload-why").first).to_have_text("The server refused it")
    job_desk.fake.refusal = None
    job_desk.page.select_option("#job-language", "zh")
    job_desk.page.get_by_role("button", name="Go on").click()
    expect(job_desk.row("a.wav")).to_be_visible(timeout=PATIENCE)
    assert [form["language"] for form in job_desk.fake.forms] == [["yue"], ["zh"]]


def test_a_refused_upload_says_why_and_is_not_lost(job_desk: JobDesk, tmp_path: Path) -> None:
    job_desk.fake.refusal = (507, "There is no room.")
    job_desk.add(made(tmp_path, "a.wav", 1000))
    expect(job_desk.page.locator(".upload-why").first).to_have_text("The server's disk is full", timeout=PATIENCE)
    expect(job_desk.page.locator(".upload-why").last).to_have_text("There is no room.")
    job_desk.fake.refusal = None
    job_desk.page.get_by_role("button", name="Go on").click()
    expect(job_desk.row("a.wav")).to_be_visible(timeout=PATIENCE)
    assert len(set(job_desk.fake.keys)) == 1


@pytest.mark.parametrize("key", [None, "a-key"])
def test_a_job_is_followed_to_its_end(
    own_mind: BrowserContext, jobs: FakeJobs, jobs_base: str, key: str | None
) -> None:
    """By an EventSource where no key is needed, by a request with the key where one is."""
    jobs.key = key
    job = jobs.add("talk.wav")
    with visited(own_mind, jobs_base) as somebody:
        desk = JobDesk(somebody.page, jobs)
        desk.page.wait_for_selector("#server:not([data-state=asking])")
        desk.page.click("#tab-jobs")
        if key:
            desk.shows("#jobs-notice-title", "The server does not know this token")
            desk.page.click("#jobs-notice-again")
            expect(desk.page.locator("#token")).to_be_focused()
            somebody.set(token=key)
            desk.page.click("#tab-jobs")
        desk.open("talk.wav")
        desk.shows("#job-state", "Waiting")
        assert desk.page.locator("#job-progress").get_attribute("value") is None
        jobs.set(job, "running", percent=33.9, step="recognise", seconds_total=3725, seconds_done=1263, pieces_done=1)
        desk.shows("#job-state", "Recognising")
        desk.shows("#job-numbers", "33 % · 21:03 of 1:02:05")
        desk.says("Hello there.")
        jobs.set(job, percent=66, seconds_left=185, pieces_done=2)
        desk.shows("#job-numbers", "66 % · 21:03 of 1:02:05 · 3:05 left")
        desk.says("Hello there.", "<b>Hello</b> yourself & all.")
        assert desk.page.locator("#job-text b").count() == 0, "text is no markup"
        expect(desk.row("talk.wav")).to_contain_text("Running · 66 % · 3:05 left", timeout=PATIENCE)
        jobs.set(job, percent=100, step="speakers", seconds_left=2)
        desk.shows("#job-state", "Telling speakers apart")
        jobs.set(job, "succeeded", seconds_left=None)
        desk.shows("#job-state", "Done")
        desk.says(*(one["text"] for one in SEGMENTS))
        assert desk.page.locator(".speaker").all_inner_texts() == ["Speaker1", "Speaker2", "Speaker1"]
        assert desk.page.locator("#job-text .moment").all_inner_texts() == ["0:00", "0:02", "1:01:01"]
        expect(desk.page.locator("#job-expires")).to_contain_text("Kept until")
        assert desk.page.locator("#job-cancel").is_hidden()
        streams = [asked for asked in jobs.asked if asked.endswith("/events")]
        assert len(streams) == 1, "it asks for no more once all was told"


def test_a_result_is_copied_and_saved(own_mind: BrowserContext, jobs: FakeJobs, jobs_base: str) -> None:
    jobs.add("talk.one.wav", "succeeded", percent=100, pieces_done=3)
    own_mind.grant_permissions(["clipboard-read", "clipboard-write"])
    with visited(own_mind, jobs_base) as somebody:
        desk = JobDesk(somebody.page, jobs)
        desk.page.click("#tab-jobs")
        desk.open("talk.one.wav")
        desk.page.click("#job-copy")
        desk.shows("#job-copy-label", "Copied")
        assert desk.page.evaluate("navigator.clipboard.readText()") == "text of talk.one.wav"
        assert desk.saved("txt") == ("talk.one.txt", "text of talk.one.wav\n")
        assert desk.saved("srt") == ("talk.one.srt", "srt of talk.one.wav\n")
        assert desk.saved("vtt") == ("talk.one.vtt", "vtt of talk.one.wav\n")
        name, text = desk.saved("json")
        assert name == "talk.one.json"
        assert json.loads(text) == {"segments": SEGMENTS}


def test_a_job_is_cancelled_and_deleted_after_a_question(job_desk: JobDesk) -> None:
    job_desk.fake.add("a.wav", "running")
    job_desk.fake.add("b.wav", "running")
    job_desk.page.reload()
    job_desk.open("a.wav")
    job_desk.page.click("#job-cancel")
    job_desk.answer("stay", "End “a.wav”?")
    job_desk.page.click("#job-cancel")
    job_desk.answer("cancel", "End “a.wav”?")
    job_desk.shows("#job-state", "Cancelled")
    expect(job_desk.row("a.wav")).to_contain_text("Cancelled")
    job_desk.page.click("#job-delete")
    job_desk.answer("delete", "Delete “a.wav”?")
    expect(job_desk.row("a.wav")).to_have_count(0)
    assert [job["name"] for job in job_desk.fake.jobs.values()] == ["b.wav"]
    job_desk.open("b.wav")
    job_desk.fake.jobs.clear()
    job_desk.page.click("#job-delete")
    job_desk.answer("delete", "Delete “b.wav”?")
    job_desk.shows("#job-notice-title", "This job is not on the server any more")
    expect(job_desk.row("b.wav")).to_have_count(0, timeout=PATIENCE)


def test_a_failed_job_says_why(job_desk: JobDesk) -> None:
    job = job_desk.fake.add("a.wav", "running")
    job_desk.page.reload()
    job_desk.open("a.wav")
    job_desk.fake.set(job, "failed", error="The recording has no sound in it.")
    job_desk.shows("#job-state", "Failed")
    job_desk.shows("#job-why", "The recording has no sound in it.")
    assert job_desk.page.locator("#job-copy").is_disabled()


def test_a_server_that_is_away_is_told_of_and_found_again(job_desk: JobDesk) -> None:
    job_desk.fake.add("a.wav", "running")
    job_desk.page.reload()
    expect(job_desk.row("a.wav")).to_be_visible()
    job_desk.fake.down = True
    job_desk.shows("#jobs-notice-title", "The server cannot get at its jobs")
    expect(job_desk.row("a.wav")).to_be_visible()
    job_desk.fake.down = False
    expect(job_desk.page.locator("#jobs-notice")).to_be_hidden(timeout=PATIENCE)


def test_a_hundred_jobs_and_more(job_desk: JobDesk) -> None:
    for number in range(150):
        job_desk.fake.add(f"{number}.wav", "running" if number >= 100 else "succeeded", percent=1)
    job_desk.page.reload()
    rows = job_desk.page.locator("#jobs-rows .row")
    expect(rows).to_have_count(100)
    job_desk.open("149.wav")
    job_desk.open("148.wav")
    job_desk.page.wait_for_function("() => document.querySelector('#job-title').textContent === '148.wav'")
    job_desk.row("148.wav").focus()
    job = next(job for job in job_desk.fake.jobs.values() if job["name"] == "120.wav")
    job_desk.fake.set(job["id"], percent=77)
    expect(job_desk.row("120.wav")).to_contain_text("77 %", timeout=PATIENCE)
    expect(job_desk.row("148.wav")).to_be_focused()
    assert job_desk.fake.streams <= 2, "browsers open six connections to a server, and no more"
    job_desk.page.click("#jobs-more")
    expect(rows).to_have_count(150, timeout=PATIENCE)
    assert job_desk.page.locator("#jobs-more").is_hidden()


def test_nothing_is_asked_while_another_tab_is_seen(job_desk: JobDesk) -> None:
    job_desk.fake.add("a.wav", "running")
    job_desk.page.reload()
    expect(job_desk.row("a.wav")).to_be_visible()
    job_desk.page.click("#tab-live")
    job_desk.page.wait_for_timeout(200)
    before = len(job_desk.fake.asked)
    job_desk.page.wait_for_timeout(3500)
    assert len(job_desk.fake.asked) == before


def test_what_somebody_else_hands_over_is_seen_in_time(job_desk: JobDesk) -> None:
    job_desk.page.clock.install()
    job_desk.page.reload()
    job_desk.shows("#jobs-state", "There are none yet.")
    before = len(job_desk.fake.asked)
    job_desk.fake.add("theirs.wav", "running")
    job_desk.page.clock.fast_forward(14_000)
    job_desk.page.wait_for_timeout(200)
    assert len(job_desk.fake.asked) == before
    job_desk.page.clock.fast_forward(1_000)
    expect(job_desk.row("theirs.wav")).to_be_visible(timeout=PATIENCE)


def test_keys_alone_add_open_and_leave(job_desk: JobDesk, tmp_path: Path) -> None:
    job_desk.fake.add("a.wav", "succeeded", percent=100, pieces_done=3)
    job_desk.page.reload()
    expect(job_desk.row("a.wav")).to_be_visible()
    job_desk.page.locator("#tab-jobs").focus()
    for _ in range(2):
        job_desk.page.keyboard.press("Tab")
    expect(job_desk.row("a.wav")).to_be_focused()
    job_desk.page.keyboard.press("Enter")
    expect(job_desk.page.locator("#job-title")).to_be_focused()
    for name in ("job-copy", None, "job-delete", "job-body"):
        job_desk.page.keyboard.press("Tab")
        if name:
            expect(job_desk.page.locator(f"#{name}")).to_be_focused()
    assert job_desk.page.get_attribute("#job-state", "role") == "status"
    assert job_desk.page.get_attribute("#job-progress", "aria-labelledby") == "job-state"
