"""Stored lists on the page: what goes wrong, what is hostile, and that nothing typed is lost."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Request, expect

from .browser import visit
from .desk import BOTH, Desk
from .fake_server import fake_server
from .list_server import KEYS, Lists, storing

MARKUP = "<img src=/x onerror=\"document.title='taken'\"> & <b>bold</b>"


@pytest.mark.parametrize("tab", BOTH)
def test_markup_is_text(desk: Desk, tab: str) -> None:
    desk = desk.at(tab)
    desk.new(MARKUP, f"{MARKUP}\n</textarea><script>document.title='taken'</script>")
    desk.save()
    desk.rows(MARKUP)
    desk.part(".find").fill("<b>")
    expect(desk.part(".found button")).to_have_text([MARKUP])
    desk.part(".delete").click()
    desk.answer("stay", f"Delete “{MARKUP}”?")
    desk.at("live")
    assert desk.visitor.page.locator("main img, .row b *, .found button *, dialog h2 *").count() == 0
    assert desk.visitor.page.title() == "Speech server – live"
    assert len(desk.lists.terms(MARKUP, desk.path)) == 2


def test_names_that_cannot_be_are_told_and_stay_to_be_mended(desk: Desk) -> None:
    desk.lists.store("Taken", ["a"])
    desk.new("  ", "term")
    desk.part(".save").click()
    assert desk.notice() == "The list needs a name"
    expect(desk.part(".name")).to_be_focused()
    desk.part(".name").fill("tAKEN")
    desk.part(".save").click()
    desk.visitor.page.wait_for_selector("#vocabularies-editor-notice-title:text-is('Another list has this name')")
    desk.part(".name").fill("x" * 65)
    desk.part(".save").click()
    desk.visitor.page.wait_for_selector("#vocabularies-editor-notice-title:text-is('The server refused it')")
    assert "64 characters" in desk.visitor.page.inner_text("#vocabularies-editor-notice-detail")
    desk.part(".name").fill("Free")
    desk.part(".terms").fill(" \n ")
    desk.part(".save").click()
    desk.visitor.page.wait_for_selector("#vocabularies-editor-notice-title:text-is('The list needs a term')")
    desk.part(".terms").fill("term")
    desk.save()
    assert desk.part(".notice").last.is_hidden()
    assert desk.lists.terms("Free") == ["term"]


def test_unsaved_changes_are_asked_about(desk: Desk) -> None:
    desk.lists.store("First", ["a"])
    desk.lists.store("Second", ["b"])
    desk.at("live").at("vocabularies").open("First")
    question = "“First” has unsaved changes"
    desk.part(".terms").fill("a\nc")
    desk.row("Second").click()
    desk.answer("stay", question)
    assert desk.text == "a\nc"
    desk.part(".new").click()
    desk.visitor.page.locator("dialog[open]").wait_for()
    desk.visitor.page.keyboard.press("Escape")
    assert desk.text == "a\nc"
    desk.row("Second").click()
    desk.answer("save", question)
    desk.opened("Second")
    assert desk.lists.terms("First") == ["a", "c"]
    desk.part(".name").fill("Third")
    desk.row("First").click()
    desk.answer("discard", "“Third” has unsaved changes")
    desk.opened("First")
    assert desk.lists.names() == ["First", "Second"]
    desk.part(".terms").fill("z")
    desk.part(".discard").click()
    assert desk.text == "a\nc"
    desk.row("Second").click()
    desk.opened("Second")


def test_what_cannot_be_saved_is_not_left(desk: Desk) -> None:
    desk.lists.store("Taken", ["a"])
    desk.at("live").at("vocabularies").rows("Taken")
    desk.new("Taken", "mine")
    desk.row("Taken").click()
    desk.answer("save", "“Taken” has unsaved changes")
    assert desk.notice() == "Another list has this name"
    assert desk.text == "mine"


def test_unsaved_changes_outlive_other_tabs_and_hold_the_page(desk: Desk) -> None:
    desk.new("Mine", "term")
    page = desk.visitor.page
    desk.at("sensitive")
    assert page.get_attribute("#tab-vocabularies", "data-unsaved") == ""
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.once("dialog", stay)
    page.evaluate("setTimeout(() => { location.href = '/docs'; })")
    with page.expect_event("dialog"):
        pass
    desk.at("vocabularies")
    assert (asked, desk.text) == (["beforeunload"], "term")
    desk.save()
    assert page.get_attribute("#tab-vocabularies", "data-unsaved") is None
    page.reload()  # unasked: a question would hold it
    desk.visitor.page.wait_for_selector("body[data-ready]")
    assert page.get_attribute("#tab-vocabularies", "aria-selected") == "true", "the address names the tab"


def test_a_list_that_is_gone_can_be_saved_anew(desk: Desk) -> None:
    deleted = desk.lists.store("Mine", ["a"])
    desk.at("live").at("vocabularies").open("Mine")
    desk.lists.delete(deleted)
    desk.part(".terms").fill("a\nb")
    desk.part(".save").click()
    assert desk.notice() == "This list is not on the server any more"
    desk.rows()
    assert desk.text == "a\nb"
    desk.save()
    assert desk.lists.terms("Mine") == ["a", "b"]


def test_somebody_elses_changes_are_not_replaced_unasked(desk: Desk) -> None:
    changed = desk.lists.store("Ours", ["a"])
    desk.at("live").at("vocabularies").open("Ours")
    desk.visitor.page.wait_for_timeout(1100)  # the store tells seconds apart
    desk.lists.change(changed, hotwords=["theirs"])
    desk.part(".terms").fill("mine")
    desk.part(".save").click()
    desk.answer("stay", "“Ours” was changed meanwhile")
    assert desk.lists.terms("Ours") == ["theirs"]
    desk.part(".save").click()
    desk.answer("overwrite", "“Ours” was changed meanwhile")
    desk.says("Saved")
    assert desk.lists.terms("Ours") == ["mine"]


def test_a_wrong_token_is_told_and_the_way_to_it_shown(chrome: Browser, lists: Lists) -> None:
    lists.store("Mine", ["a"])
    with visit(chrome, lists.fake.base) as visitor:
        page = visitor.page
        page.wait_for_selector("#server:not([data-state=asking])")
        desk = Desk(visitor, lists).at("vocabularies")
        assert desk.notice("") == "The server does not know this token"
        page.click("#vocabularies-notice-again")
        expect(page.locator("#token")).to_be_focused()
        for wrong in ("wrong", "钥匙"):
            visitor.set(token=wrong)
            desk.at("vocabularies")
            assert desk.notice("") == "The server does not know this token"
            desk.at("live")
        desk.enter()
        desk.rows("Mine")
        assert page.is_hidden("#vocabularies-notice")


def test_another_tokens_lists_are_not_shown(desk: Desk) -> None:
    desk.lists.store("Mine", ["a"])
    desk.at("live").at("vocabularies").open("Mine")
    desk.at("live")
    desk.visitor.set(token=KEYS[-1])
    desk.at("vocabularies").rows()
    assert desk.part(".editor-form").is_hidden()
    assert desk.visitor.page.locator("#vocabulary option").all_inner_texts() == ["None"]


def test_the_token_is_in_no_address(desk: Desk) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    desk.visitor.page.on("request", note)
    desk.new("Mine", "a")
    desk.save()
    desk.part(".delete").click()
    desk.answer("delete", "Delete “Mine”?")
    desk.rows()
    desk.at("sensitive")
    assert len(asked) >= 3
    assert [url for url in [*asked, desk.visitor.page.url] if desk.lists.key in url] == []


def test_a_server_that_has_gone_is_told_and_nothing_is_lost(chrome: Browser, tmp_path: Path) -> None:
    with ExitStack() as running:
        server = running.enter_context(fake_server(lists=storing(tmp_path)))
        lists = Lists(server, KEYS[0])
        lists.store("Mine", ["a"])
        lists.http.close()
        with visit(chrome, server.base) as visitor:
            desk = Desk(visitor, lists).enter()
            desk.open("Mine")
            desk.part(".terms").fill("a\nb")
            running.close()
            desk.part(".save").click()
            assert desk.notice() == "The server does not answer"
            assert desk.text == "a\nb"
            desk.at("live").at("vocabularies")
            assert desk.notice("") == "The server does not answer"
            desk.rows("Mine")


def test_a_question_asked_at_once_after_another_is_not_answered_by_that(desk: Desk) -> None:
    """Browsers tell that a dialog has closed only after a while."""
    desk.lists.store("Mine", ["a"])
    desk.at("live").at("vocabularies").open("Mine")
    desk.part(".delete").evaluate(
        """(button) => {
            button.click();
            return Promise.resolve().then(() => {
                document.querySelector("dialog[open]").close();
                button.click();
            });
        }"""
    )
    desk.answer("delete", "Delete “Mine”?")
    desk.rows()
    assert desk.lists.names() == []
