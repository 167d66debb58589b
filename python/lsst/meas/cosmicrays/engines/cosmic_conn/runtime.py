# This file is part of meas_cosmicrays.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running ONNX models with onnxruntime, on the device that was asked for."""

from __future__ import annotations

__all__ = ["PROVIDERS", "ProviderError", "check_provider", "make_session"]

import onnxruntime

from .weights import ModelFileError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
"""Short names of the execution providers of onnxruntime."""

OPTIONS = {"cuda": {"use_tf32": "0"}}
"""Options of execution providers.  With the ten bits of TensorFloat-32 some
pixels would be on the other side of the threshold than on a CPU."""

LOG_ERRORS = 3


class ProviderError(RuntimeError):
    """Raised when a model cannot run on the device that was asked for."""


def make_session(content: bytes, provider: str, threads: int) -> onnxruntime.InferenceSession:
    """Make a model ready to run.

    Parameters
    ----------
    content : `bytes`
        A serialised ONNX model.
    provider : `str`
        One of `PROVIDERS`.
    threads : `int`
        How many CPU threads to use.

    Returns
    -------
    session : `onnxruntime.InferenceSession`
        A session that runs on that provider and no other.

    Raises
    ------
    ModelFileError
        Raised if onnxruntime cannot read the model.
    ProviderError
        Raised if the provider is not known, not in this installation of
        onnxruntime, or fails to start.
    """
    name = check_provider(provider)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = LOG_ERRORS
    # With patterns, the memory of a whole tile is allocated twice.
    options.enable_mem_pattern = False
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads
    # Idle threads sleep: a node is shared by many quanta.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        # Otherwise CUDA and cuDNN are not found where pip puts them.
        onnxruntime.preload_dlls()
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=[(name, OPTIONS.get(provider, {}))]
        )
    except Exception as error:
        if provider == "cpu":
            raise ModelFileError(f"onnxruntime cannot use the model: {error}") from error
        raise ProviderError(f"onnxruntime cannot run the model on {provider!r}: {error}") from error
    if session.get_providers()[0] != name:
        raise ProviderError(
            f"onnxruntime could not start provider {provider!r} and would run on "
            f"{session.get_providers()[0]} instead: see its log, or ask for provider 'cpu'."
        )
    return session


def check_provider(provider: str) -> str:
    """Tell whether onnxruntime has an execution provider.

    Parameters
    ----------
    provider : `str`
        One of `PROVIDERS`.

    Returns
    -------
    name : `str`
        Its name in onnxruntime.

    Raises
    ------
    ProviderError
        Raised if it is not known, or not in this installation.
    """
    if provider not in PROVIDERS:
        raise ProviderError(f"Unknown provider {provider!r}: choose one of {', '.join(PROVIDERS)}.")
    name = PROVIDERS[provider]
    available = onnxruntime.get_available_providers()
    if name not in available:
        raise ProviderError(
            f"Provider {provider!r} is not in this installation of onnxruntime, which has "
            f"{', '.join(available)}: install the onnxruntime package for that device, or use 'cpu'."
        )
    return name
