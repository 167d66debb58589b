# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw the figures of the simulation, beside the real darks.

Run from anywhere::

    python doc/make_simulation_figures.py [DARKS]

DARKS is the table of footprints of LSST ITL darks (``cosmic_rays_itl_2017``,
LSSTDESC/imSim, BSD-3); by default ``../shared/data`` beside the checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

from lsst.meas.cosmicrays.simulation import (
    HSC_SENSOR,
    LSSTCAM_SENSOR,
    Footprint,
    SensorModel,
    SimulationConfig,
    footprints,
    read_dark_footprints,
    simulate_detector,
    simulate_tracks,
)

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "doc" / "figures"
DARKS = ROOT.parent / "shared" / "data" / "cosmic_rays_itl_2017.fits.gz"
PERCENTILES = (5, 50, 95, 99)
LONG = 12.0
QUANTITIES = {
    "n_pixels": "pixels",
    "charge": "charge [e$^-$]",
    "length": "length (diagonal of the bounding box) [pixels]",
    "width": f"rms width, those longer than {LONG:.0f} pixels [pixels]",
}


def simulated_stamps(sensor: SensorModel, number: int) -> list[np.ndarray]:
    """Draw tracks on an upright sensor, as the darks were taken."""
    tracks = simulate_tracks(np.random.default_rng(2017), sensor, (4096, 4096), number)
    return [track.charge for track in tracks]


def measure(stamps: list[np.ndarray], threshold: float) -> list[Footprint]:
    """Measure all footprints of three or more pixels."""
    return [found for stamp in stamps for found in footprints(stamp, threshold)]


def draw_distributions(samples: dict[str, list[Footprint]]) -> None:
    """Draw the cumulative distributions and print their percentiles."""
    figure, axes = plt.subplots(1, 4, figsize=(18, 4.4), sharey=True)
    for axis, (field, label) in zip(axes, QUANTITIES.items(), strict=True):
        for (name, sample), style in zip(samples.items(), ("k-", "C1-", "C0--"), strict=True):
            chosen = [found for found in sample if field != "width" or found.length > LONG]
            values = np.sort([getattr(found, field) for found in chosen])
            axis.plot(values, np.linspace(0.0, 1.0, len(values)), style, label=f"{name}, {len(sample)}")
            numbers = np.percentile(values, PERCENTILES).round(2)
            print(f"{field:9s} {name:28s} percentiles {PERCENTILES}: {numbers}")
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
        low, high = (
            np.percentile([getattr(f, field) for f in samples["LSST ITL darks"]], q) for q in (0, 100)
        )
        axis.set_xlim(max(0.5 * low, 0.1), 2.0 * high)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("fraction of cosmic rays below")
    axes[0].legend(loc="lower right", fontsize=8)
    figure.suptitle("Cosmic rays of 3 or more pixels above 50 e$^-$")
    figure.tight_layout()
    figure.savefig(FIGURES / "simulation_distributions.png", dpi=110)


def draw_gallery(real: list[np.ndarray], simulated: list[np.ndarray], threshold: float) -> None:
    """Draw real tracks above simulated ones, both chosen at random."""
    rows, columns = 5, 18
    figure, axes = plt.subplots(2 * rows, columns, figsize=(18, 10.6))
    rng = np.random.default_rng(4)
    for half, stamps in enumerate((real, simulated)):
        large = [stamp for stamp in stamps if np.count_nonzero(stamp >= threshold) >= 3]
        for axis, number in zip(
            axes[half * rows : (half + 1) * rows].flat, rng.permutation(len(large)), strict=False
        ):
            draw_stamp(axis, large[number], threshold)
    axes[0, columns // 2].set_title("LSST ITL darks", fontsize=13)
    axes[rows, columns // 2].set_title("simulated", fontsize=13)
    figure.tight_layout(pad=0.3)
    figure.savefig(FIGURES / "simulation_tracks.png", dpi=80)


def draw_stamp(axis: plt.Axes, stamp: np.ndarray, threshold: float) -> None:
    """Draw the pixels of a track on a logarithmic scale, cut to its size."""
    above = stamp >= threshold
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    shown = np.where(above, stamp, np.nan)[window]
    axis.imshow(np.log10(shown), origin="lower", vmin=1.7, vmax=4.0, interpolation="nearest")
    side = max(12, *shown.shape)
    axis.set_xlim(0.5 * (shown.shape[1] - 1 - side), 0.5 * (shown.shape[1] - 1 + side))
    axis.set_ylim(0.5 * (shown.shape[0] - 1 - side), 0.5 * (shown.shape[0] - 1 + side))
    axis.set_xticks([])
    axis.set_yticks([])


def draw_scene() -> None:
    """Draw a simulated detector, its template and its cosmic rays."""
    config = SimulationConfig(width=700, height=700, satellite_fraction=1.0, seed=3, variables=2.0)
    simulated = simulate_detector(config, visit=1, detector=0)
    science, template = simulated.visit_image.image.array, simulated.template.image.array
    noise = np.sqrt(config.sky_electrons)
    figure, axes = plt.subplots(1, 4, figsize=(20, 5.4))
    panels = {
        "science image": science,
        "template": template,
        "science - template (PSFs not matched)": science - template,
        "charge of cosmic rays": simulated.charge.array,
    }
    for axis, (name, image) in zip(axes, panels.items(), strict=True):
        axis.imshow(image, origin="lower", cmap="gray", vmin=-3.0 * noise, vmax=12.0 * noise)
        axis.set_title(name)
    changes = simulated.variables
    axes[2].scatter(changes["x"], changes["y"], s=120, facecolors="none", edgecolors="C1")
    figure.tight_layout()
    figure.savefig(FIGURES / "simulation_scene.png", dpi=80)


def main() -> None:
    """Draw everything."""
    FIGURES.mkdir(exist_ok=True)
    darks = read_dark_footprints(sys.argv[1] if len(sys.argv) > 1 else DARKS)
    threshold = LSSTCAM_SENSOR.footprint_threshold
    stamps = simulated_stamps(LSSTCAM_SENSOR, 10000)
    samples = {
        "LSST ITL darks": measure(darks.stamps, 1.0),
        "simulated, 100 um and 10 um": measure(stamps, threshold),
        "simulated, 200 um and 15 um": measure(simulated_stamps(HSC_SENSOR, 10000), threshold),
    }
    area = darks.n_pixels * (LSSTCAM_SENSOR.pixel_size * 1e-4) ** 2
    rate = len(samples["LSST ITL darks"]) / area / (darks.exposure_time / 60.0)
    print(f"Darks: {rate:.2f} per square cm and minute.")
    draw_distributions(samples)
    draw_gallery(darks.stamps, stamps, threshold)
    draw_scene()


if __name__ == "__main__":
    main()
