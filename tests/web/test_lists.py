"""Stored lists on the page: made, changed, found, deleted, carried in and out."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from app.pipeline.hotwords.parsing import parse_hotwords

from .desk import BOTH, Desk


@pytest.mark.parametrize("tab", BOTH)
def test_a_list_is_made_changed_renamed_and_deleted(desk: Desk, tab: str) -> None:
    desk = desk.at(tab)
    expect(desk.part(".shelf-state")).to_have_text("There are none yet.")
    desk.new("Staff", "  Anthony Burgess \n\n王小明\n")
    desk.says("Not saved yet")
    desk.save()
    assert desk.lists.terms("Staff", desk.path) == ["Anthony Burgess", "王小明"]
    assert desk.text == "Anthony Burgess\n王小明"
    expect(desk.row("Staff").locator("span")).to_contain_text("Terms: 2 · ")
    assert desk.part(".id").inner_text() == desk.lists.show("Staff", desk.path)["id"]

    desk.part(".name").fill("Staff of 2026")
    desk.part(".terms").fill("王小明\n李雷\nHan Meimei")
    desk.save()
    desk.rows("Staff of 2026")
    assert desk.lists.terms("Staff of 2026", desk.path) == ["王小明", "李雷", "Han Meimei"]
    expect(desk.row("Staff of 2026").locator("span")).to_contain_text("Terms: 3 · ")

    desk.part(".delete").click()
    desk.answer("stay", "Delete “Staff of 2026”?")
    assert desk.lists.names(desk.path) == ["Staff of 2026"]
    desk.part(".delete").click()
    desk.answer("delete", "Delete “Staff of 2026”?")
    desk.rows()
    assert desk.lists.names(desk.path) == []
    assert desk.part(".editor-form").is_hidden()


def test_only_what_was_changed_is_sent(desk: Desk) -> None:
    """A name alone: the terms' weights stay as exact as they were."""
    desk.lists.store("Names", [{"text": "a", "weight": 7}, {"text": "b", "weight": 3}, {"text": "c", "weight": 3}])
    desk.at("live").at("vocabularies").open("Names")
    desk.part(".name").fill("Other names")
    with desk.visitor.page.expect_request(lambda request: request.method == "PUT") as sent:
        desk.save()
    assert sent.value.post_data_json == {"name": "Other names"}
    assert desk.lists.weights("Other names") == {"a": 2.333, "b": 1.0, "c": 1.0}


def test_weights_stay_what_they_are(desk: Desk) -> None:
    desk.new("Weighted", "阿里巴巴 20\nQwen ASR 10\n王小明 10")
    desk.counts("Terms: 3")
    assert desk.weighted
    desk.save()
    assert desk.lists.weights("Weighted") == {"阿里巴巴": 2.0, "Qwen ASR": 1.0, "王小明": 1.0}
    assert desk.text == "阿里巴巴 2\nQwen ASR 1\n王小明 1"
    desk.part(".terms").fill(desk.text + "\n李雷")  # as usual in this list
    desk.save()
    assert desk.lists.weights("Weighted") == {"阿里巴巴": 2.0, "Qwen ASR": 1.0, "王小明": 1.0, "李雷": 1.0}


def test_numbers_that_belong_to_terms_stay_with_them(desk: Desk) -> None:
    desk.new("Models", "GPT 4\nKubernetes")
    desk.counts("Terms: 2. The number at the end of 1 of them belongs to the term.")
    assert not desk.weighted
    desk.save()
    assert desk.lists.terms("Models") == ["GPT 4", "Kubernetes"]
    desk.new("More models", "GPT 4\nClaude 3")
    desk.counts("Terms: 2")
    assert desk.weighted, "as the server reads it"
    desk.part(".weighted").uncheck()
    desk.save()
    assert desk.lists.terms("More models") == ["GPT 4", "Claude 3"]
    assert desk.text == "GPT 4 1\nClaude 3 1", "so that it is not read otherwise the next time"
    desk.part(".name").fill("Renamed")
    desk.save()
    assert desk.lists.terms("Renamed") == ["GPT 4", "Claude 3"]


def test_sensitive_words_have_no_weights(desk: Desk) -> None:
    desk = desk.at("sensitive")
    assert desk.part(".weighted-switch").is_hidden()
    desk.new("Codes", "area 51\nroute 66")
    desk.counts("Terms: 2")
    desk.save()
    assert desk.lists.terms("Codes", "sensitive_words") == ["area 51", "route 66"]
    assert desk.text == "area 51\nroute 66"


TEXT = "北京\n上海\n"
FILES = {
    "utf-8": TEXT.encode(),
    "with a mark": TEXT.encode("utf-8-sig"),
    "gb18030": TEXT.encode("gb18030"),
    "utf-16": TEXT.encode("utf-16"),
    "commas": "北京,上海".encode(),
}


def test_a_dropped_text_file_becomes_a_new_list(desk: Desk) -> None:
    for name, content in FILES.items():
        desk.drop(**{name: content})
        desk.opened(name)
        assert desk.text == "北京\n上海", name
        assert name not in desk.lists.names(), "it is looked at first"
        desk.save()
        assert desk.lists.terms(name) == ["北京", "上海"]
        desk.part(".delete").click()
        desk.answer("delete", f"Delete “{name}”?")


def test_files_are_added_to_the_list_in_hand(desk: Desk) -> None:
    desk.lists.store("Cities", ["Paris"])
    desk.at("live").at("vocabularies").open("Cities")
    desk.drop(one=b"Rome\r\nOslo\r\n", two=b"Berne")
    desk.visitor.wait("() => document.querySelector('#view-vocabularies .terms').value.endsWith('Berne')")
    assert desk.text == "Paris\nRome\nOslo\nBerne"
    assert desk.lists.terms("Cities") == ["Paris"]
    with desk.visitor.page.expect_file_chooser() as choosing:
        desk.part(".import").click()
    choosing.value.set_files({"name": "x.csv", "mimeType": "text/csv", "buffer": b"Lima,2\nQuito,1\n"})
    desk.visitor.wait("() => document.querySelector('#view-vocabularies .terms').value.endsWith('Quito 1')")
    assert desk.text == "Paris\nRome\nOslo\nBerne\nLima 2\nQuito 1", "a column of weights stays beside its terms"


def test_what_is_no_text_is_told_and_changes_nothing(desk: Desk) -> None:
    desk.new("Cities", "Paris")
    desk.drop(picture=b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    assert desk.notice() == "This file is no text"
    assert (desk.text, desk.part(".name").input_value()) == ("Paris", "Cities")


def test_a_recording_dropped_on_lists_is_not_opened_as_one(desk: Desk) -> None:
    desk.drop(recording=b"RIFF\x00\x00\x00\x00WAVE")
    assert desk.notice("") == "This file is no text"
    assert desk.visitor.page.locator("#file-card").is_hidden()


def test_an_exported_file_is_read_by_the_server_as_what_it_was(desk: Desk) -> None:
    weighted = "阿里巴巴 20\nQwen ASR\n王小明 10"
    for place, text in enumerate(["Qwen ASR\n通义千问", weighted, "GPT 4 1\nClaude 3 1", "GPT 4\nKubernetes"]):
        desk.new(f"a/b: {place}", text)
        if text is weighted:
            desk.part(".weighted").check()
        desk.save()
        name, content = desk.exported()
        assert name == f"a_b_ {place}.txt"
        read = {hotword.text: round(hotword.weight, 3) for hotword in parse_hotwords(content, param="", most=10)}
        assert read == desk.lists.weights(f"a/b: {place}")


def test_lists_and_terms_are_found_by_a_part_of_them(desk: Desk) -> None:
    for name in ("Cities of Asia", "Cities of Europe", "Rivers"):
        desk.lists.store(name, ["Oslo", "Tokyo", "Kyoto"])
    desk.at("live").at("vocabularies").rows("Cities of Asia", "Cities of Europe", "Rivers")
    desk.part(".filter").fill("eUr")
    desk.rows("Cities of Europe")
    desk.part(".filter").fill("Lakes")
    desk.rows()
    assert desk.part(".shelf-state").inner_text() == "None is called that."
    desk.part(".filter").fill("")
    desk.open("Rivers")
    desk.part(".find").fill("KYO")
    expect(desk.part(".found-count")).to_have_text("Found: 2")
    assert desk.part(".found button").all_inner_texts() == ["Tokyo", "Kyoto"]
    desk.part(".found button").nth(1).click()
    assert chosen(desk) == "Kyoto"
    desk.part(".find").fill("tok")
    desk.part(".find").press("Enter")
    assert chosen(desk) == "Tokyo"


def chosen(desk: Desk) -> str:
    """What is selected in the terms, which have the focus."""
    return str(
        desk.part(".terms").evaluate(
            "area => document.activeElement === area && area.value.slice(area.selectionStart, area.selectionEnd)"
        )
    )


def test_ten_thousand_terms_do_not_freeze_the_page(desk: Desk) -> None:
    terms = [f"term number {'abcdefghij'[number % 10]}{number}x" for number in range(10_000)]
    desk.lists.store("Many", terms)
    page = desk.visitor.page
    page.evaluate(
        """() => { window.longest = 0; new PerformanceObserver((list) => { for (const { duration } of list.getEntries())
            window.longest = Math.max(window.longest, duration); }).observe({ type: "longtask" }); }"""
    )
    desk.at("live").at("vocabularies").open("Many")
    desk.counts("Terms: 10000")
    desk.part(".find").fill("9876")
    expect(desk.part(".found button")).to_have_text(["term number g9876x"])
    desk.part(".found button").click()
    assert chosen(desk) == "term number g9876x"
    page.keyboard.type("changed")
    assert desk.part(".terms").evaluate("area => area.scrollTop") > 9000 * 22, "the line is in view"
    desk.part(".find").fill("term")
    expect(desk.part(".found-count")).to_have_text("Found: 9999")
    assert desk.part(".found button").count() == 50
    desk.save()
    assert desk.lists.terms("Many") == [*terms[:9876], "changed", *terms[9877:]]
    assert page.evaluate("window.longest") < 1500, "milliseconds, on a busy machine"
    desk.drop(rest=b"one more")
    desk.counts("Terms: 10001")
    desk.part(".save").click()
    assert desk.notice() == "The server refused it"
    assert "10,000" in page.inner_text("#vocabularies-editor-notice-detail")
    assert desk.text.endswith("one more"), "nothing is lost"
