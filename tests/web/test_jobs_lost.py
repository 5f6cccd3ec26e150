"""Jobs on the page when something is lost on the way: an answer, an upload, the line of who follows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from .browser import PATIENCE, visited
from .job_desk import JobDesk, made
from .jobs_server import FakeJobs

MB = 1024 * 1024
SUBMISSION = re.compile(r"/v1/jobs$")
FROM_NOTHING = "Broke off at 0 %"


def break_line(route: Route) -> None:
    route.fetch()
    route.abort()


def answer_as_proxy(route: Route) -> None:
    route.fetch()
    route.fulfill(status=502, body="<h1>Bad Gateway</h1>")


def losing_the_answer(desk: JobDesk, recording: Path, lose: Callable[[Route], None] = break_line) -> None:
    """Send it; the server makes a job of it, and the page does not hear of that."""
    desk.page.route(SUBMISSION, lose, times=1)
    desk.add(recording)
    expect(desk.page.locator(".upload-why").first).to_have_text("The server does not answer", timeout=PATIENCE)
    assert len(desk.fake.jobs) == 1


def nothing_is_left(page: Page) -> None:
    expect(page.locator("#job-uploads li")).to_have_count(0, timeout=PATIENCE)
    assert json.loads(page.evaluate("localStorage.getItem('speech.uploads')")) == []


@pytest.mark.parametrize("lose", [break_line, answer_as_proxy])
def test_a_job_whose_answer_was_lost_is_found_and_not_sent_again(
    job_desk: JobDesk, tmp_path: Path, lose: Callable[[Route], None]
) -> None:
    losing_the_answer(job_desk, made(tmp_path, "a.wav", 1 * MB), lose)
    job_desk.page.select_option("#job-language", "zh")
    job_desk.page.get_by_role("button", name="Go on").click()
    nothing_is_left(job_desk.page)
    expect(job_desk.row("a.wav")).to_have_count(1, timeout=PATIENCE)
    assert job_desk.fake.patched == [0]
    assert len(job_desk.fake.jobs) == 1


def test_a_job_whose_answer_was_lost_is_found_when_the_page_is_opened_anew(job_desk: JobDesk, tmp_path: Path) -> None:
    losing_the_answer(job_desk, made(tmp_path, "a.wav", 1 * MB))
    job_desk.page.reload()
    nothing_is_left(job_desk.page)
    expect(job_desk.row("a.wav")).to_have_count(1, timeout=PATIENCE)
    assert len(job_desk.fake.jobs) == 1


def test_what_another_tab_has_finished_is_not_sent_again(
    own_mind: BrowserContext, job_desk: JobDesk, jobs_base: str, tmp_path: Path
) -> None:
    recording = made(tmp_path, "a.wav", 12 * MB)
    job_desk.fake.hold_from = 9 * MB
    job_desk.add(recording)
    job_desk.page.wait_for_function(
        "() => document.querySelector('#job-uploads progress')?.value >= 66", timeout=PATIENCE
    )
    job_desk.page.get_by_role("button", name="Pause").click()
    with visited(own_mind, jobs_base) as somebody:
        other = JobDesk(somebody.page, job_desk.fake)
        other.page.wait_for_selector("#server[data-state=ready]")
        other.page.click("#tab-jobs")
        other.shows(".upload-state", re.compile(r"Broke off at (6|7|8)\d %"))
        job_desk.fake.hold_from = None
        job_desk.page.get_by_role("button", name="Go on").click()
        expect(job_desk.row("a.wav")).to_be_visible(timeout=PATIENCE)
        sent = len(job_desk.fake.patched)
        with other.page.expect_file_chooser() as chooser:
            other.page.locator("#job-uploads").get_by_role("button", name="Choose the file again").click()
        chooser.value.set_files(recording)
        nothing_is_left(other.page)
        expect(other.row("a.wav")).to_have_count(1, timeout=PATIENCE)
    assert len(job_desk.fake.patched) == sent
    assert len(job_desk.fake.jobs) == 1


def test_an_upload_that_has_expired_is_sent_anew(job_desk: JobDesk, tmp_path: Path) -> None:
    job_desk.fake.refusal = (507, "There is no room.")
    recording = made(tmp_path, "a.wav", 1 * MB)
    job_desk.add(recording)
    expect(job_desk.page.locator(".upload-why").last).to_have_text("There is no room.", timeout=PATIENCE)
    job_desk.fake.refusal = None
    job_desk.fake.uploads.clear()
    job_desk.page.get_by_role("button", name="Go on").click()
    nothing_is_left(job_desk.page)
    expect(job_desk.row("a.wav")).to_have_count(1, timeout=PATIENCE)
    assert job_desk.fake.patched == [0, 0]


def test_an_upload_that_has_expired_wants_its_file_when_the_page_is_opened_anew(
    job_desk: JobDesk, tmp_path: Path
) -> None:
    job_desk.fake.refusal = (507, "There is no room.")
    recording = made(tmp_path, "a.wav", 1 * MB)
    job_desk.add(recording)
    expect(job_desk.page.locator(".upload-why").last).to_have_text("There is no room.", timeout=PATIENCE)
    job_desk.fake.refusal = None
    job_desk.fake.uploads.clear()
    job_desk.page.reload()
    job_desk.shows(".upload-state", FROM_NOTHING)
    with job_desk.page.expect_file_chooser() as chooser:
        job_desk.page.locator("#job-uploads").get_by_role("button", name="Choose the file again").click()
    chooser.value.set_files(recording)
    nothing_is_left(job_desk.page)
    expect(job_desk.row("a.wav")).to_have_count(1, timeout=PATIENCE)


def test_other_wishes_of_what_is_a_job_already_make_another_one(job_desk: JobDesk, tmp_path: Path) -> None:
    losing_the_answer(job_desk, made(tmp_path, "a.wav", 1 * MB))
    job_desk.fake.refusal = (400, "The model does not know this language.")
    why = job_desk.page.locator(".upload-why").first
    go_on = job_desk.page.get_by_role("button", name="Go on")
    go_on.click()
    expect(why).to_have_text("The server refused it", timeout=PATIENCE)
    job_desk.fake.refusal = None
    job_desk.page.select_option("#job-language", "zh")
    go_on.click()
    expect(why).to_have_text("This recording is a job already; going on makes another one", timeout=PATIENCE)
    assert len(job_desk.fake.jobs) == 1
    go_on.click()
    nothing_is_left(job_desk.page)
    expect(job_desk.row("a.wav")).to_have_count(2, timeout=PATIENCE)
    assert job_desk.fake.forms[-1]["language"] == ["zh"]


@pytest.fixture(params=[None, "a-key"])
def follower(
    own_mind: BrowserContext, jobs: FakeJobs, jobs_base: str, request: pytest.FixtureRequest
) -> Iterator[JobDesk]:
    """Somebody at the tab of jobs, where one runs, who follows by an EventSource, or with a key by a request."""
    jobs.key = request.param
    jobs.add("talk.wav", "running", percent=37)
    with visited(own_mind, jobs_base) as somebody:
        somebody.page.wait_for_selector("#server:not([data-state=asking])")
        if jobs.key:
            somebody.set(token=jobs.key)
        somebody.page.click("#tab-jobs")
        yield JobDesk(somebody.page, jobs)


@pytest.mark.parametrize("status", [429, 502])
def test_who_is_turned_away_for_a_moment_follows_again(follower: JobDesk, status: int) -> None:
    fake = follower.fake
    [job] = fake.jobs
    fake.turned_away = [status, status]
    follower.open("talk.wav")
    while fake.streams == 0:
        follower.page.wait_for_timeout(20)
    assert fake.turned_away == []
    assert follower.page.locator("#job-notice").is_hidden()
    fake.set(job, "succeeded")
    follower.shows("#job-state", "Done")


def test_a_job_that_cannot_be_followed_is_as_the_list_has_it(follower: JobDesk) -> None:
    fake = follower.fake
    [job] = fake.jobs
    fake.turned_away = [429] * 1000
    follower.open("talk.wav")
    fake.set(job, percent=66)
    follower.shows("#job-numbers", "66 %")
    fake.set(job, "succeeded")
    follower.shows("#job-state", "Done")
    follower.says("Hello there.", "<b>Hello</b> yourself & all.", "再见。")
    asked = len(fake.turned_away)
    follower.page.wait_for_timeout(3000)
    assert len(fake.turned_away) == asked, "there is nothing more to follow"


def test_a_job_that_is_deleted_elsewhere_is_told_to_who_follows_it(follower: JobDesk) -> None:
    fake = follower.fake
    follower.open("talk.wav")
    while fake.streams == 0:
        follower.page.wait_for_timeout(20)
    fake.jobs.clear()
    follower.shows("#job-notice-title", "This job is not on the server any more")


def test_no_speech_is_said_of_the_one_job_only(job_desk: JobDesk) -> None:
    job_desk.fake.add("quiet.wav", "succeeded", percent=100)
    job_desk.fake.add("waits.wav")
    job_desk.fake.segments = []
    job_desk.page.reload()
    job_desk.open("quiet.wav")
    expect(job_desk.page.locator("#job-silent")).to_be_visible(timeout=PATIENCE)
    job_desk.open("waits.wav")
    assert job_desk.page.locator("#job-silent").is_hidden()
