"""Random networks exported to ONNX and to C: both must give what the network gives.

    python tools/export_test.py --count 500 [--seed 0]

ONNX Runtime: 1e-5 of the largest magnitude (1e-11 in float64). C: raw outputs within 4 ULP times the dense layers, the
ULP that of the sums of magnitudes; compiled without a warning by each of gcc and clang that is there.
"""

from __future__ import annotations

import argparse
import ctypes
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import cnn

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC"]


def network(rng: random.Random) -> cnn.Network:
    """Any activation, loss, type, width and depth."""
    layers: list[cnn.layers.Layer] = []
    loss = rng.choice(cnn.losses.NAMES)
    for _ in range(rng.randrange(5)):
        name = rng.choice(cnn.activations.NAMES)
        alpha = rng.uniform(0.1, 2) if cnn.Activation(name).value and rng.random() < 0.5 else None
        layers.append(cnn.Dense(rng.choice((1, 2, 3, 7, 16, 33, 64)), cnn.Activation(name, alpha),
                                use_bias=rng.random() < 0.8))  # fmt: skip
        if rng.random() < 0.2:
            layers.append(cnn.Dropout(0.3))
    outputs = rng.choice((2, 5)) if loss == "cross_entropy" else rng.choice((1, 1, 3)) * cnn.Loss(loss).facts.outputs
    last = rng.choice(cnn.activations.NAMES) if rng.random() < 0.2 else "identity"
    net = cnn.Network([*layers, cnn.Dense(outputs, last)], loss=loss, dtype=rng.choice(("float32", "float64")),
                      seed=rng.randrange(2**32)).build(rng.choice((1, 2, 5, 13, 50)))  # fmt: skip
    numbers = np.random.default_rng(net.seed)
    for name, view in net.parameters.items():
        if name.endswith("biases"):
            view[...] = numbers.normal(size=view.shape)
        view *= rng.choice((0.3, 1, 1, 2))
    net.one_dimensional = outputs == 1 and rng.random() < 0.5
    return net


def magnitudes(net: cnn.Network, X: np.ndarray) -> np.ndarray:
    """The sums that the outputs are made of, without signs: what their roundings are measured by."""
    s = np.abs(X).astype(np.float64)
    for i, layer in enumerate(net.descriptions):
        if isinstance(layer, cnn.Dense):
            s = s @ np.abs(net.parameters[f"layers.{i}.weights"]).astype(np.float64)
            if layer.use_bias:
                s = s + np.abs(net.parameters[f"layers.{i}.biases"])
            # Activations are at most 1.2 times as steep as their argument, and constants may be added (softplus, elu).
            name = layer.activation if isinstance(layer.activation, str) else layer.activation.name
            s = s if name in ("identity", "relu", "leaky_relu") else 1.2 * s + 1
    return s


def worst_ulp(net: cnn.Network, X: np.ndarray, found: np.ndarray) -> float:
    """The largest difference of raw outputs, in ULP of their magnitudes and by layer."""
    depth = sum(isinstance(layer, cnn.Dense) for layer in net.descriptions)
    ulp = np.spacing(magnitudes(net, X).astype(net.dtype)).astype(np.float64)
    difference = np.abs(net.forward(X).astype(np.float64) - found.astype(np.float64))
    return float((difference / ulp).max()) / depth


def by_c(net: cnn.Network, X: np.ndarray, folder: Path, compiler: str) -> tuple[np.ndarray, np.ndarray]:
    """(raw outputs, predictions) of the compiled export, row by row."""
    source, _ = cnn.export_c(net, folder)
    library = folder / f"{compiler}-{net.seed}.so"
    subprocess.run([compiler, *FLAGS, str(source), "-o", str(library), "-lm"], check=True)
    loaded = ctypes.CDLL(str(library))
    X = np.ascontiguousarray(X, X.dtype if X.dtype == np.uint8 else net.dtype)
    outs = []
    for function in (loaded.model_forward, loaded.model_predict):
        out = np.full((len(X), net.n_outputs), np.nan, net.dtype)
        for x, y in zip(X, out, strict=True):
            function(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data))
        outs.append(out)
    return outs[0], outs[1]


def by_onnx(net: cnn.Network, X: np.ndarray, folder: Path) -> np.ndarray:
    """Predictions of ONNX Runtime, for two sizes of batch."""
    import onnxruntime

    cnn.export_onnx(net, folder / "m.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), options, providers=["CPUExecutionProvider"])
    X = X.astype(net.dtype)
    (first,), (rest,) = session.run(None, {"X": X[:1]}), session.run(None, {"X": X[1:]})
    return np.concatenate([first, rest])


def close(a: np.ndarray, b: np.ndarray, tolerance: float) -> float:
    """The largest difference, relative to magnitudes above 1."""
    assert a.shape == b.shape, (a.shape, b.shape)
    worst = float((np.abs(a.astype(float) - b) / np.maximum(1, np.abs(b.astype(float)))).max())
    assert worst <= tolerance, worst
    return worst


def exact(net: cnn.Network) -> bool:
    """Whether runtimes have all of it in float64: Erf they do not."""
    names = [getattr(layer, "activation", "") for layer in net.descriptions]
    return net.dtype == np.float64 and "gelu" not in names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip-onnx", action="store_true", help="where ONNX Runtime is not installed")
    arguments = parser.parse_args()
    rng, worst = random.Random(arguments.seed), {"onnx, float32": 0.0, "onnx, float64": 0.0, "C": 0.0}
    for i in range(arguments.count):
        net = network(rng)
        X = np.random.default_rng(i).normal(size=(9, net.n_inputs)) * rng.choice((0.1, 1, 3))
        expected = net.predict(X)
        try:
            with tempfile.TemporaryDirectory() as folder:
                if not arguments.skip_onnx:
                    name = f"onnx, {net.dtype.name}"
                    tolerance = 1e-11 if exact(net) else 1e-5
                    worst[name] = max(worst[name], close(by_onnx(net, X, Path(folder)), expected, tolerance))
                for compiler in COMPILERS:
                    raw, predicted = by_c(net, X, Path(folder), compiler)
                    ulp = worst_ulp(net, X, raw)
                    assert ulp <= 4, f"{ulp} ULP by layer"
                    worst["C"] = max(worst["C"], ulp)
                    close(predicted.reshape(expected.shape), expected, 1e-5 if net.dtype == np.float32 else 1e-11)
        except BaseException:
            print(f"network {i} of seed {arguments.seed}: {net!r}")
            raise
    print(f"{arguments.count} networks, {' and '.join(COMPILERS)}: "
          + ", ".join(f"{name} {value:.2g}" for name, value in worst.items()) + " (C: ULP by layer)")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
