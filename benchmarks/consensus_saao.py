# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let finders vote on real exposures, and judge the votes by given masks.

The exposures are those of one crowded field from the SAAO 1.0 m telescope
that pyDIA (MichaelDAlbrow/pyDIA, MIT) comes with, beside each a mask of
cosmic rays that was made by comparison with other epochs
(``*_crmask.fits.gz``).  Thresholds of finders are chosen and rules are fitted
on every other exposure, and judged on the rest.  What an earlier run left in
the output folder is used again.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table, vstack
from consensus_exposures import ASTROSCRAPPY, FLAWED, LOW, MORPHOLOGICAL, THREE, Exposure, read_exposures

from lsst.meas.cosmicrays.comparison import (
    MODEL_KINDS,
    ComparedMasks,
    LearnedConsensus,
    PatternCounts,
    VoteTables,
    add_counts,
    cluster_counts,
    detection_bits,
    find_components,
    fit_learned_consensus,
    judge_mask,
    judgement_rates,
    make_object_table,
    rank_steps,
    rank_votes,
    truth_bits,
    vote_by_cosmic_ray,
    vote_by_pixel,
    vote_by_weight,
)

THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3)
STAMP = 24
MIN_CONTRAST = 0.5
MIN_SNR = 5.0


def main() -> None:
    """Prepare, find, judge, and write tables and galleries."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the exposures and masks")
    parser.add_argument("output", type=Path, help="folder for intermediate results, tables and galleries")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    exposures = list(read_exposures(arguments.data, arguments.output))
    good = [exposure for exposure in exposures if exposure.number not in FLAWED]
    for title, chosen in (("All exposures", exposures), ("Without those of flawed masks", good)):
        table, masks = judge_rules(chosen[::2], chosen[1::2])
        print_rates(title, len(chosen), table)
    four = choose_voters(good[::2])
    ranking, steps = rank(good, (*dict.fromkeys((*THREE, *four)),))
    print("\n## Ranking of votes by the F1 of pixels\n")
    print_table(ranking[:6])
    print_table(ranking[np.asarray(ranking["frontier"])])
    print("\n## What each further detection adds\n")
    print_table(steps)
    judged = good[1::2]
    print("\n## Thresholds of the learned table of four\n")
    print_thresholds(fit(four, good[::2], "table"), judged)
    print("\n## What is left\n")
    for kind in ("false", "missed"):
        describe_errors(kind, judged, masks, arguments.output / f"consensus_saao_{kind}.png")
    describe_errors(
        "missed",
        [exposure for exposure in exposures if exposure.number in FLAWED],
        None,
        arguments.output / "consensus_saao_flawed.png",
    )


def choose_voters(exposures: Sequence[Exposure]) -> tuple[str, ...]:
    """Choose thresholds of the finders that are to vote together.

    Parameters
    ----------
    exposures : `~collections.abc.Sequence` [`Exposure`]
        Exposures to learn from.

    Returns
    -------
    four : `tuple` [`str`, ...]
        The morphological finder and the astroscrappy whose common pixels
        have the best F1, and Cosmic-CoNN at two thresholds.
    """

    def quality(pair: tuple[str, str]) -> float:
        counts = [
            judge_mask(vote_by_pixel(_of(exposure.masks, pair), 2), exposure.truth, exposure.usable)
            for exposure in exposures
        ]
        return judgement_rates(np.array(counts), n_replicates=1)["f1"]

    return (*max(itertools.product(MORPHOLOGICAL, ASTROSCRAPPY), key=quality), LOW, "cosmic_conn")


def judge_rules(fitting: Sequence[Exposure], judging: Sequence[Exposure]) -> tuple[Table, list[np.ndarray]]:
    """Judge every rule on exposures that it was not fitted to.

    Parameters
    ----------
    fitting, judging : `~collections.abc.Sequence` [`Exposure`]
        Exposures to fit the learned rules to, and to judge all rules by.

    Returns
    -------
    table : `astropy.table.Table`
        One row a rule.
    masks : `list` [`numpy.ndarray`]
        Masks of the rule with the best F1 of pixels.
    """
    rules: dict[str, Callable[[Mapping[str, np.ndarray]], np.ndarray]] = {
        name: lambda masks, name=name: masks[name] for name in (*THREE, LOW)
    }
    for at_least in (1, 2, 3):
        rules[f"pixel votes, {at_least} of three"] = lambda masks, k=at_least: vote_by_pixel(
            _of(masks, THREE), k
        )
    rules["by CR, 2 of three, pixels of 1"] = lambda masks: vote_by_cosmic_ray(_of(masks, THREE), 2, 1)
    four = choose_voters(fitting)
    pair, tuned = four[:2], four[:3]
    rules[f"both of {' and '.join(pair)}"] = lambda masks: vote_by_pixel(_of(masks, pair), 2)
    rules["pixel votes, 2 of these and cosmic_conn>=0.1"] = lambda masks: vote_by_pixel(_of(masks, tuned), 2)
    rules["by CR, 2 of these, pixels of 1"] = lambda masks: vote_by_cosmic_ray(_of(masks, tuned), 2, 1)
    rules["by CR, 2 of these, pixels of 2"] = lambda masks: vote_by_cosmic_ray(_of(masks, tuned), 2, 2)
    rules["probability as a vote"] = lambda masks: (
        vote_by_weight([*_of(masks, pair), masks["probability"]], [1.0, 1.0, 1.0]) >= np.float32(0.5)
    )
    weights = fit_weights(fitting, four)
    rules[f"weights {weights} of four"] = lambda masks: (
        vote_by_weight(_of(masks, four), weights) >= np.float32(0.5)
    )
    for label, members in (("three", THREE), ("four", four)):
        for kind in MODEL_KINDS:
            learned = fit(members, fitting, kind)
            rules[f"learned {kind}, {label}"] = lambda masks, rule=learned: rule.decide(
                rule.probability(masks)
            )
    rows, made = [], {}
    for name, rule in rules.items():
        made[name] = [rule({**exposure.masks, "probability": exposure.probability}) for exposure in judging]
        counts = [
            judge_mask(mask, exposure.truth, exposure.usable)
            for mask, exposure in zip(made[name], judging, strict=True)
        ]
        rows.append({"rule": name, **judgement_rates(np.array(counts))})
    best = max(rows, key=lambda row: row["f1"])
    return Table(rows=rows), made[best["rule"]]


def fit(members: Sequence[str], exposures: Sequence[Exposure], kind: str = "logistic") -> LearnedConsensus:
    """Fit a learned rule.

    Parameters
    ----------
    members : `~collections.abc.Sequence` [`str`]
        Detections that vote.
    exposures : `~collections.abc.Sequence` [`Exposure`]
        Exposures to learn from.
    kind : `str`, optional
        What to learn: "logistic" or "table".

    Returns
    -------
    rule : `LearnedConsensus`
        The rule.
    """
    counts = PatternCounts.add(
        PatternCounts.count(_of(exposure.masks, members), exposure.truth, exposure.usable)
        for exposure in exposures
    )
    return fit_learned_consensus(members, counts, kind)


def fit_weights(exposures: Sequence[Exposure], four: Sequence[str]) -> tuple[int, ...]:
    """Try all weights of 0 to 3 for four detections.

    Parameters
    ----------
    exposures : `~collections.abc.Sequence` [`Exposure`]
        Exposures to learn from.
    four : `~collections.abc.Sequence` [`str`]
        The detections.

    Returns
    -------
    weights : `tuple` [`int`, ...]
        Those of the best F1 of pixels, where half of the weight is needed.
    """
    counts = add_counts(
        ComparedMasks(
            (*detection_bits(four), *truth_bits([np.nan])),
            (*_of(exposure.masks, four), exposure.truth),
            exposure.usable,
        ).count()
        for exposure in exposures
    )
    code, n = np.asarray(counts["code"], dtype=np.int64), np.asarray(counts["n"])
    votes, is_true = (code[:, np.newaxis] >> np.arange(len(four))) & 1, code >> len(four) & 1 == 1

    def dice(weights: tuple[int, ...]) -> float:
        voted = 2 * votes @ np.array(weights) >= max(sum(weights), 1)
        return 2.0 * n[voted & is_true].sum() / (n[voted].sum() + n[is_true].sum())

    return max(((a, b, c, d) for a, b, c, d in np.ndindex(4, 4, 4, 4)), key=dice)


def rank(exposures: Sequence[Exposure], names: Sequence[str]) -> tuple[Table, Table]:
    """Rank all votes of all subsets from joint counts.

    Parameters
    ----------
    exposures : `~collections.abc.Sequence` [`Exposure`]
        Exposures with truth.
    names : `~collections.abc.Sequence` [`str`]
        The detections.

    Returns
    -------
    ranking, steps : `astropy.table.Table`
        What `rank_votes` and `rank_steps` return.
    """
    bits = (*detection_bits(names), *truth_bits([np.nan]))
    compared = [
        ComparedMasks(bits, (*_of(exposure.masks, names), exposure.truth), exposure.usable)
        for exposure in exposures
    ]
    clusters, objects = [], []
    for number, masks in enumerate(compared):
        counts = cluster_counts(masks)
        counts["visit"], counts["detector"] = number, 0
        clusters.append(counts)
        objects.append(make_object_table(masks, exposures[number].image, reference=len(names)))
    tables = VoteTables(
        counts=add_counts(masks.count() for masks in compared),
        counts_dilated=add_counts(masks.count_dilated() for masks in compared),
        stamps=Table({"available": np.zeros(0, np.uint64), "code": np.zeros(0, np.uint64)}),
        objects=vstack(objects),
        visits=[masks.count() for masks in compared],
        clusters=vstack(clusters),
    )
    wall_times = {
        name: float(np.median([exposure.wall_times[name] for exposure in exposures])) for name in names
    }
    ranking = rank_votes(bits, tables, wall_times)
    return ranking, rank_steps(ranking)


def print_thresholds(rule: LearnedConsensus, exposures: Sequence[Exposure]) -> None:
    """Print what a rule finds at several thresholds, as it is and without
    the false components that are sharper than any star can be.

    Parameters
    ----------
    rule : `LearnedConsensus`
        A learned rule.
    exposures : `~collections.abc.Sequence` [`Exposure`]
        Exposures to judge it by.
    """
    print(
        "| threshold | | strict F1 | within 1 pixel: F1 | CRs found / purity of CRs |\n|---|---|---|---|---|"
    )
    for threshold in (*THRESHOLDS, rule.threshold):
        counts: dict[str, list[np.ndarray]] = {"all": [], "without sharp": []}
        for exposure in exposures:
            mask = rule.decide(rule.probability(exposure.masks), threshold)
            usable = exposure.usable.copy()
            counts["all"].append(judge_mask(mask, exposure.truth, usable))
            for rows, columns, sharp in _unmatched(exposure, mask, exposure.truth):
                usable[rows, columns] &= not sharp
            counts["without sharp"].append(judge_mask(mask, exposure.truth, usable))
        for name, judged in counts.items():
            rates = judgement_rates(np.array(judged))
            print(
                f"| {threshold:.2f} | {name} | {rates['f1']:.3f} | {rates['f1_1px']:.3f} | "
                f"{rates['object_completeness']:.3f} / {rates['object_purity']:.3f} |"
            )


def describe_errors(
    kind: str, exposures: Sequence[Exposure], masks: Sequence[np.ndarray] | None, path: Path
) -> None:
    """Count and draw what a mask has too much or too little.

    Parameters
    ----------
    kind : `str`
        "false" or "missed".
    exposures : `~collections.abc.Sequence` [`Exposure`]
        Exposures with truth.
    masks : `~collections.abc.Sequence` [`numpy.ndarray`] or `None`
        Mask of each; `None` for that of at least two of three.
    path : `~pathlib.Path`
        Where to draw the largest.
    """
    errors = []
    for number, exposure in enumerate(exposures):
        mask = vote_by_pixel(_of(exposure.masks, THREE), 2) if masks is None else masks[number]
        owner, other = (mask, exposure.truth) if kind == "false" else (exposure.truth, mask)
        errors += [(exposure, mask, *error) for error in _unmatched(exposure, owner, other)]
    n_sharp = sum(error[-1] for error in errors)
    n_pixels = sum(error[2].size for error in errors)
    print(
        f"{path.stem}: {len(errors)} components of {n_pixels} pixels are {kind}; {n_sharp} of them are "
        "sharper than any star can be."
    )
    _draw(errors, path)


def _unmatched(
    exposure: Exposure, owner: np.ndarray, other: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Yield rows and columns of each component of a mask that has no pixel of
    another, and whether it is sharp.
    """
    usable_owner = owner & exposure.usable
    parts = find_components(usable_owner)
    matched = parts.maximum((other & exposure.usable)[parts.rows, parts.columns]) > 0
    for part in np.flatnonzero(~matched):
        pixels = parts.labels == part
        rows, columns = parts.rows[pixels], parts.columns[pixels]
        yield rows, columns, _is_sharp(exposure, usable_owner, rows, columns)


def _is_sharp(exposure: Exposure, owner: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> bool:
    """Say whether the brightest pixel stands out of its neighbours as no
    star can.

    Of the height of a star of FWHM 4 pixels, the best seeing here, its centre
    has less than a quarter more than its eight neighbours; a hit pixel can
    have nearly all.  The height is taken above the darkest tenth of the
    surroundings, so that a cosmic ray on a star rather counts as not sharp.
    """
    brightest = np.argmax(exposure.image[rows, columns])
    y, x = rows[brightest], columns[brightest]
    near, wide = (
        (slice(max(y - size, 0), y + size + 1), slice(max(x - size, 0), x + size + 1)) for size in (1, 7)
    )
    neighbours = exposure.image[near][~owner[near]]
    if neighbours.size < 3:
        return False
    peak = float(exposure.image[y, x])
    excess = peak - float(np.median(neighbours))
    height = peak - float(np.percentile(exposure.image[wide], 10.0))
    return excess > MIN_SNR * float(np.sqrt(exposure.variance[y, x])) and excess > MIN_CONTRAST * height


def _draw(errors: list, path: Path, n_columns: int = 10, n_rows: int = 5) -> None:
    chosen = np.random.default_rng(1).permutation(len(errors))[: n_columns * n_rows]
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(1.1 * n_columns, 1.25 * n_rows))
    for axis in axes.flat:
        axis.axis("off")
    for axis, index in zip(axes.flat, chosen, strict=False):
        exposure, mask, rows, columns, sharp = errors[index]
        y, x = int(rows.mean()) - STAMP // 2, int(columns.mean()) - STAMP // 2
        cut = (slice(max(y, 0), y + STAMP), slice(max(x, 0), x + STAMP))
        noise = np.sqrt(np.median(exposure.variance[cut]))
        pixels = np.arcsinh((exposure.image[cut] - np.median(exposure.image[cut])) / (2.0 * noise))
        axis.imshow(pixels, origin="lower", cmap="gray")
        for marked, colour in ((exposure.truth[cut], "lime"), (mask[cut], "red")):
            if marked.any():
                axis.contour(marked, [0.5], colors=colour, linewidths=0.7)
        axis.set_title(f"{exposure.number}{' sharp' if sharp else ''}", fontsize=6, pad=1)
    figure.tight_layout(pad=0.2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def print_rates(title: str, n_exposures: int, table: Table) -> None:
    """Print how good rules are.

    Parameters
    ----------
    title : `str`
        Heading.
    n_exposures : `int`
        Number of exposures, those of the fit included.
    table : `astropy.table.Table`
        What `judge_rules` returned.
    """
    print(f"\n## {title}: {n_exposures}, judged on {table['n_detectors'][0]} that were not fitted\n")
    print("| | strict pixels: purity / completeness / F1 | within 1 pixel: F1 | CRs found / purity of CRs |")
    print("|---|---|---|---|")
    for row in table:
        print(
            f"| {row['rule']} | {row['purity']:.3f} / {row['completeness']:.3f} / {row['f1']:.3f} "
            f"({row['f1_lo']:.3f}-{row['f1_hi']:.3f}) | {row['f1_1px']:.3f} "
            f"({row['f1_1px_lo']:.3f}-{row['f1_1px_hi']:.3f}) | {row['object_completeness']:.3f} / "
            f"{row['object_purity']:.3f} |"
        )
    print(f"\n{table['n_true_objects'][0]} true cosmic rays of {table['tp'][0] + table['fn'][0]} pixels.")


def print_table(table: Table) -> None:
    """Print the main columns of a ranking in Markdown.

    Parameters
    ----------
    table : `astropy.table.Table`
        A ranking, or its steps.
    """
    names = [
        "members",
        "at_least",
        "purity",
        "completeness",
        "f1",
        "f1_lo",
        "f1_hi",
        "f1_1px_min",
        "f1_1px_max",
    ]
    names += ["object_completeness", "object_purity", "gain", "wall_time"]
    names = [name for name in names if name in table.colnames]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in table:
        cells = (f"{row[name]:.3f}" if table[name].dtype.kind == "f" else str(row[name]) for name in names)
        print("| " + " | ".join(cells) + " |")
    print()


def _of(masks: Mapping[str, np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
    return [masks[name] for name in names]


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        main()
