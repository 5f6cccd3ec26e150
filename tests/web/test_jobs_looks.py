"""Jobs on the page: both languages, phones, contrast, names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from .browser import PATIENCE, PHONE, memory, visited
from .job_desk import JobDesk, made
from .jobs_server import FakeJobs
from .test_looks import CONTRASTS, NAMELESS, SAME_IN_BOTH, VISIBLE_TEXTS

WIDE = "document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth"


def everything(desk: JobDesk, recording: Path) -> Iterator[None]:
    """What the tab shows in turn."""
    page = desk.page
    page.set_input_files("#job-file", recording)
    yield
    desk.fake.hold_from = 1
    page.click("#job-send")
    page.wait_for_selector("#job-uploads progress")
    page.locator(".upload-buttons button:visible").first.click()
    desk.open("W" * 64)
    page.locator("#job-text .said").first.wait_for(timeout=PATIENCE)
    yield
    page.click("#job-cancel")
    page.locator("dialog[open]").wait_for()
    yield
    page.click("[data-answer=cancel]")
    desk.fake.down = True
    page.click("#job-delete")
    page.click("[data-answer=delete]")
    page.wait_for_selector("#job-notice:not([hidden])")
    yield
    desk.fake.hold_from, desk.fake.down = None, False


@pytest.mark.parametrize(("locale", "foreign"), [("zh-CN", r"[A-Za-z]"), ("de-DE", r"[\u4e00-\u9fff]")])
def test_everything_is_in_the_visitors_language(
    chrome: Browser, jobs: FakeJobs, jobs_base: str, tmp_path: Path, locale: str, foreign: str
) -> None:
    jobs.add("W" * 64, "running", percent=50, seconds_total=100, seconds_done=50, seconds_left=9, pieces_done=1)
    texts: list[str] = []
    with memory(chrome, locale=locale) as mind, visited(mind, jobs_base) as somebody:
        somebody.page.wait_for_selector("#server[data-state=ready]")
        somebody.page.click("#tab-jobs")
        for _ in everything(JobDesk(somebody.page, jobs), made(tmp_path, "1.wav", 1000)):
            texts += somebody.page.evaluate(VISIBLE_TEXTS)
    same = re.compile(
        r"job_[0-9a-f]{24}|WW+|1\.wav|first-model|Hello there\.|Speaker1|Names|AM|PM|The database of jobs.*"
    )
    assert len(texts) > 200
    assert [text for text in texts if re.search(foreign, same.sub("", SAME_IN_BOTH.sub("", text)))] == []


@pytest.mark.parametrize(("width", "locale"), [(320, "en-GB"), (390, "zh-CN"), (768, "en-GB")])
def test_a_phone_shows_the_list_or_the_one_in_hand(
    chrome: Browser, jobs: FakeJobs, jobs_base: str, tmp_path: Path, width: int, locale: str
) -> None:
    jobs.add("W" * 64, "running", percent=50, seconds_total=99999, seconds_done=50000, seconds_left=9999, pieces_done=1)
    viewport = PHONE | {"width": width}
    with memory(chrome, locale=locale, viewport=viewport) as mind, visited(mind, jobs_base) as somebody:
        page = somebody.page
        page.wait_for_selector("#server[data-state=ready]")
        page.click("#tab-jobs")
        desk = JobDesk(page, jobs)
        expect(desk.row("W" * 64)).to_be_visible()
        assert page.locator(".jobs .editor").is_hidden()
        assert page.evaluate(WIDE)
        page.click("#job-new")
        assert page.locator(".jobs .shelf").is_hidden()
        page.set_input_files("#job-file", made(tmp_path, "V" * 80 + ".wav", 1000))
        assert page.evaluate(WIDE), "the form"
        jobs.hold_from = 1
        page.click("#job-send")
        expect(page.locator("#job-uploads li")).to_be_visible()
        assert page.evaluate(WIDE), "an upload"
        desk.open("W" * 64)
        desk.says("Hello there.")
        assert page.evaluate(WIDE), "a job"
        for part in ("job-copy", "job-cancel", "job-delete", "job-progress"):
            box = page.locator(f"#{part}").bounding_box()
            assert box is not None, part
            assert 0 <= box["x"] <= box["x"] + box["width"] <= width, part
        page.locator("#job .back").click()
        expect(desk.row("W" * 64)).to_be_focused()
        jobs.hold_from = None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_every_control_has_a_name(
    chrome: Browser, jobs: FakeJobs, jobs_base: str, tmp_path: Path, scheme: str
) -> None:
    jobs.add("lost.wav", "failed")
    jobs.add("W" * 64, "running", percent=50, seconds_total=100, seconds_done=50, seconds_left=9, pieces_done=2)
    ratios: list[Any] = []
    with memory(chrome, color_scheme=scheme) as mind, visited(mind, jobs_base) as somebody:
        somebody.page.wait_for_selector("#server[data-state=ready]")
        somebody.page.click("#tab-jobs")
        for _ in everything(JobDesk(somebody.page, jobs), made(tmp_path, "1.wav", 1000)):
            ratios += somebody.page.evaluate(CONTRASTS)
            assert somebody.page.evaluate(NAMELESS) == []
    assert len(ratios) > 80
    assert [pair for pair in ratios if pair[1] < 4.5] == []
