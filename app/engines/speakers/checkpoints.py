"""PyTorch checkpoints without PyTorch: a zip of raw tensors and a pickle that says which is which.

A pickle can run any code, so this one is read by an unpickler that knows tensors and plain containers and nothing else.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from app.domain.errors import EngineFailure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = dict[str, NDArray[np.float32]]

_STORAGES = MappingProxyType(
    {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "LongStorage": "<i8", "IntStorage": "<i4"}
)


def read_checkpoint(path: Path) -> Weights:
    """The parameters in a checkpoint (its "state_dict" where it has one): float32 arrays by name.

    Raises:
        EngineFailure: it is no checkpoint, is broken, or holds something other than tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
            return _parameters(_Unpickler(archive, root).load())
    except StopIteration as error:
        raise EngineFailure(f"{path.name} is not a PyTorch checkpoint.") from error
    except OSError as error:
        raise EngineFailure(f"{path.name} cannot be read: {error.strerror}.") from error
    except pickle.UnpicklingError as error:
        raise EngineFailure(f"{path.name} is no checkpoint that is safe to read: {error}.") from error
    except Exception as error:  # a broken zip or pickle raises whatever its bytes happen to call for
        raise EngineFailure(f"{path.name} is broken.") from error


def _parameters(loaded: object) -> Weights:
    entries = cast("Mapping[str, object]", loaded) if isinstance(loaded, Mapping) else {}
    entries = cast("Mapping[str, object]", entries.get("state_dict", entries))
    return {
        name: np.ascontiguousarray(value, dtype=np.float32)
        for name, value in entries.items()
        if isinstance(value, np.ndarray)
    }


class _Unpickler(pickle.Unpickler):
    """Tensors become arrays; classes of a training framework become empty shells; everything else is refused."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self._archive = archive
        self._root = root

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What a name in the pickle means here.

        Raises:
            UnpicklingError: nothing.
        """
        if (module_name, global_name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module_name, global_name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module_name == "torch" and global_name in _STORAGES:
            return _STORAGES[global_name]
        if module_name.startswith(("pyannote.audio.", "torch.torch_version")):
            return _Shell
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        """A tensor's raw numbers."""
        _, kind, key, *_ = pid
        return np.frombuffer(self._archive.read(f"{self._root}data/{key}"), dtype=kind)


class _Shell:
    """Stands for an object that a checkpoint carries beside its tensors; takes whatever it is made from."""

    def __new__(cls, *_arguments: object) -> _Shell:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass

    def __reduce__(self) -> NoReturn:
        raise TypeError("not to be pickled again")


def _tensor(storage: NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Any:
    """A view of `storage` as PyTorch describes it, checked against its bounds."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if (
        offset < 0
        or min(stride, default=0) < 0
        or prod(size) > len(storage)
        or (0 not in size and last >= len(storage))
    ):
        raise pickle.UnpicklingError("a tensor reaches beyond its numbers")
    bytes_apart = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, bytes_apart)
