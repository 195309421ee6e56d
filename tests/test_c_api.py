"""`cimport cnn_core`: the example of docs/c-api.md is compiled with a C compiler, run, and compared with Python."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import image_networks
import numpy as np
import pytest
from helpers import error

import cnn
import cnn_core

PAGE = Path(__file__).resolve().parents[1] / "docs" / "c-api.md"
pytest.importorskip("Cython")
pytest.importorskip("setuptools")
if not PAGE.exists():
    pytest.skip("the page is not beside the tests", allow_module_level=True)
BLOCKS = re.findall(r"^```(cython|python)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
EXAMPLE, SETUP, USE = (text for _, text in BLOCKS)

MORE = '''

from libc.stdint cimport int32_t


def passes(network, const double[:, ::1] x, const double[:, ::1] dout, bint training):
    """(raw outputs, gradient, dL/dx, outputs with the link)."""
    import numpy as np
    buffers = network.buffers(x.shape[0])
    cdef cnn_core.Model model = cnn_core.describe(buffers)
    cdef double[:, ::1] out = np.empty((x.shape[0], model.n_outputs))
    cdef double[:, ::1] linked = np.empty((x.shape[0], model.n_outputs))
    cdef double[:, ::1] dx = np.empty((x.shape[0], model.n_inputs))
    with nogil:
        cnn_core.predict(&model, &x[0, 0], x.shape[0], True, &linked[0, 0])
        cnn_core.forward(&model, &x[0, 0], x.shape[0], training, &out[0, 0])
        cnn_core.backward(&model, &dout[0, 0], x.shape[0], training, &dx[0, 0])
        cnn_core.backward(&model, &dout[0, 0], x.shape[0], training, <double*>NULL)
    assert model.itemsize == 8 and model.rows == x.shape[0]
    return np.asarray(out), buffers.gradients[:model.size].copy(), np.asarray(dx), np.asarray(linked)


def steps(network, const double[:, ::1] x, const int32_t[::1] classes, const double[::1] weights, list rates):
    """Steps on all rows: the losses, and the last status."""
    buffers = network.buffers(x.shape[0])
    cdef cnn_core.Model model = cnn_core.describe(buffers)
    cdef double loss, rate
    cdef int status = cnn_core.DONE
    losses = []
    for rate in rates:
        status = cnn_core.train_step(&model, &x[0, 0], NULL, &classes[0], &weights[0], x.shape[0], rate, &loss)
        losses.append(loss)
    return losses, status
'''


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The page's example, and functions that reach what it leaves out. (-O0: one second in place of fifteen.)"""
    folder = tmp_path_factory.mktemp("c_api")
    (folder / "online.pyx").write_text(EXAMPLE + MORE)
    (folder / "setup.py").write_text(SETUP.replace("-O3", "-O0").replace(', "-march=native"', ', "-w"'))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-P", "setup.py", "build_ext", "--inplace"], cwd=folder, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if "PlatformError" in done.stderr or "No such file or directory: 'cc'" in done.stderr:
        pytest.skip("no C compiler")
    assert done.returncode == 0, done.stdout + done.stderr
    (library,) = [*folder.glob("online*.so"), *folder.glob("online*.pyd")]
    spec = importlib.util.spec_from_file_location("online", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_holds_three_files() -> None:
    assert [kind for kind, _ in BLOCKS] == ["cython", "python", "python"]


def test_the_page_runs(online: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "online", online)
    exec(compile(USE, str(PAGE), "exec"), {})


def test_the_include_folder_has_the_headers() -> None:
    folder = Path(cnn_core.get_include())
    assert (folder / "tile.h").exists()
    assert (folder / "__init__.pxd").exists()


@pytest.mark.parametrize(("sizes", "batch"), [([6, 20, 2], 64), ([6, 20, 2], 333), ([20, 360, 360, 2], 128)], ids=str)
def test_steps_are_those_of_a_fit(online: ModuleType, sizes: list[int], batch: int) -> None:
    """Slabs, partial gradients, wide layers, dropout, penalties, clipping, a last minibatch that is smaller."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(350 if sizes[1] == 20 else 150, sizes[0])).astype(np.float32)
    y = np.sin(X[:, :2])

    def made() -> cnn.Network:
        layers: list[Any] = [cnn.Dense(units, "tanh", l2=1e-3) for units in sizes[1:-1]]
        return cnn.Network([*layers, cnn.Dropout(0.2), cnn.Dense(2)], optimizer=cnn.Adam(1e-3, clip_norm=0.5), seed=3)

    ours, fitted = made().build(sizes[0]), made()
    loss = online.learn(ours, X, y, batch, 2, 1e-3)
    fitted.fit(X, y, epochs=2, batch_size=batch, shuffle=False, verbose=0)
    assert ours.step == fitted.step
    assert error(ours.flat, fitted.flat) < 1e-5
    assert error(ours.state, fitted.state) < 1e-4
    assert np.isfinite(loss)
    ours.fit(X, y, epochs=1, batch_size=batch, shuffle=False, verbose=0)  # each goes on where the other stopped
    online.learn(fitted, X, y, batch, 1, 1e-3)
    assert error(ours.flat, fitted.flat) < 1e-5


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("n", [1, 7, 100])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_passes_are_those_of_python(online: ModuleType, n: int, training: bool, loss: str) -> None:
    layers = [cnn.Dropout(0.1), cnn.Dense(9, "gelu"), cnn.Dropout(0.5), cnn.Dense(3)]
    net = cnn.Network(layers, loss, dtype="float64", seed=0).build(4)
    rng = np.random.default_rng(n)
    X, dout = rng.normal(size=(n, 4)), rng.normal(size=(n, 3))
    before = net.flat.copy()
    out, gradient, dx, linked = online.passes(net, X, dout, training)
    assert np.allclose(out, net.forward(X, training=training), rtol=1e-12, atol=1e-14)
    assert np.allclose(dx, net.backward(dout), rtol=1e-12, atol=1e-14)
    expected = net.gradients
    for name, view in cnn.runtime.arena.views(gradient, net.plan.names).items():
        assert np.allclose(view, expected[name], rtol=1e-12, atol=1e-13), name
    assert np.allclose(linked, net.predict(X), rtol=1e-12, atol=1e-14)
    assert np.array_equal(net.flat, before)


@pytest.mark.parametrize("units", [9, 300])
def test_batch_normalisation_is_that_of_python(online: ModuleType, units: int) -> None:
    """Passes with mean and variance of their rows, steps that move running averages, a last minibatch of one row."""
    layers = [cnn.BatchNorm(), cnn.Dense(units), cnn.BatchNorm(activation="mish"), cnn.Dense(units), cnn.Dense(3)]
    net = cnn.Network(layers, dtype="float64", seed=0).build(4)
    rng = np.random.default_rng(0)
    X, dout = rng.normal(1, 2, size=(101, 4)), rng.normal(size=(101, 3))
    for training in (True, False):
        for n in (1, 101):
            out, gradient, dx, _ = online.passes(net, X[:n], dout[:n], training)
            assert np.allclose(out, net.forward(X[:n], training=training), rtol=1e-12, atol=1e-13)
            assert np.allclose(dx, net.backward(dout[:n]), rtol=1e-12, atol=1e-13)
            for name, view in cnn.runtime.arena.views(gradient, net.plan.names).items():
                assert np.allclose(view, net.gradients[name], rtol=1e-11, atol=1e-12), name
    X, y = X.astype(np.float32), dout.astype(np.float32)
    # Not Adam: biases below a normalisation have a gradient of rounding errors alone, of which it makes whole steps.
    ours, fitted = (cnn.Network(layers, optimizer=cnn.SGD(1e-3), seed=0).build(4) for _ in range(2))
    online.learn(ours, X, y, 50, 2, 1e-3)
    fitted.fit(X, y, epochs=2, batch_size=50, shuffle=False, verbose=0)
    assert ours.step == fitted.step == 6
    assert error(ours.flat, fitted.flat) < 1e-5


def test_predictions_of_a_large_network(online: ModuleType) -> None:
    """As many tiles at a time as the buffers have slabs."""
    net = cnn.Network([cnn.Dense(757, "relu"), cnn.Dense(3)], "mse", dtype="float64", seed=0).build(700)
    X = np.random.default_rng(0).normal(size=(200, 700))
    linked = online.passes(net, X, np.ones((200, 3)), False)[3]
    assert np.allclose(linked, net.predict(X), rtol=1e-12, atol=1e-13)


def test_a_few_rows_through_many_narrow_layers() -> None:
    """Each of them has a buffer of its own, of whole vectors: the memory to work in holds them."""
    residuals = [cnn.Residual([cnn.Dense(1, "tanh")]) for _ in range(60)]
    net = cnn.Network([cnn.Dense(1), *residuals, cnn.Dense(1)], seed=0).build(3)
    for rows in (1, 8, 100):
        assert net.buffers(rows).scratch.size >= 8 * 16 * 122


def test_classes_weights_and_a_step_that_is_not_finite(online: ModuleType) -> None:
    X = np.random.default_rng(0).normal(size=(50, 4))
    y, weights = (np.arange(50) % 3).astype(np.int32), np.linspace(0, 2, 50)
    nets = [
        cnn.Network([cnn.Dense(5, "relu"), cnn.Dense(3, l1=0.01)], "cross_entropy", cnn.SGD(0.1), "float64", seed=0)
        for _ in range(2)
    ]
    nets[0].build(4)
    losses, status = online.steps(nets[0], X, y, weights, [0.1] * 3)
    history = nets[1].fit(X, y, epochs=3, batch_size=None, sample_weight=weights, shuffle=False, verbose=0, metrics=())
    assert status == 0
    assert np.allclose(losses, history.loss, rtol=1e-10)
    assert error(nets[0].flat, nets[1].flat) < 1e-12
    before = nets[0].flat.copy()
    weights[7] = np.inf
    losses, status = online.steps(nets[0], X, y, weights, [0.1])
    assert status != 0
    assert nets[0].step == 3
    assert np.array_equal(nets[0].flat, before)


def test_rows_of_buffers_are_checked() -> None:
    net = cnn.Network([cnn.Dense(1)], seed=0)
    with pytest.raises(cnn.NotBuiltError):
        net.buffers(3)
    with pytest.raises(ValueError, match="rows must be an integer >= 1, got 0"):
        net.build(2).buffers(0)


@pytest.mark.parametrize("name", ["lenet", "strides", "depthwise", "residuals", "norms of channels", "signals"])
def test_images(online: ModuleType, name: str) -> None:
    """Rows of their numbers, as they stand in memory."""
    net = image_networks.stack(name)
    X, y = image_networks.data(net, 20)
    out, gradient, dx, linked = online.passes(net, X.reshape(20, -1), y, False)
    np.testing.assert_allclose(out, net.forward(X), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(linked, out, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dx, net.backward(y).reshape(20, -1), rtol=1e-10, atol=1e-12)
    for what, (offset, shape) in net.plan.names.items():
        found = gradient[offset : offset + int(np.prod(shape))].reshape(shape)
        np.testing.assert_allclose(found, net.gradients[what], rtol=1e-9, atol=1e-11, err_msg=what)
    ours, fitted = (image_networks.stack(name, "float32", optimizer=cnn.Adam(1e-3)) for _ in range(2))
    X, y = X.astype(np.float32), y.astype(np.float32)
    online.learn(ours, X.reshape(20, -1), y, 10, 2, 1e-3)
    fitted.fit(X, y, epochs=2, batch_size=10, shuffle=False, verbose=0)
    assert ours.step == fitted.step == 4
    assert error(ours.flat, fitted.flat) < 1e-5
