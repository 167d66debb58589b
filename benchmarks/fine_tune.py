# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fine-tune Cosmic-CoNN on simulated thick CCDs, and judge what it brings.

Visits like those of the Hyper Suprime-Cam are simulated: five to train on,
two to stop by, two to judge by.  The published network, the same at the
threshold that is best for these visits, and the fine-tuned one are then
judged by the last two, by the exposures of one crowded field from the SAAO
1.0 m telescope (pyDIA, MIT) with the masks beside them, and by the cut of an
HSC image of the LSST tests (GPL-3), against the stack's algorithm.

Training needs torch, the rest does not.  What an earlier run left in the
output folder is used again; a training that was killed goes on.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from astropy.table import Table
from consensus_exposures import BAD_PLANES, FLAWED, prepare

from lsst.daf.butler import Butler, CollectionType, DatasetType
from lsst.images import Box
from lsst.meas.cosmicrays.comparison import judge_mask, judgement_rates, wilson_interval
from lsst.meas.cosmicrays.finders import cosmicRayFinderRegistry
from lsst.meas.cosmicrays.images import WorkingImage, make_cosmic_ray_mask, read_mask
from lsst.meas.cosmicrays.product import product_dir
from lsst.meas.cosmicrays.simulation import SimulationConfig, simulate
from lsst.meas.cosmicrays.training import TrainedModel

SIMULATION = SimulationConfig(width=1024, height=1024, sensor="hsc", seed=20221)
MISALIGNED = SIMULATION.model_copy(update={"registration_error": 0.3, "moving_fraction": 0.1, "seed": 20222})
N_VISITS, N_DETECTORS = 9, 4
HELD_OUT = (6, 7)
LAST_TRAINING_VISIT = 7
INSTRUMENT = "SimHSC"
KINDS = ("science", "difference")
VARIANTS = {"": "published", "_low": "published, best threshold", "_tuned": "fine-tuned"}
DETECTIONS = [f"cosmic_conn_{kind}{variant}" for kind in KINDS for variant in VARIANTS]
LENGTHS = ((0.0, 3.0), (3.0, 6.0), (6.0, 12.0), (12.0, 25.0), (25.0, math.inf))
HSC_PSF_SIGMA = 2.0
SAAO_STEP = 4
RATES = ("purity", "completeness", "f1")

TRAINING = """
description: Fine-tune Cosmic-CoNN.
imports:
  - location: $MEAS_COSMICRAYS_DIR/pipelines/_ingredients/TrainCosmicConn.yaml
tasks:
  trainCosmicConn:
    class: lsst.meas.cosmicrays.tasks.TrainCosmicConnTask
    config:
      doDifference: true
      validationVisits: [{held_out}]
      tileSize: 192
      tilesPerImage: 12
      validationTilesPerImage: 6
      tilesPerEpoch: 80
      learningRate: 3.0e-4
      backgroundStart: 0.3
      backgroundEpochs: 5
      maxEpochs: {max_epochs}
      threads: {threads}
      checkpointDirectory: {checkpoints}
"""

FINDING = """
description: Find cosmic rays with one network on both kinds of image.
tasks:
  findScience{variant}:
    class: lsst.meas.cosmicrays.tasks.FindCosmicRaysTask
    config:
      connections.variant: "{variant}"
      finders.names: [cosmic_conn]
      useCosmicConnModel: {trained}
      doWriteProbability: true
  findDifference{variant}:
    class: lsst.meas.cosmicrays.tasks.FindCosmicRaysTask
    config:
      connections.variant: "{variant}"
      connections.kind: difference
      connections.image: difference_image
      imageStorageClass: DifferenceImage
      finders.names: [cosmic_conn]
      useCosmicConnModel: {trained}
      doWriteProbability: true
"""

COMPARING = """
description: Compare the networks with truth.
imports:
  - location: $MEAS_COSMICRAYS_DIR/pipelines/_ingredients/Compare.yaml
parameters:
  detections: [{detections}]
tasks:
  compareCosmicRays:
    class: lsst.meas.cosmicrays.tasks.CompareCosmicRaysTask
    config:
      truth: charge
      diaSourceColumns.dipole: is_dipole
"""


def main() -> None:
    """Go through the study, and print its tables."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    study = Study(options.output, options.processes, SIMULATION, range(LAST_TRAINING_VISIT + 1, N_VISITS + 1))
    study.make_visits(N_VISITS)
    model, history = study.fine_tune(options.max_epochs, options.threads)
    draw_history(history, options.output / "training_history.png")
    print_history(history)
    low = float(history["threshold"][0])
    print(f"\nThresholds: published 0.5; best {low:.2f}; fine-tuned {model.threshold:.2f}.")
    print_comparison(*study.judge(model, low))
    dipoles = Study(options.output / "misaligned", options.processes, MISALIGNED, range(1, 2))
    dipoles.make_visits(1)
    confusion, _, stamps = dipoles.judge(model, low)
    print("\n# Visit with dipoles")
    print_rates(confusion, ("pixel", "object", "stamp"))
    print_stamps(stamps)
    if options.data.is_dir():
        print_real("SAAO, given masks", judge_saao(options.data / "saao_kb13475", model, low))
        print_real("HSC cut, morphological finder", judge_hsc(options.data / "hsc_crs.fits", model, low))
    else:
        print(f"\nThere are no real exposures at {options.data}: see --data.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "fine_tune")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--max-epochs", type=int, default=100, help="most epochs; it may be raised later")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the training")
    parser.add_argument("-j", "--processes", type=int, default=1, help="processes of the other steps")
    return parser.parse_args()


class Study:
    """The repository of the study, and the pipelines that are run in it.

    Parameters
    ----------
    output : `~pathlib.Path`
        Folder of the repository and of what else is made.
    processes : `int`
        Processes of steps that need no torch.
    simulation : `~lsst.meas.cosmicrays.simulation.SimulationConfig`
        What is simulated.
    judging : `range`
        Visits that judge.
    """

    def __init__(self, output: Path, processes: int, simulation: SimulationConfig, judging: range) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._output = output
        self._simulation = simulation
        self._judged = f"instrument='{INSTRUMENT}' and visit >= {judging[0]} and visit <= {judging[-1]}"
        self._repo = output / "repo"
        self._processes = processes

    def make_visits(self, n_visits: int) -> None:
        """Simulate the visits, and subtract their templates.

        Parameters
        ----------
        n_visits : `int`
            How many.
        """
        simulate(
            self._repo, self._simulation, visits=n_visits, detectors=N_DETECTORS, processes=self._processes
        )
        pipeline = product_dir() / "pipelines" / "_ingredients" / "DifferenceImaging.yaml"
        self._run(pipeline, "u/difference", [f"{INSTRUMENT}/defaults"])

    def fine_tune(self, max_epochs: int, threads: int) -> tuple[TrainedModel, Table]:
        """Train on the first visits, or go on with training.

        Parameters
        ----------
        max_epochs : `int`
            Most epochs.
        threads : `int`
            CPU threads.

        Returns
        -------
        model : `~lsst.meas.cosmicrays.training.TrainedModel`
            The model.
        history : `astropy.table.Table`
            One row an epoch.
        """
        before = self._read_training()
        if before is not None and before[0].provenance["settings"]["max_epochs"] == max_epochs:
            return before
        text = TRAINING.format(
            held_out=", ".join(map(str, HELD_OUT)),
            max_epochs=max_epochs,
            threads=threads,
            checkpoints=self._output.resolve() / "checkpoints",
        )
        inputs = [f"{INSTRUMENT}/defaults", "u/difference"]
        where = f"instrument='{INSTRUMENT}' and visit <= {LAST_TRAINING_VISIT}"
        self._run(self._write("train", text), "u/train", inputs, where, extend=False)
        after = self._read_training()
        if after is None:
            raise SystemExit("The training left no model.")
        return after

    def _read_training(self) -> tuple[TrainedModel, Table] | None:
        with Butler.from_config(str(self._repo)) as butler:
            if "u/train" not in butler.collections.query("u/*"):
                return None
            (run, *_) = butler.collections.get_info("u/train").children
            parts = [
                butler.find_dataset(f"cr_cosmic_conn_{name}", instrument=INSTRUMENT, collections=run)
                for name in ("model", "history")
            ]
            if None in parts:
                return None
            model, history = (butler.get(ref) for ref in parts)
            return TrainedModel.from_table(model), history

    def store(self, model: TrainedModel) -> None:
        """Store a network that was trained elsewhere.

        Parameters
        ----------
        model : `~lsst.meas.cosmicrays.training.TrainedModel`
            The network.
        """
        run = f"u/model_{model.digest}"
        with Butler.from_config(str(self._repo), writeable=True, run=run) as butler:
            name = "cr_cosmic_conn_model"
            dataset_type = DatasetType(name, ["instrument"], "ArrowAstropy", universe=butler.dimensions)
            butler.registry.registerDatasetType(dataset_type)
            if butler.find_dataset(name, instrument=INSTRUMENT, collections=run) is None:
                butler.put(model.to_table(), name, instrument=INSTRUMENT)

    def judge(self, model: TrainedModel, low: float) -> tuple[Table, Table, Table]:
        """Find cosmic rays on the visits that judge, and compare.

        Parameters
        ----------
        model : `~lsst.meas.cosmicrays.training.TrainedModel`
            The fine-tuned network.
        low : `float`
            The other threshold of the published network.

        Returns
        -------
        confusion, objects, stamps : `astropy.table.Table`
            What was gathered.
        """
        self.store(model)
        self.find("")
        self.find("_tuned", model)
        self.apply_threshold(low)
        return self.compare(model)

    def find(self, variant: str, model: TrainedModel | None = None) -> None:
        """Find cosmic rays on the visits that judge.

        Parameters
        ----------
        variant : `str`
            Part of the names of the detections.
        model : `~lsst.meas.cosmicrays.training.TrainedModel`, optional
            The trained network; the published one by default.
        """
        text = FINDING.format(variant=variant, trained="false" if model is None else "true")
        inputs = [
            f"{INSTRUMENT}/defaults",
            "u/difference",
            *([] if model is None else [f"u/model_{model.digest}"]),
        ]
        self._run(self._write(f"find{variant}", text), _found(model), inputs, self._judged)

    def apply_threshold(self, threshold: float) -> None:
        """Store masks of the published network at another threshold.

        Parameters
        ----------
        threshold : `float`
            Pixels of a greater probability are cosmic rays.
        """
        with Butler.from_config(str(self._repo), writeable=True, collections="u/found") as butler:
            butler.collections.register("u/found_low", CollectionType.RUN)
            for kind in KINDS:
                detection = f"cosmic_conn_{kind}"
                dataset_type = butler.get_dataset_type(f"cr_mask_{detection}")
                low = type(dataset_type)(f"cr_mask_{detection}_low", dataset_type.dimensions, "MaskV2")
                butler.registry.registerDatasetType(low)
                for ref in butler.query_datasets(f"cr_probability_{detection}"):
                    if butler.find_dataset(low, ref.dataId, collections="u/found_low") is not None:
                        continue
                    probability, mask = butler.get(ref), butler.get(dataset_type, ref.dataId)
                    # What is bad has no mask at any threshold.
                    found = (probability.array > threshold) & ~self._bad(butler, kind, ref.dataId)
                    butler.put(make_cosmic_ray_mask(found, mask.bbox), low, ref.dataId, run="u/found_low")

    def compare(self, model: TrainedModel) -> tuple[Table, Table, Table]:
        """Compare with truth.

        Parameters
        ----------
        model : `~lsst.meas.cosmicrays.training.TrainedModel`
            The trained network.

        Returns
        -------
        confusion, objects, stamps : `astropy.table.Table`
            What was gathered of both visits.
        """
        text = COMPARING.format(detections=", ".join(DETECTIONS))
        inputs = ["u/found", "u/found_low", _found(model), "u/difference", f"{INSTRUMENT}/defaults"]
        output = f"u/compared_{model.digest}"
        self._run(self._write("compare", text), output, inputs, self._judged)
        with Butler.from_config(str(self._repo), collections=output) as butler:
            return tuple(
                butler.get(f"cr_instrument_{name}", instrument=INSTRUMENT)
                for name in ("confusion", "objects", "stamps")
            )

    def _bad(self, butler: Butler, kind: str, data_id: object) -> np.ndarray:
        name = "visit_image" if kind == "science" else "difference_image"
        image = butler.get(name, data_id, collections=["u/difference", f"{INSTRUMENT}/defaults"])
        planes = [read_mask(image, plane) for plane in BAD_PLANES if plane in image.mask.schema.names]
        measured = np.isfinite(image.image.array) & (image.variance.array > 0.0)
        return np.logical_or.reduce([*planes, ~measured])

    def _write(self, name: str, text: str) -> Path:
        path = self._output / f"{name}.yaml"
        path.write_text(text)
        return path

    def _run(
        self, pipeline: Path, output: str, inputs: Sequence[str], where: str = "", *, extend: bool = True
    ) -> None:
        """Run a pipeline, or what is left of it.

        A file remembers that it is done: a graph of nothing is an error.
        """
        done = self._output / f"{output.replace('/', '_')}.done"
        if extend and done.exists():
            return
        with Butler.from_config(str(self._repo)) as butler:
            exists = output in butler.collections.query("u/*")
        command = ["--no-log-tty", "run", "-b", str(self._repo), "-i", ",".join(inputs), "-o", output]
        command += ["-p", str(pipeline), "--register-dataset-types", "-j", str(self._processes)]
        command += ["-d", where] if where else []
        command += ["--extend-run", "--skip-existing", "--clobber-outputs"] if exists and extend else []
        program = Path(sys.executable).with_name("pipetask")
        environment = os.environ | {"MEAS_COSMICRAYS_DIR": str(product_dir())}
        subprocess.run([str(program), *command], env=environment, stdout=sys.stderr, check=True)
        done.touch()


def _found(model: TrainedModel | None) -> str:
    """Return the collection of what a network found."""
    return "u/found" if model is None else f"u/found_{model.digest}"


def draw_history(history: Table, path: Path) -> None:
    """Draw the learning curve.

    Parameters
    ----------
    history : `astropy.table.Table`
        One row an epoch.
    path : `~pathlib.Path`
        File to write.
    """
    figure, (losses, rates) = plt.subplots(1, 2, figsize=(9.0, 3.4), layout="constrained")
    epoch = history["epoch"]
    losses.plot(
        epoch[1:], history["train_loss"][1:], "o-", color="C1", label="training (sky weighs less at first)"
    )
    losses.plot(epoch, history["validation_loss"], "s-", color="C0", label="held out")
    losses.set(xlabel="epoch", ylabel="cross entropy per pixel", yscale="log")
    for name, marker, color in (("purity", "^", "C2"), ("completeness", "v", "C4"), ("f1", "s", "C0")):
        rates.plot(epoch, history[name], f"{marker}-", color=color, label=name.replace("f1", "F1"))
    best = int(np.argmax(history["f1"]))
    rates.axvline(epoch[best], color="0.6", lw=1, zorder=0)
    rates.set(xlabel="epoch (0: published network)", ylabel="held-out visits, at the best threshold")
    for axes in (losses, rates):
        axes.legend(frameon=False, fontsize=8)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def print_history(history: Table) -> None:
    """Print the learning curve.

    Parameters
    ----------
    history : `astropy.table.Table`
        One row an epoch.
    """
    print(
        "\n## Training\n\n| epoch | training loss | held-out loss | purity | completeness | F1 | threshold |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in history:
        print(
            f"| {row['epoch']} | {row['train_loss']:.5f} | {row['validation_loss']:.5f} "
            f"| {row['purity']:.4f} | {row['completeness']:.4f} | {row['f1']:.4f} | {row['threshold']:.2f} |"
        )


def print_comparison(confusion: Table, objects: Table, stamps: Table) -> None:
    """Print how good the networks are on simulated visits.

    Parameters
    ----------
    confusion, objects, stamps : `astropy.table.Table`
        What was gathered.
    """
    print_rates(confusion, ("pixel", "pixel_1px", "object", "stamp"))
    print_lengths(objects)
    print_stamps(stamps)


def print_rates(confusion: Table, levels: Sequence[str]) -> None:
    """Print purity, completeness and F1 against truth.

    Parameters
    ----------
    confusion : `astropy.table.Table`
        What was gathered.
    levels : `~collections.abc.Sequence` [`str`]
        What is counted.
    """
    for level in levels:
        print(f"\n## {level}\n\n| | purity | completeness | F1 |\n|---|---|---|---|")
        for detection in DETECTIONS:
            chosen = (confusion["level"] == level) & (confusion["reference"] == "truth")
            for row in confusion[chosen & (confusion["candidate"] == detection)]:
                rates = [f"{row[n]:.3f} ({row[n + '_lo']:.3f}-{row[n + '_hi']:.3f})" for n in RATES]
                print(f"| {_name(detection)} | {' | '.join(rates)} |")


def print_lengths(objects: Table) -> None:
    """Print which cosmic rays are found, and how many false ones.

    Parameters
    ----------
    objects : `astropy.table.Table`
        What was gathered.
    """
    is_reference = np.asarray(objects["is_reference"], dtype=bool)
    true, false = objects[is_reference], objects[~is_reference]
    classes = [("1 pixel", np.asarray(true["n_pixels"] == 1), np.asarray(false["n_pixels"] == 1))]
    for shortest, longest in LENGTHS:
        inside = [
            np.asarray((table["length"] >= shortest) & (table["length"] < longest)) for table in (true, false)
        ]
        classes.append((f"{shortest:g} to {longest:g} px", *inside))
    names = " | ".join(name for name, *_ in classes)
    print(
        f"\n## True cosmic rays found, by length; false ones\n\n| | {names} |\n|---|{'---|' * len(classes)}"
    )
    for detection in DETECTIONS:
        cells = []
        for _, of_true, of_false in classes:
            found = np.asarray(true[f"found_{detection}"])[of_true] == 1
            n_false = int(np.count_nonzero(np.asarray(false[f"found_{detection}"])[of_false] == 1))
            cells.append(f"{_fraction(int(found.sum()), found.size)}; {n_false} false")
        print(f"| {_name(detection)} | {' | '.join(cells)} |")


def print_stamps(stamps: Table) -> None:
    """Print which stamps are labelled CR, by what they truly are.

    Parameters
    ----------
    stamps : `astropy.table.Table`
        What was gathered.
    """
    kinds = np.asarray(stamps["true_kind"]).astype(str)
    of_kind = {kind: kinds == kind for kind in sorted(set(kinds))}
    print(f"\n## Stamps labelled CR\n\n| | {' | '.join(of_kind)} |\n|---|{'---|' * len(of_kind)}")
    for detection in DETECTIONS:
        labels = np.asarray(stamps[f"label_{detection}"]) == 1
        cells = [_fraction(int(labels[chosen].sum()), int(chosen.sum())) for chosen in of_kind.values()]
        print(f"| {_name(detection)} | {' | '.join(cells)} |")


def _name(detection: str) -> str:
    """Return what a detection is called in tables."""
    kind, _, variant = detection.removeprefix("cosmic_conn_").partition("_")
    return f"{kind}: {VARIANTS[f'_{variant}' if variant else '']}"


def _fraction(n: int, total: int) -> str:
    if total == 0:
        return "none"
    lowest, highest = wilson_interval(n, total)
    return f"{n}/{total} = {n / total:.3f} ({float(lowest):.3f}-{float(highest):.3f})"


def find_thrice(working: WorkingImage, model: TrainedModel, low: float) -> dict[str, np.ndarray]:
    """Find cosmic rays with both networks.

    Parameters
    ----------
    working : `~lsst.meas.cosmicrays.images.WorkingImage`
        An image.
    model : `~lsst.meas.cosmicrays.training.TrainedModel`
        The fine-tuned network.
    low : `float`
        The other threshold of the published network.

    Returns
    -------
    masks : `dict` [`str`, `numpy.ndarray`]
        By the name of the variant.
    """
    finder_class = cosmicRayFinderRegistry["cosmic_conn"]
    published, tuned = (finder_class(config=finder_class.ConfigClass()) for _ in range(2))
    tuned.use_model(model)
    result = published.run(working)
    at_low = (result.probability > low) & ~published.bad_pixels(working)
    return dict(zip(VARIANTS.values(), (result.mask, at_low, tuned.run(working).mask), strict=True))


def judge_saao(folder: Path, model: TrainedModel, low: float) -> Table:
    """Judge by real exposures with masks.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of the exposures.
    model : `~lsst.meas.cosmicrays.training.TrainedModel`
        The fine-tuned network.
    low : `float`
        The other threshold of the published network.

    Returns
    -------
    rates : `astropy.table.Table`
        One row a variant.
    """

    def exposures() -> Iterator[tuple[WorkingImage, np.ndarray]]:
        files = [
            path
            for path in sorted(folder.glob("*_crmask.fits.gz"))
            if int(path.name.removesuffix("_crmask.fits.gz")[-4:]) not in FLAWED
        ]
        for path in files[::SAAO_STEP]:
            yield prepare(folder, path.name.removesuffix("_crmask.fits.gz")), fits.getdata(path) > 0

    return _judge(exposures(), model, low)


def judge_hsc(path: Path, model: TrainedModel, low: float) -> Table:
    """Judge by the cut of an HSC image, against the morphological finder.

    Parameters
    ----------
    path : `~pathlib.Path`
        The image, in electrons.
    model : `~lsst.meas.cosmicrays.training.TrainedModel`
        The fine-tuned network.
    low : `float`
        The other threshold of the published network.

    Returns
    -------
    rates : `astropy.table.Table`
        One row a variant.
    """
    image = fits.getdata(path).astype(np.float32)
    offset = np.arange(-12, 13) ** 2
    kernel = np.exp(-0.5 * (offset[:, np.newaxis] + offset) / HSC_PSF_SIGMA**2)
    working = WorkingImage(
        image=image,
        variance=image.copy(),
        planes={plane: np.zeros(image.shape, dtype=bool) for plane in (*BAD_PLANES, "COSMIC_RAY")},
        bbox=Box.from_shape(image.shape),
        psf_kernel=kernel / kernel.sum(),
        psf_fwhm=HSC_PSF_SIGMA * math.sqrt(8.0 * math.log(2.0)),
    )
    finder_class = cosmicRayFinderRegistry["morphological"]
    reference = finder_class(config=finder_class.ConfigClass()).run(working).mask
    return _judge([(working, reference)], model, low)


def _judge(images: Sequence | Iterator, model: TrainedModel, low: float) -> Table:
    """Judge each variant by images and their references."""
    counts: dict[str, list[np.ndarray]] = {}
    for working, reference in images:
        bad = np.logical_or.reduce([working.planes[plane] for plane in BAD_PLANES]) | working.not_finite()
        for name, mask in find_thrice(working, model, low).items():
            counts.setdefault(name, []).append(judge_mask(mask, reference, ~bad))
    return Table(
        rows=[
            {"network": name, "n_images": len(judged), **judgement_rates(np.array(judged))}
            for name, judged in counts.items()
        ]
    )


def print_real(title: str, rates: Table) -> None:
    """Print how good the networks are on real images.

    Parameters
    ----------
    title : `str`
        Heading.
    rates : `astropy.table.Table`
        One row a network.
    """
    print(f"\n## {title}: {rates['n_images'][0]} images\n")
    print(
        "| | purity | completeness | F1 | F1 within 1 px | CRs found | purity of CRs |\n"
        "|---|---|---|---|---|---|---|"
    )
    for row in rates:
        values = ("purity", "completeness", "f1", "f1_1px")
        found = _fraction(int(row["n_found_objects"]), int(row["n_true_objects"]))
        pure = _fraction(int(row["n_pure_objects"]), int(row["n_objects"]))
        print(f"| {row['network']} | {' | '.join(f'{row[n]:.3f}' for n in values)} | {found} | {pure} |")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
