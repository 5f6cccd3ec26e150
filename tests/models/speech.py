"""Speech that says what it is told, for the closed vocabulary of the tiny Paraformer: espeak-ng with voices that the
checkpoint was not trained on. The same seed gives the same samples.

The library comes inside a wheel with its voices (espeakng-loader) and is called directly: no program or system package.
"""

from __future__ import annotations

import _ctypes
import ctypes
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

RATE = 16_000
VOICES = ("+m7", "+f4", "+f5", "+steph", "+rob", "+belinda", "+ed", "+Storm")
"""Those kept for testing when the tiny checkpoints were trained."""
SPEEDS, PITCHES = (120, 210), (25, 75)
"""Words a minute, and espeak's pitch (50 is a voice's own)."""

ZH_DIGITS = tuple("零一二三四五六七八九")
EN_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ZH_SENTENCES = [
    "今天天气怎么样",
    "请打开客厅的灯",
    "关闭空调",
    "播放音乐",
    "明天早上八点开会",
    "请帮我预订机票",
    "谢谢你的帮助",
    "现在几点了",
    "我想喝一杯咖啡",
    "欢迎使用语音识别",
    "人工智能改变世界",
    "你好",
    "再见",
    "下一首歌曲",
    "音量调大一点",
    "请再说一遍",
    "我们开始吧",
    "会议结束了",
    "你叫什么名字",
    "我在北京工作",
    "他去上海出差",
    "这个问题很重要",
    "你听得见吗",
    "没有问题",
]
EN_SENTENCES = [
    "hello world",
    "turn on the light",
    "good morning",
    "thank you very much",
    "please speak slowly",
    "what time is it now",
    "stop the music",
    "open the door",
    "my name is george",
    "how are you today",
]

_AS_ENGLISH = (
    "今dZInw'0n 天tjanw'0n 气kIf'o@ 怎zEnTr'i: 么mEf'aIv 样j'aNf'o@ 请kINTr'i: 打daTr'i: 开kaIw'0n 客kEf'o@ "
    "厅tINw'0n 的dEf'aIv 灯dENw'0n 关gwA:nw'0n 闭bIf'o@ 空k@Nw'0n 调d,aI@r-@f'o@ 播b@w'0n 放faNf'o@ 音jInw'0n "
    "乐lEf'o@ 明mINt'u: 早z,eI@Tr'i: 八baw'0n 点daI;'anTr'i: 会hj,u:If'o@ 帮baNw'0n 订dINf'o@ 机dZIw'0n "
    "票p,aI@r-@f'o@ 谢zi:f'o@ 你nITr'i: 助ZVf'o@ 现z,aI@nf'o@ 在zeIf'o@ 几dZITr'i: 了lEf'aIv 想z,aI@NTr'i: "
    "喝hEw'0n 一jIw'0n 杯beIw'0n 咖kaw'0n 啡feIw'0n 欢hj,u:a#nf'aIv 迎jINt'u: 别bi:t'u: 人rEnt'u: 工g0Nw'0n "
    "能nENt'u: 改geITr'i: 变b,aI@nf'o@ 界dZi:f'o@ 好h,eI@Tr'i: 再zeIf'o@ 见dZ,aI@nf'o@ 下z,aI@f'o@ 歌dZEw'0n "
    "曲kww'0n 量l,aI@Nf'o@ 大daf'o@ 遍b,aI@nf'o@ 们mEnf'aIv 吧baf'aIv 议jIf'o@ 结dZi:t'u: 束SVf'o@ "
    "叫dZ,aI@r-@f'o@ 什SEnt'u: 名mINt'u: 字zIf'o@ 北beITr'i: 京dZINw'0n 作zj,u:@f'o@ 他taw'0n 去kwf'o@ 海heITr'i: "
    "出tSVw'0n 差tSaf'o@ 这ZEf'o@ 个dZEf'aIv 问wEnf'o@ 题tIt'u: 很hEnTr'i: 要j,eI@f'o@ 听tINw'0n 得dEf'aIv "
    "吗maf'aIv 没meIt'u: 有jaUTr'i: 零lINt'u: 三sanw'0n 四sIf'o@ 六l,I;@f'o@ 七kIw'0n 九dZ,I;@Tr'i:"
)
_AS_CHINESE = (
    "上s.'a51N 我w'o214 预;'y51 使s.'i.214 用'yu51N 语;'y214 识s.'i.11 智ts.'i.51 世s.'i.51 首s.'ou214 说s.w'o55 "
    "始s.'i.214 重ts.'ong51 二'@r51 五w'u214"
)
"""How the checkpoint was taught to hear Chinese characters, in espeak's own phonemes: as espeak-ng 1.51 read them, that
is, pinyin spelled in English with tones as English numbers. The later version in the wheel speaks another Chinese, of
which the checkpoint understands nothing."""
_ENGLISH = {word[0]: word[1:] for word in _AS_ENGLISH.split()}
_CHINESE = {word[0]: word[1:] for word in _AS_CHINESE.split()}
_LIBRARY = threading.Lock()
"""The library keeps its state in globals of its own, so that calls must take turns."""
_SYNCHRONOUS, _KEEP_RUNNING = 2, 0x8000
_RATE, _PITCH = 1, 3
_UTF8, _PHONEMES = 0x1, 0x100
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True, slots=True)
class Utterance:
    """float32 mono 16 kHz samples with a peak of 0.5, the tokens that are said, and "zh-digits", "zh", "en-digits" or
    "en"."""

    samples: np.ndarray
    tokens: tuple[str, ...]
    kind: str

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / RATE


def utterances(count: int, seed: int) -> list[Utterance]:
    """So many utterances in the proportions of the training data: 25 % Chinese digits, 40 % Chinese sentences, 15 %
    English digits, 20 % English sentences."""
    rng = random.Random(seed)
    return [_utterance(rng) for _ in range(count)]


def say(text: str, voice: str, *, speed: int = 160, pitch: int = 50) -> np.ndarray:
    """float32 16 kHz samples with a peak of 0.5. `voice` is espeak's, with or without a variant: "en+m7"."""
    read = "".join(map(_read_aloud, text)) if voice.startswith("cmn") else text
    raw, rate = _spoken(read, voice, speed, pitch)
    samples = soxr.resample(raw.astype(np.float32) / 32768, rate, RATE).astype(np.float32)
    return 0.5 * samples / max(float(np.abs(samples).max()), 1e-6)


def _utterance(rng: random.Random) -> Utterance:
    voice, speed, pitch = rng.choice(VOICES), rng.randint(*SPEEDS), rng.randint(*PITCHES)
    kind = rng.choices(("zh-digits", "zh", "en-digits", "en"), (25, 40, 15, 20))[0]
    tokens, text = next(_said(rng, kind))
    language = "cmn" if kind.startswith("zh") else rng.choice(("en", "en-us"))
    return Utterance(say(text, language + voice, speed=speed, pitch=pitch), tokens, kind)


def _read_aloud(character: str) -> str:
    """What espeak is given for a Chinese character (a word of phonemes) or mark."""
    switch = "_^_en " if character in _ENGLISH else ""
    phonemes = _ENGLISH.get(character) or _CHINESE.get(character)
    return f"[[{switch}{phonemes}]] " if phonemes else f"{character} "


def _said(rng: random.Random, kind: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Tokens, and the text that espeak reads."""
    if kind == "zh-digits":
        digits = rng.choices(ZH_DIGITS, k=rng.randint(2, 8))
        yield tuple(digits), (" " if rng.random() < 0.3 else "").join(digits)
    elif kind == "en-digits":
        words = rng.choices(EN_DIGITS, k=rng.randint(2, 6))
        yield tuple(words), " ".join(words)
    elif kind == "zh":
        sentences = rng.choices(ZH_SENTENCES, k=rng.choice((1, 1, 1, 2)))
        yield tuple("".join(sentences)), "，".join(sentences)
    else:
        sentences = rng.choices(EN_SENTENCES, k=rng.choice((1, 1, 2)))
        yield tuple(" ".join(sentences).split()), ", ".join(sentences)


def _spoken(text: str, voice: str, speed: int, pitch: int) -> tuple[np.ndarray, int]:
    """int16 samples, and their rate in Hz.

    The library is loaded anew each time (10 ms): the wavering of its voices goes on from call to call otherwise, and
    the same words would sound different each time.
    """
    import espeakng_loader  # noqa: PLC0415 - only where speech is made

    heard: list[np.ndarray] = []

    def hear(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: object) -> int:
        if samples and count:
            heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _CALLBACK(hear)  # kept: the library holds only a pointer to it
    data = str(Path(espeakng_loader.get_data_path()).parent).encode()
    body = text.encode()
    with _LIBRARY:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            rate: int = library.espeak_Initialize(_SYNCHRONOUS, 0, data, _KEEP_RUNNING)
            if rate <= 0:
                raise RuntimeError("espeak-ng does not start")
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            library.espeak_SetSynthCallback(callback)
            if library.espeak_SetVoiceByName(voice.encode()):
                raise ValueError(f"espeak-ng has no voice {voice!r}")
            library.espeak_SetParameter(_RATE, speed, 0)
            library.espeak_SetParameter(_PITCH, pitch, 0)
            failed = library.espeak_Synth(body, ctypes.c_size_t(len(body) + 1), 0, 1, 0, _UTF8 | _PHONEMES, None, None)
            failed = failed or library.espeak_Synchronize()
            library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)
    if failed or not heard:
        raise RuntimeError(f"espeak-ng does not say {text!r}")
    return np.concatenate(heard), rate
