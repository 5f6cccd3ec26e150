"""Stored lists on the page: both languages, phones, keyboards, and choosing a vocabulary to speak with."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect

from .browser import PHONE, visit
from .desk import BOTH, Desk
from .list_server import Lists
from .test_looks import CONTRASTS, NAMELESS, SAME_IN_BOTH, VISIBLE_TEXTS

IDS = re.compile(r"vocab_[0-9a-f]{24}|MAX_HOTWORDS|AM|PM")


@pytest.mark.parametrize(("locale", "foreign"), [("zh-CN", r"[A-Za-z]"), ("de-DE", r"[\u4e00-\u9fff]")])
def test_everything_is_in_the_visitors_language(chrome: Browser, lists: Lists, locale: str, foreign: str) -> None:
    texts: list[str] = []
    with visit(chrome, lists.fake.base, locale=locale) as visitor:
        visitor.page.wait_for_selector("#server:not([data-state=asking])")
        desk = Desk(visitor, lists)
        for tab in BOTH:
            desk = desk.at(tab)
            desk.notice("")
        desk = desk.at("live").enter()
        for tab in BOTH:
            desk = desk.at(tab)
            desk.new("1", "2 3\n4")
            desk.part(".find").fill("4")
            desk.part(".save").click()
            desk.part(".row").wait_for()
            texts += visitor.page.evaluate(VISIBLE_TEXTS)
            desk.part(".name").fill("")
            desk.part(".save").click()
            desk.notice()
            desk.part(".new").click()
            visitor.page.locator("dialog[open]").wait_for()
            texts += visitor.page.evaluate(VISIBLE_TEXTS)
            visitor.page.click("[data-answer=stay]")
            desk.part(".delete").click()
            visitor.page.locator("dialog[open]").wait_for()
            texts += visitor.page.evaluate(VISIBLE_TEXTS)
            visitor.page.click("[data-answer=stay]")
    assert len(texts) > 300
    assert [text for text in texts if re.search(foreign, IDS.sub("", SAME_IN_BOTH.sub("", text)))] == []


def test_the_language_can_be_changed_with_a_list_in_hand(desk: Desk) -> None:
    desk.new("Mine", "a")
    desk.save()
    desk.part(".terms").fill("a\nb")
    desk.visitor.page.click("[data-language=zh]")
    desk.counts("共 2 个词")
    desk.says("尚未保存")
    assert desk.text == "a\nb"
    assert "1 个词 · " in desk.row("Mine").inner_text()
    assert desk.visitor.page.inner_text("#tab-sensitive") == "敏感词"
    desk.part(".new").click()
    desk.answer("discard", "“Mine”有未保存的修改")
    expect(desk.part(".editor-title")).to_have_text("新建")


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_a_phone_shows_the_lists_or_the_one_in_hand(chrome: Browser, lists: Lists, locale: str) -> None:
    lists.store("W" * 64, ["好" * 150, "b"])
    wide = "document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth"
    with visit(chrome, lists.fake.base, locale=locale, viewport=PHONE | {"width": 320}) as visitor:
        page = visitor.page
        page.wait_for_selector("#server:not([data-state=asking])")
        desk = Desk(visitor, lists).at("vocabularies")
        desk.notice("")
        assert page.evaluate(wide), "told that a token is needed"
        page.click("#vocabularies-notice-again")
        expect(page.locator("#token")).to_be_focused()
        visitor.set(token=lists.key)
        page.click("#close-settings")
        desk.at("vocabularies").rows("W" * 64)
        assert page.evaluate(wide), "lists"
        assert desk.part(".editor").is_hidden()
        desk.open("W" * 64)
        assert page.evaluate(wide), "a list"
        assert desk.part(".shelf").is_hidden()
        for part in (".back", ".name", ".terms", ".save", ".delete"):
            box = desk.part(part).bounding_box()
            assert box is not None, part
            assert 0 <= box["x"] <= box["x"] + box["width"] <= 320, part
        desk.part(".delete").click()
        page.locator("dialog[open]").wait_for()
        assert page.evaluate(wide), "a question"
        page.click("[data-answer=stay]")
        desk.part(".terms").fill("c")
        desk.part(".back").click()
        page.click("[data-answer=save]")
        expect(desk.part(".editor")).to_be_hidden()
        expect(desk.row("W" * 64)).to_be_focused()
        assert lists.terms("W" * 64) == ["c"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_every_control_has_a_name(chrome: Browser, lists: Lists, scheme: str) -> None:
    lists.store("Mine", ["a", "b"])
    with visit(chrome, lists.fake.base, color_scheme=scheme) as visitor:
        desk = Desk(visitor, lists).enter()
        desk.open("Mine")
        desk.part(".find").fill("a")
        desk.part(".found button").wait_for()
        desk.part(".name").fill("")
        desk.part(".save").click()
        desk.notice()
        ratios: list[Any] = visitor.page.evaluate(CONTRASTS)
        assert visitor.page.evaluate(NAMELESS) == []
        desk.part(".delete").click()
        visitor.page.locator("dialog[open]").wait_for()
        ratios += visitor.page.evaluate(CONTRASTS)
    assert len(ratios) > 50
    assert [pair for pair in ratios if pair[1] < 4.5] == []


def test_everything_can_be_done_with_the_keyboard(desk: Desk) -> None:
    page = desk.visitor.page
    expect(page.get_by_role("tab")).to_have_text(["Live", "Jobs", "Vocabularies", "Sensitive words"])
    page.locator("#tab-vocabularies").focus()
    for key, name in [("ArrowRight", "sensitive"), ("ArrowRight", "live"), ("End", "sensitive"), ("Home", "live")]:
        page.keyboard.press(key)
        expect(page.locator(f"#tab-{name}")).to_be_focused()
        assert page.locator("[role=tabpanel]:visible").get_attribute("id") == f"view-{name}"
        assert page.locator("[aria-selected=true]").get_attribute("id") == f"tab-{name}"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    tab_to(desk, ".new")
    page.keyboard.press("Space")
    expect(desk.part(".name")).to_be_focused()
    page.keyboard.type("Typed list")
    tab_to(desk, ".terms")
    page.keyboard.type("one\nEnter and space")
    page.keyboard.press("Control+s")
    desk.says("Saved")
    assert desk.lists.terms("Typed list") == ["one", "Enter and space"]
    desk.part(".row").focus()
    tab_to(desk, ".delete")
    page.keyboard.press("Enter")
    page.locator("dialog[open]").wait_for()
    assert page.evaluate("document.activeElement.dataset.answer") == "stay", "the safe answer"
    page.keyboard.press("Escape")
    expect(desk.part(".delete")).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("dialog[open]").wait_for()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    desk.rows()
    expect(desk.part(".new")).to_be_focused()
    page.locator("body").press("Space")
    assert page.evaluate("document.body.dataset.state") == "idle", "no microphone where none is seen"


def tab_to(desk: Desk, selector: str) -> None:
    """Press the tab key until the part has the focus."""
    wanted: Locator = desk.part(selector)
    for _ in range(30):
        if wanted.evaluate("node => document.activeElement === node"):
            return
        desk.visitor.page.keyboard.press("Tab")
    raise AssertionError(f"the tab key does not get to {selector}")


@pytest.mark.parametrize("protocol", ["aliyun", "qwen"])
def test_a_stored_vocabulary_is_listened_for(desk: Desk, protocol: str) -> None:
    stored = desk.lists.store("Mine", ["a"])
    visitor = desk.visitor
    desk.at("sensitive").at("vocabularies").rows("Mine")
    desk.at("live")
    visitor.set(protocol=protocol, vocabulary=stored, hotwords="Burgess")
    visitor.record(1)
    start = desk.lists.fake.starts[-1]
    assert (start["vocabulary_id"], start["hotwords"]) == (stored, ["Burgess"])
    desk = desk.at("vocabularies")
    desk.open("Mine")
    desk.part(".delete").click()
    desk.answer("delete", "Delete “Mine”?")
    desk.rows()
    desk.at("live")
    assert visitor.page.locator("#vocabulary option").all_inner_texts() == ["None"]
    visitor.record(1)
    assert "vocabulary_id" not in desk.lists.fake.starts[-1]


def test_a_vocabulary_goes_with_an_upload_but_not_with_a_protocol_that_has_no_word_for_it(desk: Desk) -> None:
    stored = desk.lists.store("Mine", ["a"])
    visitor = desk.visitor
    desk.at("live").at("vocabularies").rows("Mine")
    desk.at("live")
    visitor.set(vocabulary=stored)
    visitor.page.set_input_files("#file", {"name": "recording.wav", "mimeType": "audio/wav", "buffer": b"sound"})
    visitor.page.click("#file-upload")
    visitor.heard("Hello there.")
    assert desk.lists.fake.uploads[-1]["vocabulary_id"] == stored
    visitor.set(protocol="funasr")
    assert visitor.page.is_disabled("#vocabulary"), "it has no word for that"
    visitor.record(1)
    assert "vocabulary_id" not in desk.lists.fake.starts[-1]


def test_a_take_goes_on_while_lists_are_looked_at(desk: Desk) -> None:
    desk.at("live")
    visitor = desk.visitor
    visitor.page.click("#record")
    visitor.state("listening")
    desk.at("vocabularies")
    desk.part(".new").click()
    visitor.wait("() => document.querySelectorAll('.sentence:not(.pending)').length === 2")
    desk.at("live")
    visitor.page.click("#record")
    visitor.state("idle")
    assert visitor.sentences == ["Good morning, everybody.", "Shall we begin?"]
