"""What `start.py transcribe` writes, where, and in which order."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest

from app.cli.transcribing.layouts import Layout, drawn, read_layouts
from app.cli.transcribing.outputs import Folder, StandardOutput
from app.cli.transcribing.sources import Source
from app.domain.errors import EngineFailure, InvalidParameter
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Transcript, Word
from app.protocols.rendering import spk


def source(name: str, *, listed: bool = False, stem: str | None = None) -> Source:
    return Source(name, "file", f"/{name}", name if stem is None else stem, listed)


def written(sources: Sequence[Source], layout: Layout, texts: dict[int, str | None]) -> str:
    said: list[str] = []
    output = StandardOutput(sources, layout, said.append)
    for number, text in texts.items():
        output.give(number, None if text is None else {layout: text})
    output.finish()
    return "".join(said)


def heard(*said: tuple[str, int | None], language: str = "en") -> Transcript:
    segments = tuple(
        Segment(
            float(place),
            place + 0.9,
            text,
            words=(Word(text, float(place), place + 0.9),),
            speaker=None if number is None else Speaker(number),
        )
        for place, (text, number) in enumerate(said)
    )
    return Transcript(" ".join(text for text, _ in said), language, float(len(said)), "able", segments)


# --- standard output --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_texts_come_in_the_order_of_the_recordings(order: tuple[int, ...]) -> None:
    texts: dict[int, str | None] = {number: f"{number} is said\n" for number in order}
    sources = [source(name, listed=True) for name in "abc"]
    assert written(sources, "txt", texts) == "a 0 is said\nb 1 is said\nc 2 is said\n"


def test_what_comes_in_its_turn_is_written_at_once() -> None:
    said: list[str] = []
    output = StandardOutput([source(name, listed=True) for name in "abc"], "txt", said.append)
    output.give(1, {"txt": "two\n"})
    assert said == []
    output.give(0, {"txt": "one\n"})
    assert said == ["a one\n", "b two\n"]


def test_one_recording_has_no_heading_several_have() -> None:
    assert written([source("a.wav")], "txt", {0: "Hello.\n"}) == "Hello.\n"
    both = written([source("a.wav"), source("b.wav")], "txt", {0: "Hello.\n", 1: "Bye.\n"})
    assert both == "==> a.wav <==\nHello.\n\n==> b.wav <==\nBye.\n"


def test_a_list_gives_the_lines_that_scoring_tools_take() -> None:
    sources = [source(name, listed=True) for name in ("utt1", "utt2", "utt3")]
    assert written(sources, "txt", {0: "one\n two\n", 1: "", 2: None}) == "utt1 one two\nutt2\n"


def test_json_of_several_is_a_line_each_with_its_name() -> None:
    texts: dict[int, str | None] = {1: '{"text":"二"}\n', 0: '{"text":"one"}\n'}
    lines = written([source("a.wav"), source("b.wav")], "json", texts).splitlines()
    assert lines == ['{"recording":"a.wav","text":"one"}', '{"recording":"b.wav","text":"二"}']
    assert written([source("a.wav")], "json", {0: '{"text":"one"}\n'}) == '{"text":"one"}\n'


def test_what_is_finished_is_written_although_an_earlier_one_never_is() -> None:
    sources = [source(name, listed=True) for name in "abcd"]
    assert written(sources, "txt", {3: "three\n", 1: "one\n"}) == "b one\nd three\n"


def test_a_name_cannot_command_a_terminal() -> None:
    names = source("\x1b]0;x\n\u2028\u202eb\udcff"), source("b")
    assert written(names, "txt", {0: "Hello.\n", 1: "Bye.\n"}).startswith("==> ?]0;x???b? <==\nHello.\n")


@pytest.mark.parametrize("name", ["会议\u3000一", "no\u00a0break", "zero\u200dwidth", "\ue000 private", "e\u0301"])
def test_any_other_name_is_told_as_it_is(name: str) -> None:
    assert written([source(name), source("b")], "txt", {0: "Hello.\n"}) == f"==> {name} <==\nHello.\n"
    one = name.replace(" ", "_")
    assert written([source(one, listed=True)], "txt", {0: "Hello.\n"}) == f"{one} Hello.\n"


def test_json_has_the_real_name() -> None:
    (line,) = written([source("\x1b\u202e\n\udcff"), source("b")], "json", {0: '{"text":"one"}\n'}).splitlines()
    assert json.loads(line)["recording"] == "\x1b\u202e\n\ufffd"


def test_two_lists_cannot_share_a_name() -> None:
    with pytest.raises(InvalidParameter, match="Two lists have a recording called utt1"):
        written([source("utt1", listed=True), source("utt1", listed=True)], "txt", {})


# --- a folder ---------------------------------------------------------------------------------------------------------


def test_a_file_for_each_recording_and_layout(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "new" / "out", [source("a"), source("deep/b")], ("txt", "srt"), force=False)
    assert not (tmp_path / "new").exists(), "looking changes nothing"
    folder.give(1, {"txt": "二\n", "srt": "1\n"})
    folder.give(0, None)
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {"new/out/deep/b.txt", "new/out/deep/b.srt"}
    assert (tmp_path / "new/out/deep/b.txt").read_text("utf-8") == "二\n"


def test_nothing_is_replaced_unless_it_is_to_be(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(InvalidParameter, match=r"1 of the files to write are there already: .*a\.txt\. --force"):
        Folder(tmp_path, [source("a"), source("b")], ("txt",), force=False)
    Folder(tmp_path, [source("a")], ("txt",), force=True).give(0, {"txt": "theirs\n"})
    assert (tmp_path / "a.txt").read_text() == "theirs\n"


def test_nor_is_what_came_meanwhile(tmp_path: Path) -> None:
    folder = Folder(tmp_path, [source("a")], ("txt",), force=False)
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(InvalidParameter, match=r"a\.txt cannot be written: it is there already"):
        folder.give(0, {"txt": "theirs\n"})
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"], "no half of a file stays behind"


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidParameter, match=r"--output .*/file/out: Not a directory"):
        Folder(tmp_path / "file" / "out", [source("a")], ("txt",), force=False).make()
    Folder(tmp_path / "new" / "out", [source("a")], ("txt",), force=False).make()
    assert list((tmp_path / "new" / "out").iterdir()) == []


def test_a_name_that_no_file_can_have_is_that_recordings_failure(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    sources = [source("x" * 300), source("folder"), source("a")]
    folder = Folder(tmp_path, sources, ("txt",), force=True)
    with pytest.raises(InvalidParameter, match="cannot be written: File name too long"):
        folder.give(0, {"txt": "0\n"})
    with pytest.raises(InvalidParameter, match="cannot be written: Is a directory"):
        folder.give(1, {"txt": "1\n"})
    folder.give(2, {"txt": "2\n"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "folder.txt"]


def test_a_folder_that_is_gone_or_full_is_everybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = Folder(tmp_path, [source("a")], ("txt",), force=False)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(EngineFailure, match="cannot be written: No space left"):
        folder.give(0, {"txt": "0\n"})
    assert list(tmp_path.iterdir()) == []


def test_two_recordings_of_one_name_are_refused(tmp_path: Path) -> None:
    twins = [source("x/a.wav", stem="a"), source("y/A.mp3", stem="A")]
    with pytest.raises(InvalidParameter, match=r"x/a\.wav and y/A\.mp3 would both be written to"):
        Folder(tmp_path, twins, ("txt",), force=True)


@pytest.mark.parametrize("name", ["../escaped", "/absolute", "a/b", "..", "a\\b", "a\0b"])
def test_a_list_cannot_write_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidParameter, match="cannot be the name of a file"):
        Folder(tmp_path, [source(name, listed=True)], ("txt",), force=True)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InvalidParameter, match="a folder is expected"):
        Folder(tmp_path / "out", [source("a")], ("txt",), force=True)


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_layouts_by_their_names() -> None:
    assert read_layouts("srt, TXT,srt") == ("srt", "txt")
    with pytest.raises(InvalidParameter, match="--format docx: it is none of txt, spk, srt, vtt, json"):
        read_layouts("txt,docx")


def test_who_says_what_is_a_line_for_each_sentence() -> None:
    talk = heard(("Hello.", 0), ("Hi\nthere.", 1), ("", 1), ("Who?", None))
    assert drawn(talk, "spk", None, words=True) == "Speaker 0: Hello.\nSpeaker 1: Hi there.\nWho?\n"
    assert drawn(heard(("你好。", 0), language="zh"), "spk", None, words=True) == "发言人 0: 你好。\n"
    assert drawn(talk, "spk", "zh", words=True).startswith("发言人 0: Hello.\n")
    assert spk(heard(), str) == ""


def test_a_named_speaker_is_called_by_name() -> None:
    named = Segment(0.0, 1.0, "Hello.", speaker=Speaker(0, "Mary: the\nfirst"))
    talk = Transcript("Hello.", "en", 1.0, "able", (named,))
    assert drawn(talk, "spk", None, words=True) == "Mary: the first: Hello.\n"


def test_the_other_layouts_are_those_of_the_api() -> None:
    talk = heard(("Hello.", 0), ("Hi.", 1))
    assert drawn(talk, "txt", None, words=True) == "Hello. Hi.\n"
    assert "00:00:01,000 --> 00:00:01,900\n[Speaker2] Hi.\n" in drawn(talk, "srt", None, words=True)
    assert drawn(talk, "vtt", "zh", words=True).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.900\n[说话人1] Hello.")
    body = json.loads(drawn(talk, "json", None, words=True))
    assert [(one["text"], one["speaker"]) for one in body["segments"]] == [("Hello.", "Speaker1"), ("Hi.", "Speaker2")]
    assert [one["word"] for one in body["words"]] == ["Hello", "Hi"]
    assert "words" not in json.loads(drawn(talk, "json", None, words=False))
