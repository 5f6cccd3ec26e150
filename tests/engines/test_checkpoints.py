"""Checkpoints as PyTorch writes them, put together here byte by byte; and such as only an attacker would write."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from app.domain.errors import EngineFailure
from app.engines.speakers.checkpoints import read_checkpoint

KINDS = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}

# --- a pickle's instructions ------------------------------------------------------------------------------------------


def called(module: str, name: str, arguments: bytes) -> bytes:
    return named(module, name) + arguments + b"R"


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def several(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def mapping(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


EMPTY_ORDERED = called("collections", "OrderedDict", b")")


def storage(key: str = "0", kind: bytes | None = None) -> bytes:
    return several(text("storage"), kind or named("torch", "FloatStorage"), text(key), text("cpu"), number(0)) + b"Q"


def tensor(
    size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, key: str = "0", kind: str = "FloatStorage"
) -> bytes:
    return called(
        "torch._utils",
        "_rebuild_tensor_v2",
        several(
            storage(key, named("torch", kind)),
            number(offset),
            several(*map(number, size)),
            several(*map(number, stride)),
            b"\x89",
            EMPTY_ORDERED,
        ),
    )


def checkpoint(path: Path, pickled: bytes, *storages: np.ndarray, root: str = "archive") -> Path:
    """A zip as torch.save writes it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", b"\x80\x02" + pickled + b".")
        for key, values in enumerate(storages):
            archive.writestr(f"{root}/data/{key}", values.tobytes())
        archive.writestr(f"{root}/version", "3\n")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.bin"


def refused(path: Path) -> str:
    """The error a file is refused with."""
    with pytest.raises(EngineFailure) as caught:
        read_checkpoint(path)
    assert path.name in caught.value.message
    return caught.value.message


# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "dtype"), KINDS.items())
def test_tensors_of_every_kind_become_float32(path: Path, kind: str, dtype: str) -> None:
    values = np.arange(-3, 3).astype(dtype)
    read = read_checkpoint(checkpoint(path, mapping(weight=tensor((2, 3), (3, 1), kind=kind)), values))
    assert read["weight"].dtype == np.float32
    assert read["weight"].tolist() == [[-3, -2, -1], [0, 1, 2]]


def test_strides_and_offsets(path: Path) -> None:
    pickled = mapping(
        transposed=tensor((3, 2), (1, 3)),
        row=tensor((3,), (1,), offset=3),
        column=tensor((2,), (3,), offset=1),
        repeated=tensor((4,), (0,), offset=5),
        scalar=tensor((), (), offset=2),
        empty=tensor((0, 7), (7, 1)),
    )
    read = read_checkpoint(checkpoint(path, pickled, np.arange(6, dtype="<f4")))
    assert read["transposed"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert read["row"].tolist() == [3, 4, 5]
    assert read["column"].tolist() == [1, 4]
    assert read["repeated"].tolist() == [5, 5, 5, 5]
    assert read["scalar"].item() == 2
    assert read["empty"].shape == (0, 7)
    assert all(value.flags.c_contiguous for value in read.values())


def test_tensors_may_share_or_have_their_own_numbers(path: Path) -> None:
    pickled = mapping(one=tensor((2,), (1,)), same=tensor((2,), (1,)), other=tensor((1,), (1,), key="1"))
    read = read_checkpoint(checkpoint(path, pickled, np.array([1, 2], "<f4"), np.array([3], "<f4"), root="a.b/c"))
    assert {name: value.tolist() for name, value in read.items()} == {"one": [1, 2], "same": [1, 2], "other": [3]}


def test_a_state_dict_inside_is_what_counts(path: Path) -> None:
    inner = EMPTY_ORDERED + b"(" + text("weight") + tensor((1,), (1,)) + b"u"
    pickled = mapping(epoch=number(3), state_dict=inner, other=tensor((1,), (1,)))
    assert list(read_checkpoint(checkpoint(path, pickled, np.ones(1, "<f4")))) == ["weight"]


def test_what_is_no_tensor_is_left_out(path: Path) -> None:
    pickled = mapping(epoch=number(3), name=text("x"), weight=tensor((1,), (1,)), hooks=EMPTY_ORDERED)
    assert list(read_checkpoint(checkpoint(path, pickled, np.ones(1, "<f4")))) == ["weight"]


def test_objects_of_the_training_framework_are_empty_shells(path: Path) -> None:
    built = called("pyannote.audio.core.task", "Specifications", b")") + mapping(classes=text("x")) + b"b"
    versions = called("torch.torch_version", "TorchVersion", several(text("2.1")))
    pickled = mapping(specifications=built, version=versions, weight=tensor((1,), (1,)))
    assert list(read_checkpoint(checkpoint(path, pickled, np.ones(1, "<f4")))) == ["weight"]


@pytest.mark.parametrize("pickled", [b"N", number(3), several(), text("x"), mapping()])
def test_a_checkpoint_without_parameters_has_none(path: Path, pickled: bytes) -> None:
    assert read_checkpoint(checkpoint(path, pickled)) == {}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "getoutput"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("__builtin__", "eval"),
        ("builtins", "getattr"),
        ("importlib", "import_module"),
        ("shutil", "rmtree"),
        ("collections", "UserDict"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_tensor"),
        ("torch.storage", "_load_from_bytes"),
        ("numpy", "load"),
        ("app.engines.speakers.checkpoints", "read_checkpoint"),
        ("pyannote", "audio"),
    ],
)
def test_nothing_else_is_called(path: Path, tmp_path: Path, module: str, name: str) -> None:
    trace = tmp_path / "trace"
    attack = several(text(f"open({str(trace)!r}, 'w')" if name in {"eval", "exec"} else f"touch {trace}"))
    message = refused(checkpoint(path, mapping(weight=called(module, name, attack))))
    assert f"it asks for {module}.{name}" in message
    assert not trace.exists()


def test_nothing_else_is_called_by_newer_instructions_either(path: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for module, name in (("os", "system"), ("builtins", "eval")):
        looked_up = text(module) + text(name) + b"\x93"  # STACK_GLOBAL
        refused(checkpoint(path, b"\x80\x04" + looked_up + several(text(f"touch {trace}")) + b"R"))
        called_new = named(module, name) + several(text(f"touch {trace}")) + b"\x81"  # NEWOBJ
        refused(checkpoint(path, called_new))
        made = b"(" + text(f"touch {trace}") + f"i{module}\n{name}\n".encode()  # INST
        refused(checkpoint(path, made))
    refused(checkpoint(path, b"\x82\x01"))  # an extension's code
    assert not trace.exists()


def test_a_shell_leads_nowhere(path: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    pickled = called("pyannote.audio.x", "os.system", several(text(f"touch {trace}")))
    assert read_checkpoint(checkpoint(path, mapping(weight=pickled))) == {}
    assert not trace.exists()


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((7,), (1,), 0),
        ((6,), (1,), 1),
        ((1,), (1,), 6),
        ((2,), (6,), 0),
        ((3, 3), (3, 1), 0),
        ((2**31 - 1,), (1,), 0),
        ((2,), (-1,), 5),
        ((2, 2), (4, -1), 1),
        ((1,), (1,), -1),
        ((), (), 6),
        ((-1,), (1,), 0),
        ((2, 3), (3,), 0),
        ((2,), (3, 1), 0),
    ],
)
def test_a_tensor_beyond_its_numbers(path: Path, size: tuple[int, ...], stride: tuple[int, ...], offset: int) -> None:
    pickled = mapping(weight=tensor(size, stride, offset))
    refused(checkpoint(path, pickled, np.arange(6, dtype="<f4")))


@pytest.mark.parametrize("kind", [text("O"), text("nonsense"), b"N", number(3), several(text("f4"), text("O"))])
def test_numbers_of_a_strange_kind(path: Path, kind: bytes) -> None:
    made = called(
        "torch._utils",
        "_rebuild_tensor_v2",
        several(storage(kind=kind), number(0), several(number(1)), several(number(1))),
    )
    refused(checkpoint(path, mapping(weight=made), np.arange(7, dtype="<i1")))


def test_numbers_that_are_not_there(path: Path) -> None:
    refused(checkpoint(path, mapping(weight=tensor((1,), (1,), key="9")), np.ones(1, "<f4")))
    refused(checkpoint(path, mapping(weight=tensor((1,), (1,))), np.ones(3, "<i1")))


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 100, b"\x80\x02}."])
def test_a_file_that_is_no_zip(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path)


def test_a_file_that_is_not_there(path: Path, tmp_path: Path) -> None:
    refused(path)
    path.mkdir()
    refused(path)


def test_a_zip_of_something_else(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "not a PyTorch checkpoint" in refused(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_torn_file(path: Path, kept: float) -> None:
    whole = checkpoint(path, mapping(weight=tensor((1000,), (1,))), np.ones(1000, "<f4")).read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    refused(path)


@pytest.mark.parametrize("pickled", [b"", b"}(", b"X\xff\xff\xff\x7fabc", b"t", b"Q", b"R", b"\x93", b"\xff", b"h\x07"])
def test_a_pickle_that_makes_no_sense(path: Path, pickled: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickled)
    refused(path)


def test_a_flipped_bit_in_the_numbers(path: Path) -> None:
    checkpoint(path, mapping(weight=tensor((1000,), (1,))), np.ones(1000, "<f4"))
    torn = bytearray(path.read_bytes())
    torn[len(torn) // 2] ^= 0x10
    path.write_bytes(torn)
    refused(path)


def test_a_kind_of_tensor_that_is_none(path: Path) -> None:
    torn = called("torch._utils", "_rebuild_tensor_v2", several(text("abc"), number(0), *[several(number(1))] * 2))
    checkpoint(path, mapping(weight=torn))
    refused(path)


def test_a_number_repeated_to_fill_all_memory(path: Path) -> None:
    checkpoint(path, mapping(weight=tensor((2**31 - 1, 2**20), (0, 0))), np.ones(1, "<f4"))
    refused(path)


def test_a_message_has_no_path(tmp_path: Path) -> None:
    with pytest.raises(EngineFailure) as caught:
        read_checkpoint(tmp_path / "model.bin")
    assert str(tmp_path) not in caught.value.message
    assert "model.bin" in caught.value.message
