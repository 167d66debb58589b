# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge selective evaluation of Cosmic-CoNN against the whole network.

On simulated, crowded, real and difference images: how well the masks agree,
and whether any cosmic ray of more than 10 sigma of charge is lost. Prints a
table in reStructuredText. Real images that are so small that they would be
evaluated whole are continued by reflection.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import scipy.ndimage
from astropy.io import fits
from images import DATA, star_field

from lsst.meas.cosmicrays.engines.cosmic_conn import CosmicConnModel, load_model
from lsst.meas.cosmicrays.images import WorkingImageConfig, read_image
from lsst.meas.cosmicrays.simulation import SimulationConfig
from lsst.meas.cosmicrays.simulation.detector import SimulatedDetector, simulate_detector
from lsst.meas.cosmicrays.tasks import SubtractTemplateTask

THRESHOLD = 0.5
MIN_SIGMA = 10.0
SMALLEST_SIDE = 1024
BACKGROUND_SIDE = 25
EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)

Images = Iterator[tuple[np.ndarray, np.ndarray | None]]
"""Images in electrons, each with the true charge of cosmic rays, if known."""


@dataclasses.dataclass
class Agreement:
    """How two masks agree, added up over images."""

    n_images: int = 0
    n_pixels: int = 0
    both: int = 0
    only_full: int = 0
    only_selective: int = 0
    n_bright: int = 0
    n_lost: int = 0
    worst_f1: float = 1.0
    full_seconds: float = 0.0
    selective_seconds: float = 0.0

    @property
    def f1(self) -> float:
        """F1 of the selective mask, the full one being the reference."""
        return _f1(self.both, self.only_full, self.only_selective)


def main() -> None:
    """Run the chosen sets and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", help=f"some of {', '.join(SETS)}; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="of what is made up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="ground_imaging")
    options = parser.parse_args()
    model = load_model(options.model, threads=options.threads)
    # What is compiled at the first call is not to be timed.
    _compare(model, star_field((SMALLEST_SIDE, SMALLEST_SIDE))["image"], None, Agreement())
    print(
        _row("set", "images", "Mpix", "CR pixels", "F1", "worst F1", "FN", "FP", "> 10 sigma", "lost", "time")
    )
    for name in options.sets or SETS:
        agreement = Agreement()
        for image, charge in SETS[name](options.seeds):
            _compare(model, image, charge, agreement)
            print(f"{name}: {agreement}", file=sys.stderr)
        if agreement.n_images == 0:
            print(f"{name}: left out, there is no {DATA}", file=sys.stderr)
            continue
        print(
            _row(
                name,
                agreement.n_images,
                f"{agreement.n_pixels / 1e6:.1f}",
                agreement.both + agreement.only_full,
                f"{agreement.f1:.4f}",
                f"{agreement.worst_f1:.4f}",
                agreement.only_full,
                agreement.only_selective,
                agreement.n_bright,
                agreement.n_lost,
                f"{agreement.full_seconds / agreement.selective_seconds:.1f}x",
            ),
            flush=True,
        )


def _row(*cells: object) -> str:
    return "   * - " + "\n     - ".join(map(str, cells))


def _compare(model: CosmicConnModel, image: np.ndarray, charge: np.ndarray | None, sums: Agreement) -> None:
    """Add the agreement on one image."""
    start = time.process_time()
    full = model.predict(image) > THRESHOLD
    middle = time.process_time()
    selective = model.predict(image, speed="selective") > THRESHOLD
    end = time.process_time()
    counts = [
        int(np.count_nonzero(part)) for part in (full & selective, full & ~selective, selective & ~full)
    ]
    sums.n_images += 1
    sums.n_pixels += image.size
    sums.both, sums.only_full, sums.only_selective = (
        old + new for old, new in zip((sums.both, sums.only_full, sums.only_selective), counts, strict=True)
    )
    if counts[0] + counts[1] > 0:
        sums.worst_f1 = min(sums.worst_f1, _f1(*counts))
    sums.full_seconds += middle - start
    sums.selective_seconds += end - middle
    for bright in _bright_cosmic_rays(image, full, charge):
        sums.n_bright += 1
        sums.n_lost += not np.any(selective[bright])


def _f1(both: int, only_full: int, only_selective: int) -> float:
    total = 2 * both + only_full + only_selective
    return 2 * both / total if total else 1.0


def _bright_cosmic_rays(
    image: np.ndarray, full: np.ndarray, charge: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pixels of cosmic rays with more than 10 sigma of charge.

    They are components of the full mask; sigma is the noise of one pixel of
    sky. The charge is that above the median around, or what is true.
    """
    light = image - scipy.ndimage.median_filter(image, size=BACKGROUND_SIDE) if charge is None else charge
    noise = 1.4826 * np.median(np.abs(image - np.median(image)))
    labels, n_labels = scipy.ndimage.label(full, EIGHT_CONNECTED)
    totals = scipy.ndimage.sum_labels(light, labels, np.arange(1, n_labels + 1))
    for number in 1 + np.flatnonzero(np.atleast_1d(totals) > MIN_SIGMA * noise):
        yield np.nonzero(labels == number)


def _continued(image: np.ndarray) -> np.ndarray:
    """Return an image of at least `SMALLEST_SIDE`, continued by reflection."""
    missing = [(0, max(0, SMALLEST_SIDE - size)) for size in image.shape]
    return np.pad(image, missing, mode="symmetric")


def _simulated(seeds: list[int], difference: bool = False, **settings: object) -> Images:
    """Yield simulated detectors: science images, or their differences."""
    reading = WorkingImageConfig()
    for seed in seeds:
        config = SimulationConfig(width=1024, height=1040, seed=seed, **settings)
        detector = simulate_detector(config, 1, 0)
        working = read_image(_difference(detector) if difference else detector.visit_image, reading)
        yield working.image, detector.charge.array


def _difference(detector: SimulatedDetector) -> object:
    task = SubtractTemplateTask(config=SubtractTemplateTask.ConfigClass())
    return task.run(detector.visit_image, detector.template).difference


def _stars(seeds: list[int], n_stars: int) -> Images:
    """Yield made-up star fields of 2 Mpix with tracks."""
    for seed in seeds:
        yield star_field((2048, 1024), n_stars=n_stars, n_cosmic_rays=400, seed=seed)["image"], None


def _real(pattern: str, gain: float, step: int = 1) -> Images:
    """Yield real images of the shared data."""
    paths = [path for path in sorted(DATA.glob(pattern)) if "crmask" not in path.name]
    for path in paths[::step]:
        with fits.open(path) as file:
            image = next(hdu.data for hdu in file if hdu.data is not None)
        image = np.squeeze(image).astype(np.float32) * np.float32(gain)
        yield _continued(np.nan_to_num(image, nan=float(np.nanmedian(image)))), None


SETS: dict[str, Callable[[list[int]], Images]] = {
    "simulated HSC": lambda seeds: _simulated(seeds, sensor="hsc"),
    "simulated LSSTCam, 150 s": lambda seeds: _simulated(seeds, sensor="lsstcam", exposure_time=150.0),
    "the same, seeing 0.4, trails": lambda seeds: _simulated(
        seeds, sensor="lsstcam", exposure_time=150.0, seeing=0.4, satellite_fraction=1.0
    ),
    "HSC, 30x the stars": lambda seeds: _simulated(seeds, sensor="hsc", crowding=30.0),
    "difference HSC": lambda seeds: _simulated(seeds, difference=True, sensor="hsc"),
    "difference LSSTCam, 150 s": lambda seeds: _simulated(
        seeds, difference=True, sensor="lsstcam", exposure_time=150.0
    ),
    "3000 stars": lambda seeds: _stars(seeds, 3000),
    "45000 stars": lambda seeds: _stars(seeds, 45000),
    "SAAO, crowded": lambda _: _real("saao_kb13475/AKB13475I*[0-9].fits", 1.9, step=12),
    "DECam": lambda _: _real("decam_field_instcal/*_ooi_*.fits", 4.0, step=2),
    "DECam series": lambda _: _real("decam_series_obs04/*.mini.fits", 4.0),
    "HSC cut": lambda _: _real("hsc_crs.fits", 1.0),
    "LCO": lambda _: _real("lco_sinistro*.fits.fz", 3.3),
}
"""What is compared; stars are counted on 4176x2048 pixels."""


if __name__ == "__main__":
    main()
