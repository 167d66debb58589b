# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network of Cosmic-CoNN as an ONNX graph.

Cosmic-CoNN (Xu et al. 2023, ApJ 942, 73) is a U-Net: each level has two
3x3 convolutions, each followed by a normalisation and a ReLU.  Both
convolutions of a level share one normalisation layer.
"""

from __future__ import annotations

__all__ = [
    "Architecture",
    "batch_normalisation",
    "build_block_network",
    "build_network",
    "find_architecture",
    "read_onnx_weights",
]

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .weights import ModelFileError

OPSET = 17
IR_VERSION = 8
NORM_EPSILON = 1e-5

UNSUPPORTED_LAYERS = {
    ".residual.": "residual blocks (conv_type 'resnet')",
    ".down_cov.0.": "strided convolutions (down_type 'stride')",
    ".up_conv.1.": "upsampling followed by a convolution (up_type 'upscale')",
}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What is free in the network, as its weights show it."""

    hidden: int
    """Number of channels of the highest level."""

    depth: int
    """How many times the image is halved."""

    norm: str
    """Kind of normalisation: "group" or "batch"."""

    n_group: int = 8
    """Number of groups of channels that "group" normalises together."""

    @property
    def stride(self) -> int:
        """Sides of an image must be multiples of this (`int`)."""
        return 2**self.depth

    @property
    def uses_tile_statistics(self) -> bool:
        """Whether a result depends on the whole tile (`bool`)."""
        return self.norm == "group"

    @property
    def reach(self) -> int:
        """Distance (pixels) beyond which a pixel acts only by statistics."""
        return self.margins()["inc.conv.conv"][0]

    def margins(self) -> dict[str, tuple[int, int]]:
        """Return how far features are needed beyond a block of the result.

        Returns
        -------
        margins : `dict` [`str`, `tuple` [`int`, `int`]]
            For each pair of convolutions the margins of its input and of
            its output, in pixels of its level, for a block whose corner
            is on a pixel of the lowest level.
        """
        margins = {}
        need = 0
        for level in range(1, self.depth + 1):
            margins[f"up{level}.conv.conv"] = (need + 2, need)
            need = (need + 3) // 2
        for level in range(self.depth, 0, -1):
            margins[f"down{level}.down_cov.1.conv"] = (need + 2, need)
            need = 2 * (need + 2)
        margins["inc.conv.conv"] = (need + 2, need)
        return margins

    def layers(self) -> dict[str, tuple[int, int]]:
        """Return channels in and out of each pair of convolutions.

        Returns
        -------
        layers : `dict` [`str`, `tuple` [`int`, `int`]]
            By name of the pair, in order of evaluation.
        """
        channels = [self.hidden * 2**level for level in range(self.depth + 1)]
        layers = {"inc.conv.conv": (1, channels[0])}
        for level in range(1, self.depth + 1):
            layers[f"down{level}.down_cov.1.conv"] = (channels[level - 1], channels[level])
        for level in range(self.depth, 0, -1):
            layers[f"up{level}.conv.conv"] = (channels[level], channels[level - 1])
        return layers

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor that the network needs.

        Returns
        -------
        shapes : `dict` [`str`, `tuple` [`int`, ...]]
            Shapes by name.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        statistics = ("running_mean", "running_var") if self.norm == "batch" else ()
        for layer, (n_in, n_out) in self.layers().items():
            if layer.startswith("up"):
                shapes[layer.replace(".conv.conv", ".up_conv.weight")] = (n_in, n_out, 2, 2)
                shapes[layer.replace(".conv.conv", ".up_conv.bias")] = (n_out,)
            shapes[f"{layer}.0.weight"] = (n_out, n_in, 3, 3)
            shapes[f"{layer}.3.weight"] = (n_out, n_out, 3, 3)
            for vector in ("0.bias", "3.bias", *(f"4.{name}" for name in ("weight", "bias", *statistics))):
                shapes[f"{layer}.{vector}"] = (n_out,)
        shapes["outc.conv.weight"] = (1, self.hidden, 1, 1)
        shapes["outc.conv.bias"] = (1,)
        return shapes


def find_architecture(tensors: Mapping[str, np.ndarray], source: str) -> Architecture:
    """Tell the architecture from the weights, and check them.

    Parameters
    ----------
    tensors : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Tensors under the names of the ``cosmic_conn`` package.
    source : `str`
        Where they come from, for messages.

    Returns
    -------
    architecture : `Architecture`
        The architecture, for which every tensor is there.

    Raises
    ------
    ModelFileError
        Raised if tensors are missing, of the wrong shape, not finite, or of
        layers that are not supported.
    """
    for part, meaning in UNSUPPORTED_LAYERS.items():
        if any(part in name for name in tensors):
            raise ModelFileError(f"{source}: networks with {meaning} are not supported.")
    first = tensors.get("inc.conv.conv.0.weight")
    if first is None or first.ndim != 4:
        raise ModelFileError(f"{source} is no Cosmic-CoNN model: it has no tensor inc.conv.conv.0.weight.")
    architecture = Architecture(
        hidden=first.shape[0],
        depth=3 if any(name.startswith("down3.") for name in tensors) else 2,
        norm="batch" if "inc.conv.conv.4.running_mean" in tensors else "group",
    )
    shapes = architecture.shapes()
    missing = sorted(shapes.keys() - tensors.keys())
    if missing:
        raise ModelFileError(f"{source} lacks {len(missing)} tensors, the first of them {missing[0]}.")
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise ModelFileError(f"{source}: {name} has shape {tensors[name].shape}, expected {shape}.")
        if not np.all(np.isfinite(tensors[name])):
            raise ModelFileError(f"{source}: {name} has values that are not finite.")
    if architecture.norm == "group" and architecture.hidden % architecture.n_group != 0:
        raise ModelFileError(
            f"{source}: {architecture.hidden} channels cannot be divided into {architecture.n_group} groups."
        )
    return architecture


def read_onnx_weights(content: bytes, source: str) -> dict[str, np.ndarray]:
    """Return the tensors that an ONNX model carries.

    Parameters
    ----------
    content : `bytes`
        A serialised ONNX model.
    source : `str`
        Where it comes from, for messages.

    Returns
    -------
    tensors : `dict` [`str`, `numpy.ndarray`]
        Its initialisers by name.

    Raises
    ------
    ModelFileError
        Raised if this is no ONNX model, or one that keeps its tensors in
        other files.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
        in_one_file = all(tensor.data_location != TensorProto.EXTERNAL for tensor in model.graph.initializer)
        if in_one_file:
            onnx.checker.check_model(model)
    except Exception as error:
        # Protobuf and the checker have errors of their own.
        raise ModelFileError(f"{source} is no valid ONNX model: {error}") from error
    if not in_one_file:
        raise ModelFileError(f"{source} keeps its tensors in other files: save it as one file.")
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def build_network(tensors: Mapping[str, np.ndarray], architecture: Architecture) -> bytes:
    """Write the network for whole tiles as an ONNX model.

    Parameters
    ----------
    tensors : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Weights, as `find_architecture` accepts them.
    architecture : `Architecture`
        The architecture of these weights.

    Returns
    -------
    content : `bytes`
        The serialised model.  It takes ``image`` (float32, (1, 1, ny, nx),
        sides multiples of the stride) and gives ``probability`` of the same
        shape.  Beyond the edge features are zero, as in the original.
    """
    return _GraphBuilder(tensors, architecture).build()


def build_block_network(tensors: Mapping[str, np.ndarray], architecture: Architecture) -> bytes:
    """Write the network for tiles with what is around them as an ONNX model.

    Parameters
    ----------
    tensors : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Weights, as `find_architecture` accepts them.
    architecture : `Architecture`
        The architecture of these weights.

    Returns
    -------
    content : `bytes`
        The serialised model.  It takes ``image`` (float32, (1, 1, ny, nx)):
        a tile and what is around it, as far as it reaches.  It gives
        ``probability`` (float32, (1, 1, ny - 2 reach, nx - 2 reach)).
    """
    return _BlockGraphBuilder(tensors, architecture).build()


def batch_normalisation(tensors: Mapping[str, np.ndarray], architecture: Architecture) -> np.ndarray:
    """Return the normalisation of a network with batch normalisation.

    Parameters
    ----------
    tensors : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Weights, with running means and variances.
    architecture : `Architecture`
        The architecture of these weights.

    Returns
    -------
    normalisation : `numpy.ndarray`
        Scale and offset of each channel in each normalisation, shape (2, n).
    """
    parts = []
    for layer in architecture.layers():
        weight, bias, mean, variance = (
            tensors[f"{layer}.4.{name}"].astype(np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(variance + NORM_EPSILON)
        parts += 2 * [np.stack([scale, bias - mean * scale])]
    return np.concatenate(parts, axis=1)


class _GraphBuilder:
    """Writes nodes one after the other, and returns names of results.

    Weights keep the names that torch gives them, so that they can be read
    back; what is derived from them is left to constant folding.
    """

    pad = 1

    def __init__(self, tensors: Mapping[str, np.ndarray], architecture: Architecture) -> None:
        self._tensors = tensors
        self._architecture = architecture
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def build(self) -> bytes:
        """Return the serialised model."""
        depth = self._architecture.depth
        features = self._pair("inc.conv.conv", ["image"])
        skips = []
        for level in range(1, depth + 1):
            skips.append(features)
            features = self._node("MaxPool", features, kernel_shape=[2, 2], strides=[2, 2])
            features = self._pair(f"down{level}.down_cov.1.conv", [features])
        for level in range(depth, 0, -1):
            coarser = self._upsample(f"up{level}.up_conv", features)
            features = self._pair(f"up{level}.conv.conv", self._join(level, skips.pop(), coarser))
        weight, bias = self._weight("outc.conv.weight"), self._weight("outc.conv.bias")
        features = self._node("Conv", features, weight, bias)
        self._node("Sigmoid", features, output="probability")
        inputs, outputs = self._interface()
        graph = helper.make_graph(self._nodes, "cosmic_conn", inputs, outputs, list(self._constants.values()))
        model = helper.make_model(
            graph,
            producer_name="lsst.meas.cosmicrays",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        return model.SerializeToString()

    def _interface(self) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
        """Return inputs and outputs of the model."""
        names = ("image", "probability")
        image, probability = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, "ny", "nx"]) for name in names
        )
        return [image], [probability]

    def _join(self, level: int, finer: str, coarser: str) -> list[str]:
        """Bring the features of two levels to the same size."""
        return [finer, coarser]

    def _pair(self, layer: str, features: list[str]) -> str:
        """Convolve, normalise and rectify, twice."""
        first = self._normalise(self._convolution(features, f"{layer}.0"), layer, 0)
        return self._normalise(self._convolution([first], f"{layer}.3"), layer, 1)

    def _convolution(self, features: list[str], name: str) -> str:
        """Convolve features, which are given in parts.

        Convolving each part and adding saves the memory of their
        concatenation.
        """
        weight = self._weight(f"{name}.weight")
        pads = [self.pad] * 4
        n_channels = self._tensors[f"{name}.weight"].shape[1] // len(features)
        total = ""
        for i, part in enumerate(features):
            part_weight = weight
            if len(features) > 1:
                part_weight = self._slice(weight, [i * n_channels], [(i + 1) * n_channels], [1])
            if i == 0:
                total = self._node("Conv", part, part_weight, self._weight(f"{name}.bias"), pads=pads)
            else:
                total = self._node("Add", self._node("Conv", part, part_weight, pads=pads), total)
        return total

    def _upsample(self, name: str, features: str) -> str:
        """Apply a 2x2 deconvolution of stride 2, which has no overlaps.

        It is a 1x1 convolution into four pixels for each one.
        """
        n_in, n_out, _, _ = self._tensors[f"{name}.weight"].shape
        weight = self._node("Transpose", self._weight(f"{name}.weight"), perm=[1, 2, 3, 0])
        weight = self._node("Reshape", weight, self._integers([4 * n_out, n_in, 1, 1]))
        bias = self._node("Reshape", self._weight(f"{name}.bias"), self._integers([n_out, 1]))
        bias = self._node("Expand", bias, self._integers([n_out, 4]))
        bias = self._node("Reshape", bias, self._integers([4 * n_out]))
        return self._node("DepthToSpace", self._node("Conv", features, weight, bias), blocksize=2, mode="CRD")

    def _normalise(self, features: str, layer: str, place: int) -> str:
        """Normalise features after one convolution of a pair; rectify."""
        weight = self._weight(f"{layer}.4.weight")
        bias = self._weight(f"{layer}.4.bias")
        if self._architecture.norm == "batch":
            mean = self._weight(f"{layer}.4.running_mean")
            variance = self._weight(f"{layer}.4.running_var")
            features = self._node(
                "BatchNormalization", features, weight, bias, mean, variance, epsilon=NORM_EPSILON
            )
            return self._node("Relu", features)
        n_channels = self._tensors[f"{layer}.4.weight"].size
        mean, variance = self._group_statistics(features, layer, place)
        by_group = self._integers([self._architecture.n_group, -1])
        by_channel = self._integers([1, n_channels, 1, 1])
        deviation = self._node("Sqrt", self._node("Add", variance, self._number(NORM_EPSILON)))
        scale = self._node("Div", self._node("Reshape", weight, by_group), deviation)
        offset = self._node("Sub", self._node("Reshape", bias, by_group), self._node("Mul", mean, scale))
        scale = self._node("Reshape", scale, by_channel)
        offset = self._node("Reshape", offset, by_channel)
        return self._node("Relu", self._node("Add", self._node("Mul", features, scale), offset))

    def _group_statistics(self, features: str, layer: str, place: int) -> tuple[str, str]:
        """Return mean and variance of each group, of shape (n_group, 1)."""
        return self._mean_and_variance(features)

    def _mean_and_variance(self, features: str) -> tuple[str, str]:
        n_group = self._architecture.n_group
        width = self._slice(self._node("Shape", features), [3], [4], [0])
        by_group = self._integers([0, n_group, -1])
        # Rows first: a float32 sum over millions of numbers is too coarse.
        mean = self._node("ReduceMean", features, axes=[3], keepdims=0)
        mean = self._node("ReduceMean", self._node("Reshape", mean, by_group), axes=[2], keepdims=0)
        square = self._node("ReduceSumSquare", features, axes=[3], keepdims=0)
        square = self._node("ReduceMean", self._node("Reshape", square, by_group), axes=[2], keepdims=0)
        square = self._node("Div", square, self._node("Cast", width, to=TensorProto.FLOAT))
        column = self._integers([n_group, 1])
        mean = self._node("Reshape", mean, column)
        square = self._node("Reshape", square, column)
        return mean, self._node("Sub", square, self._node("Mul", mean, mean))

    def _slice(self, features: str, starts: list[int], ends: list[int], axes: list[int]) -> str:
        return self._node(
            "Slice", features, self._integers(starts), self._integers(ends), self._integers(axes)
        )

    def _weight(self, name: str) -> str:
        return self._constant(name, self._tensors[name].astype(np.float32))

    def _number(self, value: float) -> str:
        return self._constant(f"number_{value}", np.float32(value))

    def _integers(self, values: list[int]) -> str:
        return self._constant("integers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def _constant(self, name: str, value: np.ndarray | np.generic) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def _node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name


class _BlockGraphBuilder(_GraphBuilder):
    """Builds the network without padding, so that the result is smaller."""

    pad = 0

    def __init__(self, tensors: Mapping[str, np.ndarray], architecture: Architecture) -> None:
        super().__init__(tensors, architecture)
        self._margins = architecture.margins()

    def _interface(self) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, "ny", "nx"])
        probability = helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 1, None, None])
        return [image], [probability]

    def _join(self, level: int, finer: str, coarser: str) -> list[str]:
        depth = self._architecture.depth
        wanted, _ = self._margins[f"up{level}.conv.conv"]
        encoder = f"down{level - 1}.down_cov.1.conv" if level > 1 else "inc.conv.conv"
        below = f"up{level + 1}.conv.conv" if level < depth else f"down{level}.down_cov.1.conv"
        return [
            self._crop(finer, self._margins[encoder][1] - wanted),
            self._crop(coarser, 2 * self._margins[below][1] - wanted),
        ]

    def _group_statistics(self, features: str, layer: str, place: int) -> tuple[str, str]:
        """Leave out margins, so that each pixel of a tile counts once."""
        margin = self._margins[layer][1] + (1 - place)
        return self._mean_and_variance(self._crop(features, margin))

    def _crop(self, features: str, margin: int) -> str:
        if margin == 0:
            return features
        return self._slice(features, [margin, margin], [-margin, -margin], [2, 3])
