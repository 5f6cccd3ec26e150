"""A punctuation model in FunASR's format whose answers are known: the mark after a token is told by that token and by
the next one, each from a table. Written by hand in ONNX's encoding, so that nothing but numpy is needed.

`python -m models.small_punctuation DICTIONARY COUNT` (in tests/) writes a dictionary of as many words instead.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

MARKS = ("<unk>", "_", "，", "。", "？", "、")
END = MARKS.index("。")
_INT32, _INT64, _FLOAT = 6, 7, 1


def write_punctuation(
    folder: Path,
    tokens: Sequence[str],
    after: Mapping[str, str],
    before: Mapping[str, str] | None = None,
    *,
    file: str = "model.onnx",
) -> Path:
    """A model for `tokens` in `folder`: what stands `after` each of them, and what stands `before` it, which is
    stronger. All others have no mark."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["<blank>", *tokens, "<unk>"]
    own, following = (np.zeros((len(vocabulary), len(MARKS)), np.float32) for _ in range(2))
    own[:, MARKS.index("_")] = 1
    for table, told, weight in ((own, after, 2), (following, before or {}, 4)):
        for token, mark in told.items():
            table[vocabulary.index(token), MARKS.index(mark)] = weight
    (folder / file).write_bytes(graph(own, following))
    (folder / "tokens.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    names = "".join(f"  - {mark}\n" for mark in MARKS)
    (folder / "config.yaml").write_text(
        f"model: CTTransformer\nmodel_conf:\n  punc_list:\n{names}  sentence_end_id: {END}\n", encoding="utf-8"
    )
    return folder


def write_live_punctuation(
    folder: Path,
    tokens: Sequence[str],
    after: Mapping[str, str],
    before: Mapping[str, str] | None = None,
    *,
    seen: Mapping[str, str],
    heard: Mapping[str, str],
) -> Path:
    """As `write_punctuation`, with the masks of the model for live text: each `seen` token adds its mark, stronger than
    all else, wherever the VAD mask lets it be seen, and each `heard` one wherever the other mask does."""
    write_punctuation(folder, tokens, after, before)
    vocabulary = ["<blank>", *tokens, "<unk>"]
    own, following, vad, sub = (np.zeros((len(vocabulary), len(MARKS)), np.float32) for _ in range(4))
    own[:, MARKS.index("_")] = 1
    tables = ((own, after, 2), (following, before or {}, 4), (vad, seen, 8), (sub, heard, 8))
    for table, told, weight in tables:
        for token, mark in told.items():
            table[vocabulary.index(token), MARKS.index(mark)] = weight
    (folder / "model.onnx").write_bytes(graph(own, following, {"vad_masks": vad, "sub_masks": sub}))
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    (folder / "config.yaml").write_text(config.replace("CTTransformer", "CTTransformerStreaming"), encoding="utf-8")
    return folder


def graph(own: np.ndarray, following: np.ndarray, masked: Mapping[str, np.ndarray] = MappingProxyType({})) -> bytes:
    """An ONNX model: logits = own[inputs] + following[inputs one to the left, 0 at the end], and for each mask that is
    an input + mask @ masked[inputs]."""
    numbers = {"one": [1], "axis": [1], "far": [2**62], "pads": [0, 0, 0, 1]}
    tensors = [_tensor(name, np.array(value, np.int64), _INT64) for name, value in numbers.items()]
    tensors += [_tensor("own", own, _FLOAT), _tensor("following", following, _FLOAT)]
    nodes = [
        _node("Slice", ["inputs", "one", "far", "axis"], "rest"),
        _node("Pad", ["rest", "pads"], "next"),
        _node("Gather", ["own", "inputs"], "scores"),
        _node("Gather", ["following", "next"], "more"),
        _node("Sum", ["scores", "more", *(f"seen_{mask}" for mask in masked)], "logits"),
    ]
    for mask, table in masked.items():
        tensors.append(_tensor(f"of_{mask}", table, _FLOAT))
        nodes[:0] = [
            _node("Gather", [f"of_{mask}", "inputs"], f"all_{mask}"),
            _node("MatMul", [mask, f"all_{mask}"], f"masked_{mask}"),
            _node("Squeeze", [f"masked_{mask}", "one"], f"seen_{mask}"),
        ]
    content = [_field(1, node) for node in nodes]
    content += [_field(2, b"punctuation"), *(_field(5, tensor) for tensor in tensors)]
    content += [_field(11, _value("inputs", _INT32, ["batch", "length"]))]
    content += [_field(11, _value("text_lengths", _INT32, ["batch"]))]
    content += [_field(11, _value(mask, _FLOAT, [1, 1, "length", "length"])) for mask in masked]
    content += [_field(12, _value("logits", _FLOAT, ["batch", "length", own.shape[1]]))]
    return _field(1, 8) + _field(8, _field(2, 14)) + _field(7, b"".join(content))


def write_dictionary(path: Path, known: Sequence[str], count: int, *, counted: float = 0.02, seed: int = 7) -> Path:
    """A user dictionary of `count` words: some of the `known` ones, and such as are made of them, of letters and of
    signs; a share of `counted` with a count."""
    chance = random.Random(seed)
    short = [[word for word in known if len(word) == size] for size in (1, 2)]
    letters = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789"
    lines: dict[str, None] = {}
    while len(lines) < count:
        kind = chance.random()
        if kind < 0.5:
            word = chance.choice(known)
        elif kind < 0.95:
            word = "".join(chance.choice(short[chance.random() < 0.5]) for _ in range(chance.randint(2, 3)))
        else:
            word = "".join(chance.choice(letters) for _ in range(chance.randint(2, 8)))
        if chance.random() < 0.02:
            word += chance.choice(["-x", "é", "ok", ".", "%", "·", " b", "。"])
        if chance.random() < counted:
            word += f" {chance.choice([0, 1, 3, 500, 2_000_000])}"
        lines[word + (" nz" if chance.random() < 0.02 else "")] = None
    path.write_text("\ufeff" + "\n".join(lines) + "\n\n", encoding="utf-8")
    return path


def _tensor(name: str, values: np.ndarray, kind: int) -> bytes:
    shape = b"".join(_field(1, size) for size in values.shape)
    return shape + _field(2, kind) + _field(8, name.encode()) + _field(9, values.tobytes())


def _node(kind: str, inputs: Sequence[str], output: str) -> bytes:
    return b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode()) + _field(4, kind.encode())


def _value(name: str, kind: int, shape: Sequence[str | int]) -> bytes:
    sizes = [_field(1, size) if isinstance(size, int) else _field(2, size.encode()) for size in shape]
    described = _field(1, kind) + _field(2, b"".join(_field(1, size) for size in sizes))
    return _field(1, name.encode()) + _field(2, _field(1, described))


def _field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer: a number, or something with a length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


if __name__ == "__main__":
    import jieba

    jieba.initialize()
    write_dictionary(Path(sys.argv[1]), [word for word, often in jieba.dt.FREQ.items() if often], int(sys.argv[2]))
