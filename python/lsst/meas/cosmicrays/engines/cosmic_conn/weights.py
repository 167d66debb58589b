# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding and reading the weights of Cosmic-CoNN, without torch.

A ``.pth`` file is a zip archive of a pickle and of raw tensor data.  A pickle
can name any function to be called while it is read, so it is read here by an
unpickler that knows tensors and plain containers and refuses all else.
"""

from __future__ import annotations

__all__ = ["PUBLISHED_MODELS", "ModelFileError", "find_published_weights", "read_state_dict"]

import collections
import dataclasses
import importlib.util
import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

PUBLISHED_MODELS = {
    "ground_imaging": "cosmic-conn_ground_imaging_v0.2.8.pth",
    "NRES": "cosmic-conn_LCO_NRES_v0.2.8.pth",
    "HST_ACS_WFC": "cosmic-conn_HST_ACS_WFC_v0.2.8.pth",
}
"""Published models and their files in the ``cosmic-conn`` package."""

STORAGE_DTYPES = {
    "HalfStorage": "f2",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "i2",
    "IntStorage": "i4",
    "LongStorage": "i8",
    "BoolStorage": "?",
}

CHECKPOINT_KEYS = ("state_dict_mask", "state_dict")
WRAPPER_PREFIXES = ("module.", "network.")


class ModelFileError(ValueError):
    """Raised when a file is not a model that can be used."""


def find_published_weights(name: str) -> Path:
    """Return where the weights of a published model are.

    Parameters
    ----------
    name : `str`
        One of `PUBLISHED_MODELS`.

    Returns
    -------
    path : `pathlib.Path`
        A file of the installed ``cosmic-conn`` package.  The package is
        not imported, since that would import torch.

    Raises
    ------
    ModelFileError
        Raised if there is no such model, or the package or its file is
        missing.
    """
    if name not in PUBLISHED_MODELS:
        raise ModelFileError(
            f"Unknown Cosmic-CoNN model {name!r}: it is neither one of {', '.join(PUBLISHED_MODELS)} "
            "nor an existing .pth, .pth.tar or .onnx file."
        )
    spec = importlib.util.find_spec("cosmic_conn")
    if spec is None or not spec.submodule_search_locations:
        raise ModelFileError(
            f"The weights of model {name!r} come with the package cosmic-conn, which is not installed: "
            "'pip install cosmic-conn' (its base installation is enough; it needs no torch)."
        )
    for location in spec.submodule_search_locations:
        path = Path(location) / "trained_models" / PUBLISHED_MODELS[name]
        if path.is_file():
            return path
    raise ModelFileError(
        f"The installed package cosmic-conn lacks trained_models/{PUBLISHED_MODELS[name]}: reinstall "
        "cosmic-conn 0.6.1 or later."
    )


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a ``.pth`` or ``.pth.tar`` file.

    Parameters
    ----------
    path : `pathlib.Path`
        A state dictionary, or a checkpoint that holds one under
        ``state_dict_mask`` (as Cosmic-CoNN writes) or ``state_dict``.

    Returns
    -------
    tensors : `dict` [`str`, `numpy.ndarray`]
        Tensors by name, in native byte order and in their stored type.

    Raises
    ------
    ModelFileError
        Raised if the file is truncated, is no model, or its pickle asks
        for anything but tensors and plain containers.  Nothing that it
        names is ever called.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = _Archive(archive, path).load()
    except zipfile.BadZipFile as error:
        raise ModelFileError(
            f"{path} is not a torch model: it is no complete zip archive ({error}).  If torch 1.5 or older "
            "wrote it, save it again with a current torch."
        ) from error
    return _select_tensors(content, path)


def _select_tensors(content: Any, path: Path) -> dict[str, np.ndarray]:
    """Return the state dictionary in what was unpickled."""
    if isinstance(content, dict):
        for key in CHECKPOINT_KEYS:
            if isinstance(content.get(key), dict):
                content = content[key]
                break
    if not isinstance(content, dict) or not content:
        raise ModelFileError(f"{path} holds no state dictionary but a {type(content).__name__}.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise ModelFileError(
                f"{path} holds no state dictionary: entry {name!r} is a {type(value).__name__}, not a tensor."
            )
    tensors = dict(content)
    for prefix in WRAPPER_PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


class _Archive:
    """The zip archive that torch writes: a pickle, and one file a storage."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive = archive
        self._path = path
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ModelFileError(f"{path} is a zip archive but not a torch model: it has no data.pkl.")
        self._root = pickles[0].removesuffix("data.pkl")

    def load(self) -> Any:
        """Unpickle, letting nothing through but tensors."""
        unpickler = _TensorUnpickler(io.BytesIO(self._read("data.pkl")), self)
        try:
            return unpickler.load()
        except ModelFileError:
            raise
        except Exception as error:
            # A damaged pickle can fail in nearly any way.
            raise ModelFileError(f"{self._path} cannot be read as a model: {error}.") from error

    def storage(self, key: str, dtype: np.dtype) -> np.ndarray:
        """Return the numbers of one storage."""
        data = self._read(f"data/{key}")
        if len(data) % dtype.itemsize != 0:
            raise ModelFileError(
                f"{self._path} is damaged: storage {key} has {len(data)} bytes, no multiple of "
                f"{dtype.itemsize}."
            )
        stored = dtype.newbyteorder(">") if self._is_big_endian() else dtype.newbyteorder("<")
        return np.frombuffer(data, stored).astype(dtype)

    def _is_big_endian(self) -> bool:
        name = self._root + "byteorder"
        return name in self._archive.namelist() and self._read("byteorder").strip() == b"big"

    def _read(self, name: str) -> bytes:
        try:
            member = self._archive.getinfo(self._root + name)
            if member.compress_type != zipfile.ZIP_STORED:
                raise ModelFileError(f"{self._path}: {name} is compressed, which torch never does.")
            return self._archive.read(member)
        except KeyError as error:
            raise ModelFileError(f"{self._path} is incomplete: it lacks {name}.") from error
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise ModelFileError(f"{self._path} is damaged: {name} cannot be read ({error}).") from error


@dataclasses.dataclass(frozen=True, slots=True)
class _StorageType:
    """What stands for a torch storage class in a pickle."""

    dtype: str


class _RebuildTensor:
    """What stands for ``torch._utils._rebuild_tensor_v2`` in a pickle."""

    __slots__ = ()

    def __call__(
        self, storage: np.ndarray, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *rest: Any
    ) -> np.ndarray:
        size = math.prod(shape)
        last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        if min((offset, *shape, *stride), default=0) < 0 or size > storage.size:
            raise pickle.UnpicklingError(f"a tensor of shape {shape} does not fit its {storage.size} numbers")
        if size > 0 and last >= storage.size:
            raise pickle.UnpicklingError(
                f"a tensor of shape {shape} reaches beyond its {storage.size} numbers"
            )
        steps = tuple(step * storage.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False).copy()


class _RebuildParameter:
    """What stands for ``torch._utils._rebuild_parameter`` in a pickle."""

    __slots__ = ()

    def __call__(self, data: np.ndarray, *rest: Any) -> np.ndarray:
        return data


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler of tensors in dictionaries, lists and tuples."""

    def __init__(self, stream: io.BytesIO, archive: _Archive) -> None:
        super().__init__(stream)
        self._tensor_archive = archive

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "collections", "OrderedDict":
                return collections.OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return _RebuildTensor()
            case "torch._utils", "_rebuild_parameter":
                return _RebuildParameter()
            case "torch" | "torch.storage", str(storage) if storage in STORAGE_DTYPES:
                return _StorageType(STORAGE_DTYPES[storage])
        raise pickle.UnpicklingError(
            f"it asks for {module}.{name}, which is no tensor; this was refused and nothing was executed"
        )

    def persistent_load(self, reference: Any) -> np.ndarray:
        match reference:
            case ("storage", _StorageType(dtype), str(key), *_):
                return self._tensor_archive.storage(key, np.dtype(dtype))
        raise pickle.UnpicklingError(f"unknown kind of storage {reference!r}")
