# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Getting hold of torch, which only training needs."""

from __future__ import annotations

__all__ = ["DeviceError", "TorchNotAvailableError", "import_torch", "select_device", "torch_threads"]

import contextlib
from collections.abc import Iterator
from typing import Any

from ..documentation import DocumentedError


class TorchNotAvailableError(DocumentedError, ImportError):
    """Raised when a network is to be trained and torch is not installed."""


class DeviceError(DocumentedError, RuntimeError):
    """Raised when torch does not have the device that was asked for."""


def import_torch() -> Any:
    """Return the torch package.

    Returns
    -------
    torch : module
        The package.

    Raises
    ------
    TorchNotAvailableError
        Raised if it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise TorchNotAvailableError(
            "Training needs torch, which is not installed: install the extra 'torch' of this package "
            "(pip install 'lsst-meas-cosmicrays[torch]').  Running a trained model needs no torch."
        ) from error
    return torch


def select_device(torch: Any, device: str) -> Any:
    """Return the device that was asked for, and no other.

    Parameters
    ----------
    torch : module
        The torch package.
    device : `str`
        ``cpu``, ``cuda`` or ``cuda:N``.

    Returns
    -------
    device : ``torch.device``
        The device.

    Raises
    ------
    DeviceError
        Raised if there is no such device here.
    """
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"torch knows no device {device!r}: use 'cpu', 'cuda' or 'cuda:N'.") from error
    if chosen.type not in ("cpu", "cuda"):
        raise DeviceError(f"Training runs on 'cpu', 'cuda' or 'cuda:N', not on {device!r}.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"Device {device!r} was asked for, but torch finds {torch.cuda.device_count()} GPUs here: use "
            "'cpu'."
        )
    return chosen


@contextlib.contextmanager
def torch_threads(torch: Any, threads: int) -> Iterator[None]:
    """Let torch use so many CPU threads within the context.

    Parameters
    ----------
    torch : module
        The torch package.
    threads : `int`
        Number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
