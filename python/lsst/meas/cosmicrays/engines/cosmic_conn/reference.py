# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the cosmic_conn package itself, where torch is installed."""

from __future__ import annotations

__all__ = ["ReferenceModel", "load_reference_model"]

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .network import find_architecture
from .weights import find_published_weights, read_state_dict


def load_reference_model(
    name_or_path: str | os.PathLike[str], device: str = "cpu", threads: int = 1
) -> ReferenceModel:
    """Load a model into the ``cosmic_conn`` package.

    Parameters
    ----------
    name_or_path : `str` or `os.PathLike`
        A published model, or a ``.pth`` or ``.pth.tar`` file.
    device : `str`, optional
        Where torch is to run: ``cpu``, ``cuda`` or ``cuda:N``.  The package
        would take a GPU whenever there is one; here it uses this device.
    threads : `int`, optional
        How many CPU threads to use.

    Returns
    -------
    model : `ReferenceModel`
        The model.

    Raises
    ------
    ImportError
        Raised if torch or ``cosmic_conn`` is not installed.
    ModelFileError
        Raised if there is no such model, or its file holds anything but
        tensors; torch does not get to see it.
    RuntimeError
        Raised if torch does not have the device.
    """
    path = Path(name_or_path)
    if not path.is_file():
        path = find_published_weights(os.fspath(name_or_path))
    architecture = find_architecture(read_state_dict(path), str(path))
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "The original Cosmic-CoNN needs torch, which is not installed: 'pip install torch cosmic-conn', "
            "or use engine 'fast', which needs no torch."
        ) from error
    with _only_device(torch, device, threads):
        from cosmic_conn import init_model
        from cosmic_conn.dl_framework.options import ModelOptions

        options = ModelOptions()
        options.norm = architecture.norm
        options.hidden = architecture.hidden
        options.deeper = architecture.depth == 3
        network = init_model(os.fspath(path), options)
    return ReferenceModel(torch, network, device, threads)


class ReferenceModel:
    """The model of the ``cosmic_conn`` package, on one device.

    Parameters
    ----------
    torch : module
        The torch package.
    network : ``cosmic_conn.dl_framework.cosmic_conn.Cosmic_CoNN``
        The model.
    device : `str`
        Where to run it.
    threads : `int`
        How many CPU threads to use.
    """

    def __init__(self, torch: Any, network: Any, device: str, threads: int) -> None:
        self._torch = torch
        self._network = network
        self._device = device
        self._threads = threads

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Return the probability that each pixel is a cosmic ray.

        Parameters
        ----------
        image : `numpy.ndarray`
            Pixels, shape (ny, nx).  Infinities are treated as NaN, which
            the package replaces by 0.

        Returns
        -------
        probability : `numpy.ndarray` [`float32`]
            Shape (ny, nx).
        """
        # The package writes to what it is given.
        pixels = np.array(image, dtype=np.float32)
        pixels[np.isinf(pixels)] = np.nan
        with _only_device(self._torch, self._device, self._threads):
            return np.asarray(self._network.detect_cr(pixels), dtype=np.float32)


@contextlib.contextmanager
def _only_device(torch: Any, device: str, threads: int) -> Iterator[None]:
    """Let torch, as ``cosmic_conn`` asks it, have one device and no other."""
    kind = torch.device(device).type
    is_available, threads_before = torch.cuda.is_available, torch.get_num_threads()
    if kind not in ("cpu", "cuda"):
        raise RuntimeError(f"The original Cosmic-CoNN runs on 'cpu' or 'cuda', not on {device!r}.")
    if kind == "cuda" and not is_available():
        raise RuntimeError(f"Device {device!r} was asked for, but torch finds no GPU here: use 'cpu'.")
    torch.cuda.is_available = lambda: kind == "cuda"
    torch.set_num_threads(threads)
    try:
        with torch.cuda.device(torch.device(device)) if ":" in device else contextlib.nullcontext():
            yield
    finally:
        torch.cuda.is_available = is_available
        torch.set_num_threads(threads_before)
