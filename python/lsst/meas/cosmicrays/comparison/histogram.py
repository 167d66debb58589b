# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Joint histograms: which masks have a pixel, counted once for all pixels.

Every pixel gets a code whose bit ``m`` says whether mask ``m`` has it. The
counts of the codes hold every pairwise confusion matrix, every region of a
Venn or UpSet diagram, and every vote of every subset of the masks.
"""

from __future__ import annotations

__all__ = ["MAX_MASKS", "add_counts", "counts_rows", "dilate", "joint_counts", "joint_histogram"]

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from astropy.table import Table, vstack
from numba import njit

MAX_MASKS = 24
"""Most masks of a dense joint histogram (``2**24`` counts)."""

_MAX_CODE_BITS = 64
_PIXELS_PER_WORD = 8
_WORDS_PER_BLOCK = 1 << 15
_BYTE = np.uint64(0xFF)
_BYTE_BITS = np.uint64(8)
_TOP_BYTE = np.uint64(56)
_ALL_BYTES_ONE = np.uint64(0x0101010101010101)


def joint_histogram(
    masks: Sequence[npt.ArrayLike], usable: npt.ArrayLike | None = None, *, n_threads: int = 2
) -> npt.NDArray[np.int64]:
    """Count the pixels of every combination of masks.

    Parameters
    ----------
    masks : sequence of array-like
        Between 1 and `MAX_MASKS` bool arrays of one shape, ``(ny, nx)``.
    usable : array-like, optional
        Bool array ``(ny, nx)``; only pixels where it is `True` are counted.
        All pixels by default.
    n_threads : `int`, optional
        Number of threads to read the masks with.

    Returns
    -------
    counts : `numpy.ndarray`
        Number of pixels of each code, int64, shape ``(2**M,)``. Bit ``m`` of
        a code says whether mask ``m`` has the pixel.

    Raises
    ------
    ValueError
        Raised if there is no mask, if there are more than `MAX_MASKS`, or if
        two arrays differ in shape.
    """
    if len(masks) > MAX_MASKS:
        raise ValueError(
            f"{len(masks)} masks: a joint histogram takes at most {MAX_MASKS}. Compare fewer at a time."
        )
    codes, n_usable = _marked_codes(dict(enumerate(masks)), usable, n_threads)
    counts = np.bincount(codes.view(np.int64), minlength=1 << len(masks)).astype(np.int64, copy=False)
    counts[0] = n_usable - codes.size
    return counts


def joint_counts(
    masks: Sequence[npt.ArrayLike | None], usable: npt.ArrayLike | None = None, *, n_threads: int = 2
) -> Table:
    """Count the pixels of every combination of masks that occurs.

    The sparse form of `joint_histogram`, for more masks, and where some of
    them may be missing.

    Parameters
    ----------
    masks : sequence
        Up to 64 bool arrays of one shape, ``(ny, nx)``; `None` where a mask
        is missing.
    usable : array-like, optional
        Bool array ``(ny, nx)``; only pixels where it is `True` are counted.
        Needed if every mask is missing.
    n_threads : `int`, optional
        Number of threads to read the masks with.

    Returns
    -------
    counts : `astropy.table.Table`
        One row for each code that occurs, and always one for code 0:
        ``available`` (uint64; bit ``m`` is set if mask ``m`` was given),
        ``code`` (uint64) and ``n`` (int64), by rising code.

    Raises
    ------
    ValueError
        Raised if there are more than 64 masks, if two arrays differ in
        shape, or if there is neither a mask nor usable pixels.
    """
    if len(masks) > _MAX_CODE_BITS:
        raise ValueError(f"{len(masks)} masks: a code has {_MAX_CODE_BITS} bits. Compare fewer at a time.")
    given = {bit: mask for bit, mask in enumerate(masks) if mask is not None}
    codes, n_usable = _marked_codes(given, usable, n_threads)
    values, n = np.unique(codes, return_counts=True)
    available = np.uint64(sum(1 << bit for bit in given))
    return Table(
        {
            "available": np.full(values.size + 1, available),
            "code": np.concatenate([np.zeros(1, dtype=np.uint64), values]),
            "n": np.concatenate([[n_usable - codes.size], n]).astype(np.int64),
        }
    )


def add_counts(tables: Iterable[Table]) -> Table:
    """Add sparse counts, for instance those of the detectors of a visit.

    Parameters
    ----------
    tables : iterable of `astropy.table.Table`
        Sparse counts, as `joint_counts` returns them. Where a table has no
        column ``n_detectors``, it is taken to rest on one detector.

    Returns
    -------
    counts : `astropy.table.Table`
        ``available``, ``code`` and ``n``, where rows with the same available
        bits and the same code have been added, and ``n_detectors``: on how
        many detectors the rows with these available bits rest (int64).

    Raises
    ------
    ValueError
        Raised if there is no table.
    """
    parts = [_with_detectors(table) for table in tables]
    if not parts:
        raise ValueError("No counts to add.")
    rows = vstack(parts, metadata_conflicts="silent")
    keys, inverse = np.unique(
        np.stack([rows["available"], rows["code"]], axis=1), axis=0, return_inverse=True
    )
    inverse = inverse.reshape(-1)
    return Table(
        {
            "available": keys[:, 0],
            "code": keys[:, 1],
            "n": _sum_by(inverse, rows["n"], len(keys)),
            "n_detectors": _detectors_by_available(parts, keys[:, 0]),
        }
    )


def counts_rows(
    counts: npt.NDArray[np.int64] | Table,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Read dense or sparse counts as rows.

    Parameters
    ----------
    counts : `numpy.ndarray` or `astropy.table.Table`
        What `joint_histogram`, `joint_counts` or `add_counts` returned.

    Returns
    -------
    available : `numpy.ndarray`
        Bits of the masks that were given, uint64, one a row.
    code : `numpy.ndarray`
        Bits of the masks that have the pixels, uint64, one a row.
    n : `numpy.ndarray`
        Number of pixels, int64, one a row.

    Raises
    ------
    ValueError
        Raised if dense counts are not ``2**M`` long.
    """
    if isinstance(counts, Table):
        available = np.asarray(counts["available"], dtype=np.uint64)
        code = np.asarray(counts["code"], dtype=np.uint64)
        n = np.asarray(counts["n"], dtype=np.int64)
    else:
        dense = np.asarray(counts)
        n_masks = dense.size.bit_length() - 1
        if dense.ndim != 1 or dense.size != 1 << n_masks:
            raise ValueError(f"Dense counts must have shape (2**M,), not {dense.shape}.")
        occurring = np.flatnonzero(dense)
        code = occurring.astype(np.uint64)
        n = dense[occurring].astype(np.int64)
        available = np.full(code.size, dense.size - 1, dtype=np.uint64)
    return available, code, n


def dilate(mask: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Grow a mask by one pixel in every direction (3x3 dilation).

    Parameters
    ----------
    mask : array-like
        Bool array ``(ny, nx)``.

    Returns
    -------
    dilated : `numpy.ndarray`
        Bool array ``(ny, nx)``: `True` where the pixel or one of its eight
        neighbours is in the mask.
    """
    original = np.asarray(mask, dtype=bool)
    wide = original.copy()
    wide[:, 1:] |= original[:, :-1]
    wide[:, :-1] |= original[:, 1:]
    dilated = wide.copy()
    dilated[1:] |= wide[:-1]
    dilated[:-1] |= wide[1:]
    return dilated


def _marked_codes(
    masks: dict[int, npt.ArrayLike], usable: npt.ArrayLike | None, n_threads: int
) -> tuple[npt.NDArray[np.uint64], int]:
    """Return the codes of usable pixels in any mask, and how many pixels are
    usable.
    """
    arrays = {bit: np.asarray(mask, dtype=bool) for bit, mask in masks.items()}
    size = math.prod(_common_shape(arrays, usable))
    block_size = _WORDS_PER_BLOCK * _PIXELS_PER_WORD
    n_groups = max(arrays, default=0) // _PIXELS_PER_WORD + 1
    flat = {bit: array.reshape(-1) for bit, array in arrays.items()}
    flat_usable = None if usable is None else np.asarray(usable, dtype=bool).reshape(-1)
    all_usable = np.ones(min(block_size, size), dtype=bool)

    def count_block(first: int) -> tuple[npt.NDArray[np.uint64], int]:
        block = slice(first, min(first + block_size, size))
        usable_words = _words(all_usable[: size - first] if flat_usable is None else flat_usable[block])
        groups = np.zeros((n_groups, usable_words.size), dtype=np.uint64)
        for bit, array in flat.items():
            group, shift = divmod(bit, _PIXELS_PER_WORD)
            _or_shifted(groups[group], _words(array[block]), np.uint64(shift))
        buffer = np.empty(usable_words.size * _PIXELS_PER_WORD, dtype=np.uint64)
        n_marked, n_usable = _collect_marked(groups, usable_words, buffer)
        return buffer[:n_marked].copy(), int(n_usable)

    with ThreadPoolExecutor(n_threads) as pool:
        blocks = list(pool.map(count_block, range(0, size, block_size)))
    codes = [codes for codes, _ in blocks]
    return np.concatenate([np.zeros(0, dtype=np.uint64), *codes]), sum(n for _, n in blocks)


def _common_shape(arrays: dict[int, npt.NDArray[np.bool_]], usable: npt.ArrayLike | None) -> tuple[int, ...]:
    named = [(f"mask {bit}", array.shape) for bit, array in arrays.items()]
    if usable is not None:
        named.append(("the usable pixels", np.shape(usable)))
    if not named:
        raise ValueError("No mask to count.")
    first_name, first_shape = named[0]
    for name, shape in named[1:]:
        if shape != first_shape:
            raise ValueError(
                f"Masks must have one shape, but {first_name} has {first_shape} and {name} has {shape}."
            )
    return first_shape


def _words(pixels: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """View the bytes of bool pixels as words of eight, padded with `False`."""
    n_missing = -pixels.size % _PIXELS_PER_WORD
    if n_missing:
        pixels = np.concatenate([pixels, np.zeros(n_missing, dtype=bool)])
    words = np.ascontiguousarray(pixels).view(np.uint64)
    return words if words.flags.aligned else words.copy()


@njit(cache=True, nogil=True)
def _or_shifted(
    group: npt.NDArray[np.uint64], words: npt.NDArray[np.uint64], shift: np.uint64
) -> None:  # pragma: no cover - compiled
    """Put the pixels of a mask at a bit of every byte of a group."""
    for i in range(words.size):
        group[i] |= words[i] << shift


@njit(cache=True, nogil=True)
def _collect_marked(
    groups: npt.NDArray[np.uint64], usable: npt.NDArray[np.uint64], codes: npt.NDArray[np.uint64]
) -> tuple[int, np.uint64]:  # pragma: no cover - compiled
    """Write the codes of usable pixels in any mask.

    Byte ``p`` of ``groups[g, w]`` holds the bits of masks ``8 g`` to
    ``8 g + 7`` at pixel ``8 w + p``; words without a marked pixel, nearly
    all, are passed over at once.
    """
    n_marked = 0
    n_usable = np.uint64(0)
    for w in range(usable.size):
        n_usable += (usable[w] * _ALL_BYTES_ONE) >> _TOP_BYTE
        marked = np.uint64(0)
        for g in range(groups.shape[0]):
            marked |= groups[g, w]
        marked &= usable[w] * _BYTE
        if marked == 0:
            continue
        for p in range(8):
            shift = np.uint64(p) * _BYTE_BITS
            if (marked >> shift) & _BYTE == 0:
                continue
            code = np.uint64(0)
            for g in range(groups.shape[0]):
                code |= ((groups[g, w] >> shift) & _BYTE) << (np.uint64(g) * _BYTE_BITS)
            codes[n_marked] = code
            n_marked += 1
    return n_marked, n_usable


def _with_detectors(table: Table) -> Table:
    columns = {name: np.asarray(table[name]) for name in ("available", "code", "n")}
    columns["n_detectors"] = (
        np.asarray(table["n_detectors"], dtype=np.int64)
        if "n_detectors" in table.colnames
        else np.ones(len(table), dtype=np.int64)
    )
    return Table(columns)


def _detectors_by_available(
    parts: Sequence[Table], available: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    n_detectors: dict[int, int] = {}
    for bits, n in _available_of_each(parts):
        n_detectors[bits] = n_detectors.get(bits, 0) + n
    return np.array([n_detectors[int(bits)] for bits in available], dtype=np.int64)


def _available_of_each(parts: Sequence[Table]) -> Iterator[tuple[int, int]]:
    for table in parts:
        bits, first = np.unique(table["available"], return_index=True)
        for value, row in zip(bits, first, strict=True):
            yield int(value), int(table["n_detectors"][row])


def _sum_by(
    group: npt.NDArray[np.intp], values: npt.NDArray[np.int64], n_groups: int
) -> npt.NDArray[np.int64]:
    total = np.zeros(n_groups, dtype=np.int64)
    np.add.at(total, group, np.asarray(values, dtype=np.int64))
    return total
