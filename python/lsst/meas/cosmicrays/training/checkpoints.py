# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checkpoints, from which training goes on after it was killed."""

from __future__ import annotations

__all__ = ["CheckpointError", "read_checkpoint", "write_checkpoint"]

import os
import pickle
from pathlib import Path
from typing import Any

from ..documentation import DocumentedError
from .torch_device import import_torch


class CheckpointError(DocumentedError, RuntimeError):
    """Raised when a checkpoint cannot be read."""


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    path : `pathlib.Path`
        File to write; its folder is made where it is missing.
    state : `dict` [`str`, `object`]
        Tensors, numbers and strings, in plain containers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        import_torch().save(state, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_checkpoint(path: Path, device: Any) -> dict[str, Any] | None:
    """Read a checkpoint; nothing that it may hold is executed.

    Parameters
    ----------
    path : `pathlib.Path`
        What `write_checkpoint` wrote.
    device : ``torch.device``
        Where tensors are to be.

    Returns
    -------
    state : `dict` [`str`, `object`] or `None`
        The state, or `None` if there is no such file.

    Raises
    ------
    CheckpointError
        Raised if the file is damaged, or no checkpoint.
    """
    if not path.is_file():
        return None
    try:
        state = import_torch().load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{path} is no checkpoint that can be read ({reason}): delete it to start over."
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{path} holds no checkpoint but a {type(state).__name__}: delete it to start over."
        )
    return state
