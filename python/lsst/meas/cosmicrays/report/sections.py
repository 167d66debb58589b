# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report of a study shows, and in which order.

A section names dataset types by patterns. What is not in a repository is left
out, and what no section names comes last, in a section of its own: a new task
appears in the report without a line here.
"""

from __future__ import annotations

__all__ = ["OTHER", "SECTIONS"]

import numpy as np
from astropy.table import Table

from .drawn import DRAWN
from .entries import FigureEntry, Rows, Section, TableEntry
from .study import Study

_RATES = ("candidate", "purity", "completeness", "f1", "tp", "fp", "fn", "n_detectors")


def _against_truth(level: str) -> Rows:
    def choose(confusion: Table) -> Table:
        return confusion[(confusion["level"] == level) & (confusion["reference"] == "truth")]

    return choose


def _n_disagreements(study: Study, name: str) -> float:
    """Count the stamps of a gallery; 1 where they have not been counted."""
    if "cr_instrument_disagreement_counts" in study.tables:
        for row in study.tables["cr_instrument_disagreement_counts"]:
            if name == f"cr_plot_disagreements_{row['first']}_{row['second']}":
                return float(row["n_stamps"])
    return 1.0


def _truth_first(rows: Table) -> Table:
    """Put the rows first of which truth is the reference, in their order."""
    is_truth = [str(name) == "truth" for name in rows["reference"]]
    return rows[np.argsort(np.logical_not(is_truth), kind="stable")]


def _between_detections(confusion: Table) -> Table:
    reference = [not str(name).startswith("truth") for name in confusion["reference"]]
    return confusion[reference]


SECTIONS = (
    Section(
        "rates",
        "Purity and completeness",
        "The reference is taken as true, the candidate is judged. Purity is the share of what was found "
        "that is real, completeness the share of what is real that was found, F1 their harmonic mean. "
        "Limits are of 95 % intervals: Wilson's for stamps and cosmic rays, a bootstrap over detectors or "
        "cosmic rays for pixels.",
        figures=(
            FigureEntry(
                "cr_plot_rates_*",
                "Rates of every detection",
                "Purity, completeness and F1 of every detection with 95 % intervals, one panel for each way "
                "of counting. The tables below have the same numbers.",
                DRAWN["rates"],
            ),
        ),
        tables=(
            TableEntry(
                "cr_instrument_confusion",
                "Against truth, by stamps around DIASources",
                "A stamp is a cosmic ray if it has at least one cosmic-ray pixel.",
                _RATES,
                _against_truth("stamp"),
            ),
            TableEntry(
                "cr_instrument_confusion",
                "Against truth, by cosmic ray",
                "A cosmic ray is found if one of its pixels is.",
                _RATES,
                _against_truth("object"),
            ),
            TableEntry(
                "cr_instrument_confusion",
                "Against truth, pixel by pixel",
                "Finders differ most in how wide they draw the rim of a cosmic ray.",
                (*_RATES, "critical_fn", "adjusted_completeness"),
                _against_truth("pixel"),
            ),
            TableEntry(
                "cr_instrument_confusion",
                "Against truth, pixel by pixel, within one pixel",
                "A pixel matches if the other mask has it or one of its eight neighbours.",
                _RATES,
                _against_truth("pixel_1px"),
            ),
            TableEntry(
                "cr_instrument_confusion",
                "Detections against each other",
                "Every ordered pair at every level: with a detection as reference, rates say how far the "
                "candidate agrees with it, not which of the two is right.",
                ("level", "reference", *_RATES),
                _between_detections,
            ),
        ),
    ),
    Section(
        "found",
        "What each detection found",
        "Cosmic-ray pixels, their density, the flux of cosmic rays that follows, and how many stamps around "
        "DIASources were labelled.",
        figures=(
            FigureEntry(
                "cr_plot_upset",
                "Which detections share pixels",
                "UpSet plot: the number of pixels in each combination of detections, and which detections "
                "each combination has. The table of combinations has the same numbers.",
                DRAWN["upset"],
            ),
            FigureEntry(
                "cr_plot_distributions",
                "Distributions",
                "Distributions of the density of cosmic-ray pixels over detectors, and of size, length and "
                "charge of cosmic rays.",
            ),
        ),
        tables=(
            TableEntry(
                "cr_instrument_summary",
                "Detections",
                "The flux follows from the median number of CR pixels of a stamp that is a cosmic ray.",
                (
                    "detection",
                    "n_pixels",
                    "cr_pixels_per_mpix",
                    "flux",
                    "median_stamp_pixels",
                    "fraction_in_stamps",
                    "n_stamps_cr",
                    "n_stamps_not_cr",
                    "n_cosmic_rays",
                    "n_failed",
                    "n_detectors",
                ),
            ),
            TableEntry(
                "cr_instrument_upset",
                "Combinations of detections",
                "Pixels that exactly these detections have, on detectors with all of them.",
                ("members", "n_members", "n", "fraction"),
                most_rows=60,
            ),
        ),
    ),
    Section(
        "costs",
        "What a cosmic-ray label costs",
        "Alerts of cosmic rays that pass, and alerts of real variable sources that are withheld because "
        "their stamp is labelled a cosmic ray.",
        figures=(
            FigureEntry(
                "cr_plot_label_cost*",
                "Alerts lost and alerts that pass",
                "For every detection, the real alerts of a visit that are lost beside the cosmic rays that "
                "pass.",
            ),
        ),
        tables=(
            TableEntry(
                "cr_instrument_label_cost",
                "Costs of labels",
                "Lost: stamps around real variable sources that are labelled. Passed: stamps around cosmic "
                "rays that are not.",
                (
                    "detection",
                    "lost_per_visit",
                    "passed_per_visit",
                    "alerts_per_visit",
                    "fraction_lost",
                    "fraction_passed",
                    "alert_contamination",
                    "fraction_dipole_cr",
                    "n_variable",
                    "n_variable_lost",
                    "n_cr",
                    "n_cr_passed",
                ),
            ),
        ),
    ),
    Section(
        "completeness",
        "Which cosmic rays are missed",
        "Completeness by cosmic ray as a function of its length, its charge and its distance to the nearest "
        "star, with 95 % Wilson intervals.",
        figures=(
            FigureEntry(
                "cr_plot_completeness",
                "Completeness",
                "Completeness of every detection against length, charge and distance to the nearest star. "
                "The table below has the same numbers.",
                DRAWN["completeness"],
            ),
        ),
        tables=(TableEntry("cr_instrument_completeness", "Completeness in bins"),),
    ),
    Section(
        "stamps",
        "Stamps around DIASources",
        "How many cosmic-ray pixels stamps have, and what another threshold of the label would change.",
        figures=(
            FigureEntry(
                "cr_plot_stamp_distribution",
                "Cosmic-ray pixels of stamps",
                "Number of stamps by their number of cosmic-ray pixels, for every detection.",
            ),
            FigureEntry(
                "cr_plot_stamp_thresholds",
                "Thresholds of the label",
                "What becomes of labels, purity and completeness as the threshold rises.",
            ),
            FigureEntry(
                "cr_plot_stamp_gallery_*",
                "Gallery of stamps",
                "Stamps: template, science and difference image in one stretch, the difference in its own, "
                "with the outlines of the mask and of truth; captions have the number of cosmic-ray pixels.",
            ),
            FigureEntry(
                "cr_plot_stamp_places_*",
                "Stamps over the mask",
                "Mask of a detector with the outlines of the stamps that have cosmic-ray pixels.",
            ),
        ),
        tables=(
            TableEntry(
                "cr_instrument_stamp_study",
                "Stamps of every detection",
                "CR pixels: of stamps that are CR; inside: of those that the edge does not cut.",
                (
                    "detection",
                    "n_stamps",
                    "n_stamps_cr",
                    "n_stamps_not_cr",
                    "fraction_cr",
                    "n_edge",
                    "median_cr_pixels",
                    "median_cr_pixels_inside",
                    "p16_cr_pixels",
                    "p84_cr_pixels",
                    "max_cr_pixels",
                    "cr_pixels_in_stamps_per_mpix",
                    "fraction_in_stamps",
                    "flux",
                ),
            ),
            TableEntry(
                "cr_instrument_stamp_thresholds",
                "Thresholds of the label",
                "A stamp is CR if it has at least as many CR pixels as the threshold; exactly: if it has as "
                "many.",
                (
                    "detection",
                    "threshold",
                    "n_exactly",
                    "exactly_purity",
                    "n_stamps_cr",
                    "purity",
                    "completeness",
                    "f1",
                ),
            ),
        ),
    ),
    Section(
        "disagreements",
        "Where detections disagree",
        "Masks over the image, and stamps that one detection calls a cosmic ray and another does not.",
        figures=(
            FigureEntry(
                "cr_plot_exposures",
                "Template, science and difference image",
                "Template, science image and difference image of a detector, and the cosmic-ray planes they "
                "carry.",
            ),
            FigureEntry(
                "cr_plot_masks_*",
                "Masks of two detections",
                "Two masks over a whole detector and, where they differ most, over the image close up; the "
                "legend has the numbers of pixels.",
            ),
            FigureEntry(
                "cr_plot_disagreements_*",
                "Stamps that only the first calls a cosmic ray",
                "Gallery of stamps: template, science and difference image in one stretch, the difference "
                "in its own, with the outlines of both masks; captions say what the source truly is where "
                "that is known.",
                rank=_n_disagreements,
            ),
        ),
        tables=(
            TableEntry("cr_instrument_disagreement_counts", "Disagreements of every ordered pair"),
            TableEntry(
                "cr_instrument_disagreements", "The most telling stamps on which two detections disagree"
            ),
        ),
    ),
    Section(
        "places",
        "Why pixels and stamps tell different stories",
        "Pixels on which two masks disagree lie at the rim of a cosmic ray that both found, or belong to "
        "one that only one of them found; and they lie in a stamp around a DIASource or in none.",
        figures=(
            FigureEntry(
                "cr_plot_places*",
                "Where the disagreeing pixels lie",
                "For pairs of detections, the pixels on which they disagree, split by place.",
            ),
        ),
        tables=(
            TableEntry("cr_instrument_places", "Disagreeing pixels by place"),
            TableEntry(
                "cr_instrument_pixel_places",
                "Counts by place",
                "Pixels that only the reference (fn) or only the candidate (fp) has; against truth first.",
                rows=_truth_first,
                most_rows=40,
            ),
        ),
    ),
    Section(
        "interpolation",
        "Interpolation",
        "What becomes of DIASources when cosmic rays are interpolated before the difference image is made.",
        figures=(
            FigureEntry(
                "cr_plot_interpolation_*",
                "Interpolated stamps",
                "Stamps before and after the interpolation of cosmic rays.",
            ),
        ),
        tables=(
            TableEntry(
                "cr_instrument_interpolation_*",
                "Sources before and after interpolation",
                "",
                (
                    "fate",
                    "true_kind",
                    "n",
                    "n_of",
                    "fraction",
                    "n_with_cr",
                    "n_near_cr",
                    "detection",
                    "n_object_cr",
                    "n_object_not_cr",
                    "n_no_object_cr",
                    "n_no_object_not_cr",
                    "n_real_object_cr",
                    "cr_of_object",
                    "object_of_cr",
                    "n_detectors",
                ),
            ),
        ),
    ),
    Section(
        "tuning",
        "Tuning",
        "One parameter of a finder is varied. The optimum is the least mean square error against a reference "
        "detection, the knee of that curve, or the highest F1.",
        figures=(
            FigureEntry(
                "cr_plot_tuning*",
                "Tuning curve",
                "Mean square error, purity, completeness and F1 as functions of the parameter, with the "
                "optima.",
            ),
        ),
        tables=(
            TableEntry(
                "cr_tuning_optimum*",
                "Optima",
                "Value: of all detectors together; median to max: of the detectors, each by itself.",
                (
                    "finder",
                    "field",
                    "criterion",
                    "value",
                    "median",
                    "std",
                    "min",
                    "max",
                    "mse",
                    "purity",
                    "completeness",
                    "f1",
                    "f1_truth",
                    "n_detectors",
                ),
            ),
            TableEntry(
                "cr_instrument_tuning_curve*",
                "Curve over all detectors",
                "",
                (
                    "value",
                    "n_pixels",
                    "cr_pixels_per_mpix",
                    "mse",
                    "purity",
                    "completeness",
                    "f1",
                    "purity_truth",
                    "completeness_truth",
                    "f1_truth",
                    "n_detectors",
                ),
            ),
        ),
    ),
    Section(
        "probability",
        "Finders that give probabilities",
        "Precision and recall as the threshold on the probability moves.",
        figures=(
            FigureEntry(
                "cr_plot_precision_recall*",
                "Precision and recall",
                "Precision against recall for every finder that gives probabilities, with the thresholds in "
                "use.",
            ),
        ),
        tables=(
            TableEntry("cr_instrument_probability_summary*", "Summary of the curves"),
            TableEntry("cr_instrument_probability_curve*", "Curve", most_rows=0),
        ),
    ),
    Section(
        "consensus",
        "Votes of several finders",
        "Every subset of detections and every number of votes that can make a pixel a cosmic ray.",
        figures=(
            FigureEntry(
                "cr_plot_consensus*", "Consensus", "How good votes of several detections are, and how slow."
            ),
        ),
        tables=(
            TableEntry(
                "cr_consensus_steps",
                "What each further detection adds",
                "Gain: of F1 by pixel. Seconds are those of all members together.",
            ),
            TableEntry(
                "cr_consensus_ranking",
                "Ranking of votes",
                "frontier: no other vote is both better and faster.",
                ("members", "at_least", "f1", "stamp_f1", "object_f1", "wall_time", "frontier"),
            ),
        ),
    ),
    Section(
        "focal-plane",
        "Over the focal plane",
        "Density of cosmic-ray pixels, and of pixels on which two detections disagree, by detector.",
        figures=(
            FigureEntry(
                "cr_plot_focal_plane_*",
                "Map of the focal plane",
                "Map of the detectors on the sky, coloured by their density. The table below has the "
                "numbers.",
            ),
        ),
        tables=(TableEntry("cr_instrument_focal_plane", "Densities by detector", most_rows=0),),
    ),
    Section(
        "time",
        "Run time",
        "Seconds that a finder took for a detector, reading and writing not included.",
        figures=(
            FigureEntry(
                "cr_plot_run_times",
                "Run times",
                "Run time of every detection: one dot a detector, and the median.",
                DRAWN["run_times"],
            ),
        ),
        tables=(
            TableEntry(
                "cr_instrument_summary",
                "Run times",
                "",
                (
                    "detection",
                    "finder",
                    "kind",
                    "engine",
                    "wall_time_median",
                    "wall_time_total",
                    "n_detectors",
                ),
                lambda summary: summary[[str(role) == "detection" for role in summary["role"]]],
            ),
        ),
    ),
    Section(
        "trails",
        "Satellite trails and failures",
        "Detectors on which a detection looks like a trail, and detectors on which a finder gave up.",
        figures=(
            FigureEntry("cr_plot_trails", "Trails", "Detectors with detections that look like a trail."),
            FigureEntry("cr_plot_failures*", "Failures", "Detectors on which finders failed."),
        ),
        tables=(
            TableEntry("cr_instrument_trail_rates", "Rates with and without trails"),
            TableEntry(
                "cr_instrument_trail_confusion", "Rates of pairs with and without trails", most_rows=60
            ),
            TableEntry("cr_instrument_trails", "Trails"),
            TableEntry("cr_instrument_failures", "Failures"),
        ),
    ),
    Section(
        "raw",
        "What everything follows from",
        "Joint codes of pixels, stamps and cosmic rays: bit m of a code says whether mask m has it. Every "
        "rate above follows from these tables, and any other can be had from them without a look at the "
        "pixels.",
        tables=tuple(
            TableEntry(pattern, title, note, most_rows=0)
            for pattern, title, note in (
                ("cr_instrument_detections", "Detections by detector", "What each bit is."),
                ("cr_instrument_counts", "Joint counts of pixels", ""),
                ("cr_instrument_counts_dilated", "Joint counts of pixels and their neighbours", ""),
                ("cr_instrument_stamps", "Stamps", "One row a DIASource."),
                ("cr_instrument_objects", "Cosmic rays", "One row a cosmic ray."),
                ("cr_visit_interpolation_sources", "Sources before and after interpolation", ""),
                ("cr_visit_pixel_pairs", "Pairs of masks by detector", ""),
                ("cr_visit_cluster_counts", "Joint counts within cosmic rays", ""),
                ("cr_instrument_*_distribution", "Distributions", ""),
                ("cr_instrument_disagreement_counts", "Counts of disagreements", ""),
                ("cr_instrument_probability_counts*", "Counts by probability", ""),
            )
        ),
    ),
)
"""Sections of the report, in their order."""

OTHER = Section(
    "other",
    "Everything else in the collection",
    "Tables and figures that no section above is about.",
    figures=(FigureEntry("cr_plot_*", "", "What it shows is said where its task is documented."),),
    tables=(TableEntry("cr_*", ""),),
)
"""What takes up whatever no section names."""
