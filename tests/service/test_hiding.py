"""Segments are masked as their speakers said them: where channels are kept apart, each goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

from app.audio.recording import Recording
from app.domain.engines import Hypothesis
from app.domain.hotwords import Hotword, HotwordHit
from app.domain.masking import Masking, MaskingStyle
from app.domain.options import RecognitionOptions
from app.domain.speakers import Speaker
from app.domain.transcript import Segment
from app.pipeline.text.masking import Masker
from app.pipeline.text.writing import Written
from app.service.collecting import Basis, Collecting

CALLER, AGENT = Speaker(0, "caller"), Speaker(1, "agent")


class Collected:
    """What went out after each segment and at the end, and the transcript that was made of them."""

    def __init__(self, folder: Path, style: MaskingStyle, *said: tuple[Speaker, str], split: bool = True) -> None:
        options = RecognitionOptions(
            split_channels=split, masking=(Masking(("飞鸟",), style),), hotwords=(Hotword("飞鸟"), Hotword("好"))
        )
        sound = folder / "sound"
        sound.write_bytes(bytes(2 * 2 * 16_000))
        with Recording(sound, channels=2) as recording:
            basis = Basis.of(recording, options, split=split)
            result = Collecting("model", basis, options, masker=Masker(options.masking))
        self.told: list[list[str]] = []
        for number, (speaker, text) in enumerate(said):
            result.hear(Written(Hypothesis(text, "zh", {"zh": 1.0})))
            segment = Segment(number, number + 1, text, speaker=speaker)
            self.told.append([one.text for one in result.add(segment)])
        self.told.append([one.text for one in result.rest()])
        self.transcript = result.transcript()


def test_a_term_that_the_other_channel_breaks_is_masked(tmp_path: Path) -> None:
    found = Collected(tmp_path, "stars", (CALLER, "我说飞"), (AGENT, "好"), (CALLER, "鸟"), (AGENT, "好"))
    # The agent's word waits for the caller's before it, so that all go out in order.
    assert found.told == [[], [], ["我说*", "好", "*"], ["好"], []]
    assert [one.text for one in found.transcript.segments] == ["我说*", "好", "*", "好"]
    assert found.transcript.text == "我说* 好 * 好"
    assert found.transcript.hotwords == (HotwordHit("好", 2, 0),)


def test_segments_of_which_nothing_is_left_hold_nobody_up(tmp_path: Path) -> None:
    found = Collected(tmp_path, "remove", (CALLER, "飞"), (AGENT, "好"), (CALLER, "鸟"), (AGENT, "再见"))
    assert found.told == [[], [], ["好"], ["再见"], []]
    assert found.transcript.text == "好 再见"


def test_two_channels_do_not_make_a_term_together(tmp_path: Path) -> None:
    found = Collected(tmp_path, "stars", (CALLER, "飞"), (AGENT, "鸟"))
    assert found.told == [[], [], ["飞", "鸟"]]
    assert [one.text for one in found.transcript.segments] == ["飞", "鸟"]


def test_where_channels_are_one_sound_all_is_one_text(tmp_path: Path) -> None:
    found = Collected(tmp_path, "stars", (CALLER, "我说飞"), (CALLER, "鸟"), (AGENT, "好"), split=False)
    assert found.told == [[], ["我说*", "*"], ["好"], []]
    assert found.transcript.text == "我说* * 好"
