"""What several tests need: data for every loss, and a network as the reference sees it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import reference

import cnn
import cnn_core
from cnn.runtime import arena, data, products
from cnn_core import Activation, Loss

Array = np.ndarray[Any, Any]
TOOLS = Path(__file__).resolve().parents[1] / "tools"
QUICK = ["--epochs", "2", "--members", "1", "--hidden", "4"]  # options of `cnn train`
ACTIVATIONS = tuple(kind.name.lower() for kind in Activation)
LOSSES = tuple(kind.name.lower() for kind in Loss)
# Every optimizer, with the flags that change its formula.
# Whether BLAS computes the products of large layers: CNN_PRODUCTS says so, or "auto" does.
BLAS = products.by_blas(10_000, 10_000)
OPTIMIZERS = {
    "sgd": cnn.SGD(0.05),
    "momentum": cnn.SGD(0.05, momentum=0.9),
    "nesterov": cnn.SGD(0.05, momentum=0.9, nesterov=True),
    "rmsprop": cnn.RMSprop(0.01),
    "rmsprop_momentum": cnn.RMSprop(0.01, momentum=0.5),
    "adagrad": cnn.Adagrad(0.05),
    "adadelta": cnn.Adadelta(1.0),
    "adam": cnn.Adam(0.01),
    "amsgrad": cnn.Adam(0.01, amsgrad=True),
    "adam_coupled_decay": cnn.Adam(0.01, weight_decay=0.1),
    "adamw": cnn.AdamW(0.01, weight_decay=0.1),
    "nadam": cnn.Nadam(0.01),
    "lion": cnn.Lion(0.01, weight_decay=0.1),
    "clip_value": cnn.Adam(0.01, clip_value=0.01),
    "clip_norm": cnn.SGD(0.1, clip_norm=0.05),
    "clip_both": cnn.SGD(0.1, momentum=0.5, clip_value=0.05, clip_norm=0.08, weight_decay=0.1, decay_biases=True),
}


def run(program: str, **environment: str) -> str:
    """The output of a program in a process of its own, with this one's path. (-P: without the folder it starts in.)"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120,
        check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def preloaded(library: Path) -> dict[str, str]:
    """The environment for `run` with that library before all others: LD_PRELOAD itself takes no path with blanks."""
    folders = [str(library.parent), os.environ.get("LD_LIBRARY_PATH", "")]
    return {"LD_PRELOAD": library.name, "LD_LIBRARY_PATH": ":".join(filter(None, folders))}


def compiled(folder: Path, source: str, *flags: str) -> Any:
    """A library of C functions that may include the headers of `cnn_core`."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (folder / "kernels.c").write_text(source)
    headers = str(Path(cnn_core.__file__).parent)
    command = [compiler, "-shared", "-fPIC", "-w", *flags, "-I", headers, "kernels.c", "-o", "kernels.so"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "kernels.so"))


def call(function: Any, *arguments: Any) -> None:
    """Calls such a function with arrays, None for NULL, and whole numbers."""
    function(*[a.ctypes.data_as(ctypes.c_void_p) if isinstance(a, np.ndarray) else
               a if a is None else ctypes.c_ssize_t(a) for a in arguments])


def run_tool(name: str, *arguments: str) -> None:
    """A short run of one of tools/ that compares exports; without ONNX Runtime, of C alone."""
    if sys.platform != "linux":
        pytest.skip("a shared library of gcc or clang")
    if not TOOLS.exists():
        pytest.skip("the sources are not beside the tests")
    extra = []
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        extra = ["--skip-onnx"]
    done = subprocess.run(
        [sys.executable, "-P", str(TOOLS / name), *arguments, *extra], capture_output=True, text=True, timeout=200,
        check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path, str(TOOLS)]))},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def targets(loss: str, n: int, k: int, rng: np.random.Generator) -> Array:
    """Legal targets: classes (n,) for cross_entropy, else (n, k)."""
    return rng.integers(0, k, n) if loss == "cross_entropy" else reference.draw_targets(loss, rng, n, k)


_LONG = {"W": "weights", "b": "biases"}
ONLY_TRAINING = ("rate", "stddev", "momentum")  # fields of the reference's layers that are 0 outside it


def reference_layers(net: cnn.Network) -> list[dict[str, Any]]:
    """The network's layers and copies of its weights as `reference` takes them."""
    layers: list[dict[str, Any]] = []
    weights = net.get_weights()
    for i, (layer, spec) in enumerate(zip(net.descriptions, net.plan.layers, strict=True)):
        if isinstance(layer, cnn.Dropout):
            layers.append({"rate": layer.rate})
            continue
        if isinstance(layer, cnn.Add | cnn.GaussianNoise):
            layers.append(dict(vars(layer)))
            continue
        if not isinstance(layer, cnn.Dense | cnn.Conv2D | cnn.DepthwiseConv2D):
            names = [parameter.name for parameter in layer.parameters(net.plan.shapes[i])]
            own = {name: weights[f"layers.{i}.{name}"].astype(np.float64) for name in names}
            rates = [getattr(layer, name, 1.0) for name in ("learning_rate_factor", "decay_factor")]
            factors = dict.fromkeys(own, tuple(rates))
            factors |= dict.fromkeys({"edges", "inverses"} & set(own), (0.0, 0.0))  # constants
            kind, parameter = type(layer).__name__, float(spec["alpha"])
            layers.append({**vars(layer), "kind": kind, "p": parameter, "factors": factors, **own})
            continue
        b = weights.get(f"layers.{i}.biases")
        penalty = {"W": (layer.l1, layer.l2)}
        if b is not None:
            penalty["b"] = (getattr(layer, "bias_l1", 0.0), getattr(layer, "bias_l2", 0.0))
        name = Activation(int(spec["activation"])).name.lower()
        rates, decays = np.broadcast_to(layer.learning_rate_factor, 2), np.broadcast_to(layer.decay_factor, 2)
        groups = {} if isinstance(layer, cnn.Dense) else {"groups": int(spec["window"]["groups"])}
        layers.append({
            **vars(layer), **groups,
            "W": weights[f"layers.{i}.weights"].astype(np.float64), "b": None if b is None else b.astype(np.float64),
            "activation": name, "p": float(spec["alpha"]), "penalty": penalty,
            "factors": {"W": (rates[0], decays[0]), "b": (rates[1], decays[1])},
        })  # fmt: skip
    return layers


def reference_targets(net: cnn.Network, y: Array) -> Array:
    """(n, k) targets: classes become rows of the identity."""
    y = np.asarray(y)
    if net.loss.name == "cross_entropy" and y.ndim == 1:
        return np.eye(net.n_outputs)[y.astype(int)]
    return y.reshape(len(y), -1).astype(np.float64)


def reference_parameter(net: cnn.Network) -> float:
    """delta, q or the smoothing of the network's loss."""
    return float(net.plan.loss["parameter"][0] + net.plan.loss["smoothing"][0])


def reference_gradient(
    net: cnn.Network, X: Array, y: Array, weights: Array | None = None, training: bool = False
) -> tuple[float, dict[str, Array]]:
    """(loss with penalty, gradient by the network's names), by the reference."""
    layers = reference_layers(net)
    if not training:
        for layer in layers:
            layer.update({name: 0.0 for name in ONLY_TRAINING if name in layer})
    loss, penalty, gradient = reference.loss_and_gradient(
        layers, net.loss.name, np.asarray(X, np.float64).reshape(-1, *net.plan.shapes[0]), reference_targets(net, y),
        reference_parameter(net),
        None if weights is None else np.asarray(weights, np.float64), net.seed, net.step + 1,
    )  # fmt: skip
    return loss + penalty, {f"layers.{i}.{_LONG.get(what, what)}": g for (i, what), g in gradient.items()}


class ReferenceTraining:
    """Training step by step, by the reference, from a network's present weights and fresh optimizer state."""

    def __init__(self, net: cnn.Network) -> None:
        self.net = net
        self.layers = reference_layers(net)
        spec = net.plan.optimizer[0]
        self.fields = {name: spec[name].item() for name in spec.dtype.names}
        self.kind = net.optimizer.kind.lower()
        slots = reference.SLOTS[self.kind](self.fields)
        self.state = {
            (i, what): np.zeros((slots, *layer[what].shape))
            for i, layer in enumerate(self.layers) for what in layer if isinstance(layer[what], np.ndarray)
        }  # fmt: skip
        self.steps = 0

    def step(self, rate: float, X: Array, y: Array, weights: Array | None = None) -> float:
        """One step; the loss with penalties before it."""
        self.steps += 1
        loss, penalty = reference.train_step(
            self.layers, self.net.loss.name, self.kind, self.fields, self.steps, rate, self.state, X,
            reference_targets(self.net, y), self.net.optimizer.decay_biases, p=reference_parameter(self.net),
            weights=weights, seed=self.net.seed,
        )  # fmt: skip
        return float(loss + penalty)

    def weights(self) -> dict[str, Array]:
        return {f"layers.{i}.{_LONG.get(what, what)}": self.layers[i][what] for i, what in self.state}


class Break(cnn.Callback):
    """A Ctrl-C after n pieces of the fit."""

    def __init__(self, n: int) -> None:
        self.left = n

    def on_progress(self, network: cnn.Network, epoch: int, rows: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def training(
    net_plan: Any, X: Array, *, targets: Array | None = None, classes: Array | None = None,
    weights: Array | None = None, batch: int | None = None, seed: int = 0, n_threads: int = 1, shuffle: bool = False,
    outputs: Array | None = None, parameters: Array | None = None, metric: tuple[str, Array] | None = None,
) -> Any:  # fmt: skip
    """The core's `Training` of a plan on these rows, and the arrays that it works on: (training, buffers, report)."""
    cut, dtype = net_plan.cut(batch or len(X)), X.dtype
    memory = SimpleNamespace(
        rows=0, wide=cut.wide, n_chunks=cut.parts, seed=seed, layers=net_plan.layers, workspace=cut.workspace,
        slab=cut.workspace, segments=net_plan.segments, loss=net_plan.loss, optimizer=net_plan.optimizer,
        parameters=np.zeros(net_plan.size, dtype) if parameters is None else parameters,
        gradients=arena.aligned_zeros(cut.gradients * net_plan.size, dtype),
        state=arena.aligned_zeros(net_plan.slots * net_plan.size, dtype), scalars=np.zeros(4),
        counter=np.zeros(1, np.int64), sums=np.zeros(cnn_core.engine.sums_of_a_step(net_plan.segments, cut.parts)),
        scratch=arena.aligned_zeros(cut.shared + n_threads * cut.own, dtype),
    )  # fmt: skip
    rows = data.Data(X, targets, classes, weights, classes if targets is None else targets)
    scorer = cnn_core.engine.Scorer(net_plan.loss, rows, *(metric or ()))
    report = np.zeros((-(-len(X) // (batch or len(X))), 3))
    order = np.zeros(len(X), np.int64) if shuffle else None
    made = cnn_core.engine.Training(memory, X, rows, batch or len(X), report, order, None, outputs, scorer)
    return made, memory, report


def error(a: Array, b: Array) -> float:
    """|a - b| / (|a| + |b|), by Euclidean norms."""
    size = float(np.linalg.norm(a) + np.linalg.norm(b))
    return float(np.linalg.norm(np.asarray(a) - b)) / size if size else 0.0


def same_bits(a: cnn.Network, b: cnn.Network) -> bool:
    """Whether parameters and optimizer state agree in every bit."""
    return a.flat.tobytes() == b.flat.tobytes() and a.state.tobytes() == b.state.tobytes()


def table(n: int = 60) -> Any:
    """A data frame of numbers and texts, for the command."""
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=n).round(3), "c": rng.choice(["red", "blue"], n)})
    frame["y"] = (frame["x"] + (frame["c"] == "red")).round(3)
    frame["k"] = np.where(frame["y"] > 0.3, "=1+1", "no")
    return frame
