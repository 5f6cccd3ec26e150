"""What `start.py transcribe` is asked to recognise, and to listen for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from av.format import ContainerFormat

from app.audio.suffixes import SUFFIXES, SUFFIXES_OF
from app.audio.worker import CONTAINERS
from app.cli.transcribing.lengths import lengths
from app.cli.transcribing.sources import find
from app.cli.transcribing.terms import read_hotwords, read_sensitive
from app.domain.errors import InvalidParameter
from tools import recordings

Listing = Callable[[str], str]


@pytest.fixture
def listing(tmp_path: Path) -> Listing:
    """Writes a list beside a recording called here.wav."""
    (tmp_path / "here.wav").write_bytes(b"sound")

    def write(text: str) -> str:
        path = tmp_path / "wav.scp"
        path.write_text(text, "utf-8")
        return str(path)

    return write


# --- recordings -------------------------------------------------------------------------------------------------------


def test_files_keep_their_order_and_any_name(tmp_path: Path) -> None:
    for name in ("b.wav", "a", "c.txt"):
        (tmp_path / name).write_bytes(b"sound")
    said = [str(tmp_path / name) for name in ("b.wav", "a", "c.txt")]
    found = find(said)
    assert [source.name for source in found] == said
    assert [source.stem for source in found] == ["b", "a", "c"]
    assert {source.kind for source in found} == {"file"}


def test_a_folder_gives_its_recordings_by_name_and_nothing_else(tmp_path: Path) -> None:
    for name in ("z.WAV", "notes.txt", "deep/er/a.mp3", "._z.wav", ".cache/b.wav", "deep/b.opus"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"sound")
    found = find([str(tmp_path)])
    assert [source.name for source in found] == ["deep/b.opus", "deep/er/a.mp3", "z.WAV"]
    assert [source.stem for source in found] == ["deep/b", "deep/er/a", "z"]


def test_every_container_that_is_decoded_has_its_names() -> None:
    assert list(SUFFIXES_OF) == CONTAINERS.split(",")
    # Images, subtitles, playlists and manifests share formats with sound.
    no_sound = {*("avif", "heic", "heif", "mks", "apl", "mac", "ism", "isma", "ismv", "psp")}
    known = {suffix for name in SUFFIXES_OF for suffix in ContainerFormat(name, "r").extensions}
    assert {f".{suffix}" for suffix in known - no_sound} <= SUFFIXES


def test_the_tool_that_plays_recordings_finds_the_same() -> None:
    assert recordings.SUFFIXES is SUFFIXES


def test_folders_that_links_lead_to_are_entered_once(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for name in ("inside/z/a.mpg", "inside/b.avi", "outside/deep/c.w64"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"sound")
    (inside / "a").symlink_to(inside / "z")
    (inside / "linked").symlink_to(outside)
    (outside / "back").symlink_to(inside)
    (inside / "z" / "up").symlink_to(inside)
    (inside / "gone.wav").symlink_to("nowhere")
    assert [source.name for source in find([str(inside)])] == ["b.avi", "gone.wav", "linked/deep/c.w64", "z/a.mpg"]


def test_a_list_names_recordings_beside_it_anywhere_and_at_addresses(listing: Listing, tmp_path: Path) -> None:
    text = f"one here.wav\r\n\ntwo\t{tmp_path}/two words.wav \nthree https://example.com/a.wav?signature=b\n"
    one, two, three = find([listing("\ufeff" + text)])
    assert (one.name, one.kind, one.place, one.listed) == ("one", "file", str(tmp_path / "here.wav"), True)
    assert (two.name, two.place) == ("two", str(tmp_path / "two words.wav"))
    assert (three.name, three.kind, three.place) == ("three", "address", "https://example.com/a.wav?signature=b")


@pytest.mark.parametrize("command", ["sox here.wav -t wav - |", "| cat here.wav", "touch ran |"])
def test_a_list_is_never_executed(listing: Listing, tmp_path: Path, command: str) -> None:
    with pytest.raises(
        InvalidParameter, match=r"wav\.scp, line 2: it is a command, and commands of a list are not run"
    ):
        find([listing(f"one here.wav\ntwo {command}\n")])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("one here.wav\ntwo\n", "line 2: a name and the path"),
        ("one here.wav\none here.wav\n", "line 2: one is in line 1 already"),
        (" \n", "no recordings in this list"),
    ],
)
def test_a_list_with_a_fault_is_told_by_its_line(listing: Listing, text: str, told: str) -> None:
    with pytest.raises(InvalidParameter, match=told):
        find([listing(text)])


def test_a_list_in_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_bytes("语音 here.wav".encode("gb18030"))
    with pytest.raises(InvalidParameter, match="it is not UTF-8"):
        find([str(tmp_path / "wav.scp")])


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match=r"nothing\.wav: there is no such file"):
        find(["nothing.wav"])
    with pytest.raises(InvalidParameter, match="there are no recordings in this folder"):
        find([str(tmp_path)])
    with pytest.raises(InvalidParameter, match="A recording's name is empty"):
        find([""])
    with pytest.raises(InvalidParameter, match="File name too long"):
        find(["x" * 300])


def test_what_is_no_regular_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for place in (os.devnull, str(tmp_path / "pipe.wav")):
        with pytest.raises(InvalidParameter, match="it is no regular file; - takes a recording from standard input"):
            find([place])


def test_standard_input_can_be_read_once() -> None:
    (source,) = find(["-"])
    assert source.kind == "stdin"
    with pytest.raises(InvalidParameter, match="once"):
        find(["-", "-"])


def test_what_is_shown_of_an_address_is_not_its_query() -> None:
    (source,) = find(["https://example.com/calls/one.mp3?token=secret#part"])
    assert (source.name, source.stem) == ("https://example.com/calls/one.mp3", "one")
    assert source.place.endswith("?token=secret#part")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:hush@example.com:8443/one.mp3", "https://example.com:8443/one.mp3"),
        ("HTTP://us@er:hu@sh@[::1]/a@b.wav#part", "http://[::1]/a@b.wav"),
    ],
)
def test_nor_are_a_user_and_a_password(address: str, shown: str) -> None:
    (source,) = find([address])
    assert (source.name, source.place, source.kind) == (shown, address, "address")


def test_an_address_that_is_none() -> None:
    with pytest.raises(InvalidParameter, match="address cannot be read") as caught:
        find(["http://hush@[x/a.wav"])
    assert "hush" not in caught.value.message


def test_lengths_are_those_of_the_headers(shared_audio: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    (tmp_path / "bare.pcm").write_bytes(bytes(48_000))
    # What names other files is no container that the decoder takes; nor is it opened here.
    (tmp_path / "other.wav").write_text(f"ffconcat version 1.0\nfile '{shared_audio / 'en_jfk.flac'}'\n")
    files = ("broken.wav", "bare.pcm", "other.wav")
    names = [shared_audio / "en_jfk.flac", *(tmp_path / name for name in files), shared_audio / "en_jfk.flac"]
    found = dict(lengths(find([str(name) for name in names])))
    assert found == {0: pytest.approx(11.0, abs=0.01), 2: 1.5, 4: found[0]}, "recognition will tell what is wrong"


# --- hotwords ---------------------------------------------------------------------------------------------------------


def terms(tmp_path: Path, text: str | bytes, most: int = 100) -> dict[str, float]:
    path = tmp_path / "hotwords.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {one.text: one.weight for one in read_hotwords(path, most=most)}


def test_a_term_a_line_with_a_weight_or_without(tmp_path: Path) -> None:
    found = terms(tmp_path, "\ufeff阿里巴巴 20\n\n通义千问 10\r\nNew York\niPhone 15 5\n")
    assert found == {"阿里巴巴": 2.0, "通义千问": 1.0, "New York": 1.0, "iPhone 15": 0.5}


def test_spaces_make_no_two_terms_of_one(tmp_path: Path) -> None:
    assert list(terms(tmp_path, "New York\nSan Francisco Bay\n")) == ["New York", "San Francisco Bay"]


def test_an_empty_file_has_no_terms(tmp_path: Path) -> None:
    assert terms(tmp_path, "\n \n") == {}


def test_sensitive_words_are_one_a_line_and_have_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("Fountain 20\n\n喷泉\nfountain 20\n", "utf-8")
    assert read_sensitive(path, most=2) == ("Fountain 20", "喷泉")
    path.write_text("secret\nsecret！，\n", "utf-8")
    with pytest.raises(InvalidParameter, match="line 2: one term a line") as caught:
        read_sensitive(path, most=2)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("good\nbad -3\n", "line 2: a weight is not a positive number"),
        ("good\n\n,,,\n", "line 3: one term a line"),
        ("good\n！！！\n", "line 2: .* is no term"),
        (b"good\n\xff\xfe\n", "line 2: it is not UTF-8"),
        ("[1, 2]\n", "line 1: one term a line"),
        ("a\nb\nc\n", "3 terms are more than the 2"),
    ],
)
def test_a_line_that_cannot_be_read_is_told_by_its_number(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(InvalidParameter, match=told):
        terms(tmp_path, text, most=2)


def test_a_file_of_hotwords_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="cannot be read: No such file"):
        read_hotwords(tmp_path / "nothing", most=10)
