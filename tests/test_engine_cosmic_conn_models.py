# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Model files of Cosmic-CoNN: what is read, and what is refused."""

from __future__ import annotations

import importlib.util
import io
import pickle
import shutil
import struct
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lsst.meas.cosmicrays.engines.cosmic_conn import (
    ModelFileError,
    ProviderError,
    load_model,
    load_reference_model,
    runtime,
)
from lsst.meas.cosmicrays.engines.cosmic_conn.network import find_architecture
from lsst.meas.cosmicrays.engines.cosmic_conn.weights import find_published_weights, read_state_dict

Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return read_state_dict(find_published_weights("NRES"))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    image = np.random.default_rng(0).normal(300.0, 17.0, (64, 80)).astype(np.float32)
    image[30, 20:40] += 1500.0
    return image


class TorchPickle:
    """Writes the opcodes that torch writes for a state dictionary."""

    def __init__(self) -> None:
        self.storages: list[bytes] = []

    def text(self, value: str) -> bytes:
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data

    def integer(self, value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def integers(self, values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(self.integer(value) for value in values) + b"t"

    def tensor(self, array: np.ndarray) -> bytes:
        array = np.ascontiguousarray(array, dtype="<f4")
        self.storages.append(array.tobytes())
        strides = tuple(step // 4 for step in array.strides)
        storage = (
            b"("
            + self.text("storage")
            + b"ctorch\nFloatStorage\n"
            + self.text(str(len(self.storages) - 1))
            + self.text("cpu")
            + self.integer(array.size)
            + b"tQ"
        )
        arguments = storage + self.integer(0) + self.integers(array.shape) + self.integers(strides)
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"\x89ccollections\nOrderedDict\n)RtR"

    def dictionary(self, items: dict[str, bytes]) -> bytes:
        pairs = b"".join(self.text(name) + value for name, value in items.items())
        return b"ccollections\nOrderedDict\n)R(" + pairs + b"u"

    def write(self, path: Path, content: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + content + b".")
            for key, storage in enumerate(self.storages):
                archive.writestr(f"archive/data/{key}", storage)
        return path


def write_torch(path: Path, tensors: Tensors) -> Path:
    writer = TorchPickle()
    return writer.write(path, writer.dictionary({name: writer.tensor(t) for name, t in tensors.items()}))


# What is read.


def test_published_models_need_no_torch() -> None:
    """Neither torch nor cosmic_conn is imported, nor need they be there."""
    program = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from lsst.meas.cosmicrays.engines.cosmic_conn import load_model\n"
        "import numpy as np\n"
        "load_model('NRES', threads=1).predict(np.zeros((32, 32)))\n"
        "assert 'cosmic_conn' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.parametrize(
    ("name", "norm"), [("ground_imaging", "group"), ("NRES", "group"), ("HST_ACS_WFC", "batch")]
)
def test_published_architectures(name: str, norm: str) -> None:
    architecture = find_architecture(read_state_dict(find_published_weights(name)), name)
    assert (architecture.hidden, architecture.depth, architecture.norm) == (32, 2, norm)
    assert architecture.reach == 22
    assert architecture.stride == 4


def test_pth_of_a_user(tmp_path: Path, tensors: Tensors, image: np.ndarray) -> None:
    expected = load_model("NRES", threads=1).predict(image)
    shutil.copy(find_published_weights("NRES"), tmp_path / "copy.pth")
    written = write_torch(tmp_path / "written.pth", tensors)
    for path in (tmp_path / "copy.pth", written, str(written)):
        np.testing.assert_array_equal(load_model(path, threads=1).predict(image), expected)


@pytest.mark.parametrize("prefix", ["", "module.", "network."])
def test_checkpoint_of_a_user(tmp_path: Path, tensors: Tensors, image: np.ndarray, prefix: str) -> None:
    writer = TorchPickle()
    state = writer.dictionary({prefix + name: writer.tensor(t) for name, t in tensors.items()})
    optimizer = writer.dictionary({"momentum": writer.tensor(np.zeros(3))})
    content = {"epoch": writer.integer(7), "state_dict_mask": state, "optimizer_mask": optimizer}
    path = writer.write(tmp_path / "checkpoint_7.pth.tar", writer.dictionary(content))
    np.testing.assert_array_equal(
        load_model(path, threads=1).predict(image), load_model("NRES", threads=1).predict(image)
    )


@pytest.mark.parametrize("name", ["NRES", "HST_ACS_WFC"])
@pytest.mark.parametrize("options", [{}, {"tiling": "original"}, {"speed": "selective"}])
def test_onnx_goes_round(tmp_path: Path, image: np.ndarray, name: str, options: dict[str, str]) -> None:
    model = load_model(name, threads=1)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.to_onnx())
    expected = model.predict(image, **options)
    assert np.max(expected) > 0.5
    for source in (path, path.read_bytes()):
        np.testing.assert_array_equal(load_model(source, threads=1).predict(image, **options), expected)


def test_deeper_and_narrower_network(tmp_path: Path, image: np.ndarray) -> None:
    """The architecture follows from the weights."""
    rng = np.random.default_rng(1)
    layers = {"inc.conv.conv": (1, 8), "up1.conv.conv": (16, 8)}
    layers |= {f"down{n}.down_cov.1.conv": (4 * 2**n, 8 * 2**n) for n in (1, 2, 3)}
    layers |= {f"up{n}.conv.conv": (8 * 2**n, 4 * 2**n) for n in (1, 2, 3)}
    tensors = {"outc.conv.weight": rng.normal(size=(1, 8, 1, 1)), "outc.conv.bias": np.zeros(1)}
    for name, (n_in, n_out) in layers.items():
        tensors[f"{name}.0.weight"] = rng.normal(size=(n_out, n_in, 3, 3))
        tensors[f"{name}.3.weight"] = rng.normal(size=(n_out, n_out, 3, 3))
        for vector in ("0.bias", "3.bias", "1.weight", "1.bias", "4.weight", "4.bias"):
            tensors[f"{name}.{vector}"] = rng.normal(size=n_out)
        if name.startswith("up"):
            tensors[name.replace("conv.conv", "up_conv.weight")] = rng.normal(size=(n_in, n_out, 2, 2))
            tensors[name.replace("conv.conv", "up_conv.bias")] = rng.normal(size=n_out)
    model = load_model(write_torch(tmp_path / "deep.pth", tensors), threads=1)
    assert model.architecture.depth == 3
    assert model.architecture.reach == 46
    whole = model.run_tile(image)
    assert np.all((whole >= 0.0) & (whole <= 1.0))
    assert model.predict(image).shape == image.shape
    # Its channels do not fill vectors, so that onnxruntime runs it, and whole.
    np.testing.assert_array_equal(model.predict(image, speed="selective"), model.predict(image))


def make_opaque_onnx(n_inputs: int = 1, rank: int = 4, shrink: int = 0) -> bytes:
    """Return a network that Cosmic-CoNN is not: a smoothed sigmoid."""
    shape = [1, 1, "ny", "nx"][:rank]
    inputs = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, shape) for i in range(n_inputs)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)
    weight = numpy_helper.from_array(np.full((1, 1, 3, 3), 0.01, dtype=np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x0", "w"], ["c"], pads=[1 - shrink] * 4)
        if rank == 4
        else helper.make_node("Identity", ["x0"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", inputs, [output], [weight])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


def test_any_onnx_of_an_image(image: np.ndarray) -> None:
    content = make_opaque_onnx()
    model = load_model(content, threads=1)
    overlap = model.predict(image, tile=64)
    original = model.predict(image, tile=64, tiling="original")
    sky = np.sort(image.ravel())[(image.size - 1) // 2]
    middle = image[29:32, 29:32].astype(np.float64) - sky
    expected = 1.0 / (1.0 + np.exp(-0.01 * middle.sum()))
    assert overlap[30, 30] == pytest.approx(expected, abs=0.02)
    assert original[30, 30] == pytest.approx(expected, abs=0.02)
    assert model.to_onnx() == content
    with pytest.raises(ValueError, match="use speed 'full'"):
        model.predict(image, speed="selective")


# What is refused.


def damage(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.98])
@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".onnx"])
def test_truncated_file(tmp_path: Path, part: float, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".onnx":
        path.write_bytes(load_model("NRES", threads=1).to_onnx())
    else:
        shutil.copy(find_published_weights("NRES"), path)
        path.chmod(0o644)
    damage(path, lambda content: content[: int(part * len(content))])
    with pytest.raises(ModelFileError, match=f"model{suffix}"):
        load_model(path)


def test_flipped_bytes(tmp_path: Path, tensors: Tensors) -> None:
    path = write_torch(tmp_path / "model.pth", tensors)
    damage(path, lambda content: content[:200000] + b"\xff" * 100 + content[200100:])
    with pytest.raises(ModelFileError, match="damaged"):
        load_model(path)


@pytest.mark.parametrize("suffix", [".pth", ".onnx", ".pth.tar", ".txt"])
def test_not_a_model_at_all(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"notes{suffix}"
    path.write_text("dear diary")
    with pytest.raises(ModelFileError, match="notes"):
        load_model(path)


def test_zip_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "photos.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("beach.jpg", b"...")
    with pytest.raises(ModelFileError, match=r"it has no data\.pkl"):
        load_model(path)


def test_unknown_name() -> None:
    with pytest.raises(ModelFileError, match="ground_imaging, NRES, HST_ACS_WFC"):
        load_model("ground-imaging")


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelFileError, match="pip install cosmic-conn"):
        load_model("ground_imaging")


def test_missing_tensor(tmp_path: Path, tensors: Tensors) -> None:
    del (left := dict(tensors))["up1.conv.conv.3.weight"]
    with pytest.raises(ModelFileError, match=r"lacks 1 tensors.*up1\.conv\.conv\.3\.weight"):
        load_model(write_torch(tmp_path / "model.pth", left))


def test_wrong_shape(tmp_path: Path, tensors: Tensors) -> None:
    wrong = tensors | {"down1.down_cov.1.conv.3.bias": np.zeros(63)}
    with pytest.raises(ModelFileError, match=r"has shape \(63,\), expected \(64,\)"):
        load_model(write_torch(tmp_path / "model.pth", wrong))


def test_weights_that_are_not_numbers(tmp_path: Path, tensors: Tensors) -> None:
    wrong = tensors | {"outc.conv.bias": np.full(1, np.nan)}
    with pytest.raises(ModelFileError, match="not finite"):
        load_model(write_torch(tmp_path / "model.pth", wrong))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("down1.down_cov.1.residual.0.weight", "resnet"),
        ("down1.down_cov.0.weight", "stride"),
        ("up1.up_conv.1.weight", "upscale"),
    ],
)
def test_unsupported_layers(tmp_path: Path, tensors: Tensors, name: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        load_model(write_torch(tmp_path / "model.pth", tensors | {name: np.zeros(1)}))


def test_other_network(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no Cosmic-CoNN model"):
        load_model(write_torch(tmp_path / "model.pth", {"fc.weight": np.zeros((3, 3))}))


def test_tensor_beyond_its_storage(tmp_path: Path) -> None:
    writer = TorchPickle()
    content = writer.dictionary({"inc.conv.conv.0.weight": writer.tensor(np.zeros((2, 2)))})
    writer.storages = [storage[:8] for storage in writer.storages]
    with pytest.raises(ModelFileError, match="does not fit"):
        load_model(writer.write(tmp_path / "model.pth", content))


def test_compressed_storage(tmp_path: Path) -> None:
    writer = TorchPickle()
    content = writer.dictionary({"inc.conv.conv.0.weight": writer.tensor(np.zeros(1000))})
    with pytest.raises(ModelFileError, match="compressed"):
        load_model(writer.write(tmp_path / "bomb.pth", content, zipfile.ZIP_DEFLATED))


class WritesToDisk:
    """What an attacker would put into a model file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.path, "executed")


def attacks(path: Path) -> dict[str, bytes]:
    """Return pickles that would create a file if they were executed."""
    code = f"import pathlib; pathlib.Path({str(path)!r}).write_text('executed')"
    return {
        "reduce": pickle.dumps(WritesToDisk(path), protocol=2)[2:-1],
        "system": b"cos\nsystem\n(S'touch " + str(path).encode() + b"'\ntR",
        "exec": b"cbuiltins\nexec\n(" + TorchPickle().text(code) + b"tR",
        "instance": b"(" + TorchPickle().text(code) + b"ibuiltins\nexec\n",
        "object": b"(cbuiltins\nexec\n" + TorchPickle().text(code) + b"o",
        "getattr": b"cbuiltins\ngetattr\n(ccollections\nOrderedDict\nS'__init__'\ntR",
        "torch": b"ctorch.hub\nload\n(S'x'\ntR",
    }


@pytest.mark.parametrize("kind", sorted(attacks(Path("x"))))
@pytest.mark.parametrize("suffix", [".pth", ".pth.tar"])
def test_pickle_is_never_executed(tmp_path: Path, tensors: Tensors, kind: str, suffix: str) -> None:
    victim = tmp_path / "victim"
    writer = TorchPickle()
    items = {name: writer.tensor(tensor) for name, tensor in tensors.items()}
    content = writer.dictionary(items | {"extra": attacks(victim)[kind]})
    if suffix == ".pth.tar":
        content = writer.dictionary({"state_dict_mask": content})
    path = writer.write(tmp_path / f"evil{suffix}", content)
    with pytest.raises(ModelFileError, match="refused and nothing was executed"):
        load_model(path)
    assert not victim.exists()


def test_attacks_would_work(tmp_path: Path) -> None:
    """The attacks above do write to disk where pickles are trusted."""
    for kind in ("reduce", "exec"):
        victim = tmp_path / kind
        pickle.load(io.BytesIO(b"\x80\x02" + attacks(victim)[kind] + b"."))
        assert victim.exists()


def test_state_that_is_no_tensor(tmp_path: Path) -> None:
    writer = TorchPickle()
    path = writer.write(tmp_path / "model.pth", writer.dictionary({"inc": writer.integer(3)}))
    with pytest.raises(ModelFileError, match="entry 'inc' is a int"):
        load_model(path)
    path = writer.write(tmp_path / "list.pth", b"]")
    with pytest.raises(ModelFileError, match="but a list"):
        load_model(path)


@pytest.mark.parametrize(
    ("options", "message"), [({"n_inputs": 2}, "2 inputs"), ({"rank": 3}, r"expected float32 of shape")]
)
def test_onnx_of_something_else(options: dict[str, int], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        load_model(make_opaque_onnx(**options))


def test_onnx_that_changes_the_size(image: np.ndarray) -> None:
    model = load_model(make_opaque_onnx(shrink=1), threads=1)
    with pytest.raises(ModelFileError, match="returns shape"):
        model.predict(image)


def test_onnx_with_tensors_elsewhere(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(make_opaque_onnx())
    onnx.save_model(
        model,
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
        convert_attribute=False,
    )
    with pytest.raises(ModelFileError, match="in other files"):
        load_model(tmp_path / "model.onnx")


# Where to run.


def test_unknown_provider() -> None:
    with pytest.raises(ProviderError, match="Unknown provider 'gpu': choose one of cpu, cuda"):
        load_model("NRES", provider="gpu")


def test_provider_that_is_not_installed() -> None:
    missing = next(
        name for name, full in runtime.PROVIDERS.items() if full not in onnxruntime.get_available_providers()
    )
    with pytest.raises(ProviderError, match=f"Provider '{missing}' is not in this installation"):
        load_model("NRES", provider=missing)


def test_provider_that_fails_to_start(monkeypatch: pytest.MonkeyPatch, image: np.ndarray) -> None:
    """Onnxruntime falls back to the CPU then; that is not silent here."""
    start = onnxruntime.InferenceSession

    def fall_back(content: bytes, options: object, providers: list[object]) -> object:
        assert providers == [("CUDAExecutionProvider", {"use_tf32": "0"})]
        return start(content, options, providers=["CPUExecutionProvider"])

    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(runtime.onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(runtime.onnxruntime, "InferenceSession", fall_back)
    model = load_model("NRES", provider="cuda")
    with pytest.raises(ProviderError, match="could not start provider 'cuda'"):
        model.predict(image)


def test_threads_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        load_model("NRES", threads=0)


# The original.


class FakeCosmicConn:
    """Stands for the package: takes a GPU whenever torch has one."""

    def __init__(self, torch: types.ModuleType) -> None:
        self.torch = torch
        self.devices: list[str] = []
        self.options: list[object] = []

    def init_model(self, path: str, options: object) -> FakeCosmicConn:
        self.options.append(options)
        self.devices.append("cuda" if self.torch.cuda.is_available() else "cpu")
        return self

    def detect_cr(self, pixels: np.ndarray) -> np.ndarray:
        self.devices.append("cuda" if self.torch.cuda.is_available() else "cpu")
        result = np.isfinite(pixels).astype(np.float32)
        pixels[:] = 0.0
        return result


@pytest.fixture
def fake_package(monkeypatch: pytest.MonkeyPatch) -> FakeCosmicConn:
    torch = types.ModuleType("torch")
    torch.cuda = types.SimpleNamespace(is_available=lambda: True)
    torch.device = lambda name: types.SimpleNamespace(type=name.split(":")[0])
    torch.threads = 8
    torch.get_num_threads = lambda: torch.threads
    torch.set_num_threads = lambda n: setattr(torch, "threads", n)
    package = FakeCosmicConn(torch)
    top = types.ModuleType("cosmic_conn")
    top.init_model = package.init_model
    options = types.ModuleType("cosmic_conn.dl_framework.options")
    options.ModelOptions = types.SimpleNamespace
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "cosmic_conn", top)
    monkeypatch.setitem(sys.modules, "cosmic_conn.dl_framework", types.ModuleType("dl_framework"))
    monkeypatch.setitem(sys.modules, "cosmic_conn.dl_framework.options", options)
    top.__spec__ = types.SimpleNamespace(
        submodule_search_locations=[str(find_published_weights_in_site_packages().parents[1])]
    )
    return package


def find_published_weights_in_site_packages() -> Path:
    for folder in map(Path, sys.path):
        path = folder / "cosmic_conn" / "trained_models" / "cosmic-conn_LCO_NRES_v0.2.8.pth"
        if path.is_file():
            return path
    pytest.fail("cosmic-conn, which the weights come with, is a dependency: it must be installed")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_reference_runs_where_it_is_asked_to(
    fake_package: FakeCosmicConn, image: np.ndarray, device: str
) -> None:
    model = load_reference_model("HST_ACS_WFC", device=device, threads=1)
    image = image.copy()
    image[3, 4] = np.inf
    before = image.copy()
    probability = model.predict(image)
    np.testing.assert_array_equal(image, before)
    assert probability[3, 4] == 0.0
    assert fake_package.devices == [device, device]
    assert fake_package.options[0].norm == "batch"
    assert fake_package.torch.cuda.is_available()
    assert fake_package.torch.threads == 8


def test_reference_without_its_device(fake_package: FakeCosmicConn, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="not on 'mps'"):
        load_reference_model("NRES", device="mps")
    monkeypatch.setattr(fake_package.torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="torch finds no GPU"):
        load_reference_model("NRES", device="cuda:1")


def test_reference_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="or use engine 'fast'"):
        load_reference_model("NRES")


def test_reference_does_not_hand_evil_files_to_torch(
    fake_package: FakeCosmicConn, tmp_path: Path, tensors: Tensors
) -> None:
    writer = TorchPickle()
    items = {name: writer.tensor(tensor) for name, tensor in tensors.items()}
    evil = writer.dictionary(items | {"extra": attacks(tmp_path / "victim")["exec"]})
    with pytest.raises(ModelFileError, match="refused"):
        load_reference_model(writer.write(tmp_path / "evil.pth", evil))
    assert fake_package.devices == []


def test_reference_is_the_original(image: np.ndarray) -> None:
    pytest.importorskip("torch", reason="needs torch, which engine 'reference' runs on")
    for name in ("ground_imaging", "HST_ACS_WFC"):
        expected = load_model(name, threads=1).predict(image, tiling="original")
        probability = load_reference_model(name).predict(image)
        np.testing.assert_allclose(probability, expected, atol=1e-3, rtol=0)
