# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What votes: a mask, or a stored probability at a threshold."""

from __future__ import annotations

__all__ = ["Voter", "VoterNameError", "votes_of"]

import dataclasses
import re
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

_NAME = re.compile(r"([A-Za-z]\w*)(?:>=(\d*\.?\d+))?")


class VoterNameError(ValueError):
    """Raised when a text does not say what votes."""


@dataclasses.dataclass(frozen=True)
class Voter:
    """One that votes in a consensus."""

    name: str
    """What it is called among the voters, as `parse` took it (`str`)."""

    detection: str
    """The detection whose mask or probability votes (`str`)."""

    threshold: float | None
    """Least probability of the pixels it votes for; `None` for those of the
    mask (`float`).
    """

    @classmethod
    def parse(cls, name: str) -> Voter:
        """Read the name of a voter.

        Parameters
        ----------
        name : `str`
            A detection, ``{finder}_{kind}{variant}``, whose mask votes; or
            ``{detection}>={threshold}``: its probability votes.

        Returns
        -------
        voter : `Voter`
            The voter.

        Raises
        ------
        VoterNameError
            Raised if the text is neither, or if the threshold is not more
            than 0 and at most 1.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise VoterNameError(
                f"{name!r} is no name of a detection, {{finder}}_{{kind}}{{variant}}, nor of one with a "
                "threshold of its probability, such as cosmic_conn_science>=0.1."
            )
        threshold = None if match[2] is None else float(match[2])
        if threshold is not None and not 0.0 < threshold <= 1.0:
            raise VoterNameError(f"The threshold of {name} must be more than 0 and at most 1.")
        return cls(name, match[1], threshold)


def votes_of(
    names: Iterable[str],
    masks: Mapping[str, npt.NDArray[np.bool_] | None],
    probabilities: Mapping[str, npt.NDArray[np.floating]],
) -> dict[str, npt.NDArray[np.bool_] | None]:
    """Return the pixels for which each voter is.

    Parameters
    ----------
    names : iterable of `str`
        Names of the voters.
    masks : `~collections.abc.Mapping`
        By detection its mask, bool ``(ny, nx)``, or `None`.
    probabilities : `~collections.abc.Mapping`
        By detection its probability, ``(ny, nx)``.

    Returns
    -------
    votes : `dict`
        By name of the voter a mask, bool ``(ny, nx)``; `None` where what it
        needs is missing. A pixel whose probability is NaN has no vote.
    """
    votes: dict[str, npt.NDArray[np.bool_] | None] = {}
    for voter in map(Voter.parse, names):
        if voter.threshold is None:
            votes[voter.name] = masks.get(voter.detection)
        else:
            probability = probabilities.get(voter.detection)
            votes[voter.name] = None if probability is None else probability >= np.float32(voter.threshold)
    return votes
