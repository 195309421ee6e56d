"""Networks for images and signals in ONNX Runtime and in C give what NumPy gives, element by element in float64."""

from __future__ import annotations

import ctypes
import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TOOLS, run_tool

import cnn

Array = np.ndarray[Any, Any]
FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC"]


@pytest.fixture
def by_numpy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module with the formulas."""
    if not TOOLS.exists():
        pytest.skip("the sources are not beside the tests")
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module("export_images")


def lenet(dtype: str = "float32") -> cnn.Network:
    """LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998) as it is trained today, with biases that are not 0."""
    net = cnn.Network([
        cnn.Conv2D(6, 5, activation="relu"), cnn.MaxPool2D(), cnn.Conv2D(16, 5, activation="relu"), cnn.MaxPool2D(),
        cnn.Flatten(), cnn.Dense(120, "relu"), cnn.Dense(84, "relu"), cnn.Dense(10)],
        loss="cross_entropy", dtype=dtype, seed=0).build((28, 28, 1))  # fmt: skip
    rng = np.random.default_rng(0)
    for name, view in net.parameters.items():
        if name.endswith("biases"):
            view[...] = 0.1 * rng.normal(size=view.shape)
    return net


def images(n: int, *shape: int) -> Array:
    return np.random.default_rng(1).uniform(size=(n, *(shape or (28, 28, 1)))).astype(np.float32)


def test_random_networks_for_images_agree_in_onnx_and_c() -> None:
    """In short; the long run is the command."""
    run_tool("export_images.py", "--count", "25", "--seed", "3")


@pytest.mark.parametrize("flags", [[], ["-DCNN_BUFFERS=static"]], ids=["stack", "static"])
def test_lenet_in_c(flags: list[str], by_numpy: Any, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform == "win32":
        pytest.skip("no C compiler")
    net, X = lenet(), images(4)
    source, header = cnn.export_c(net, tmp_path)
    # What is between layers: 24 x 24 x 6 and 12 x 12 x 6 floats; and 512 for the rest.
    assert f"{4 * (24 * 24 * 6 + 12 * 12 * 6) + 512:,} bytes of stack at most" in header.read_text()
    assert "28 rows of 28 pixels from top to bottom, the 1 channels of each pixel" in header.read_text()
    assert "malloc" not in source.read_text()
    library = tmp_path / "lenet.so"
    subprocess.run([compiler, *FLAGS, *flags, str(source), "-o", str(library), "-lm"], check=True)
    forward = ctypes.CDLL(str(library)).model_forward
    found = np.full((4, 10), np.nan, np.float32)
    for x, y in zip(X, found, strict=True):
        forward(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data))
    ulp = np.spacing(by_numpy.forward(net, X)[1].astype(np.float32))
    assert (np.abs(found - net.forward(X)) <= 4 * 5 * ulp).all()  # five layers with weights


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lenet_in_onnx(dtype: str, tmp_path: Path) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    net = lenet(dtype)
    cnn.export_onnx(net, tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["n", 28, 28, 1]
    for n in (5, 1, 0):
        (found,) = session.run(["prediction"], {"X": images(n).astype(dtype)})
        assert found.dtype == dtype
        np.testing.assert_allclose(found, net.predict(images(n)), rtol=1e-5, atol=1e-6)
    nodes = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node if node.op_type != "Cast"]
    assert nodes == ["Transpose", "Conv", "Relu", "MaxPool", "Conv", "Relu", "MaxPool", "Transpose", "Flatten", "Gemm",
                     "Relu", "Gemm", "Relu", "Gemm", "Softmax"]  # fmt: skip


def on_bytes() -> tuple[cnn.Network, Array]:
    """Trained on images of bytes."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (20, 7, 8, 2), dtype=np.uint8)
    layers = [cnn.Conv2D(3, 3, activation="relu"), cnn.Residual([cnn.Conv2D(3, 3, padding="same")]), cnn.Flatten()]
    net = cnn.Network([*layers, cnn.Dense(3)], loss="cross_entropy", seed=0)
    net.fit(X, np.arange(20) % 3, epochs=1, verbose=0)
    return net, X


def test_images_of_bytes_in_onnx(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    net, X = on_bytes()
    as_numbers = X * np.float32(1 / 255)
    for uint8, given, kind in ((None, X, "uint8"), (True, X, "uint8"), (False, as_numbers, "float")):
        cnn.export_onnx(net, tmp_path / "m.onnx", uint8=uint8)
        session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
        assert session.get_inputs()[0].type == f"tensor({kind})"
        np.testing.assert_allclose(session.run(None, {"X": given})[0], net.predict(X), rtol=1e-5, atol=1e-6)


def test_images_of_bytes_in_c(by_numpy: Any, tmp_path: Path) -> None:
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    net, X = on_bytes()
    _, header = cnn.export_c(net, tmp_path)
    assert "void model_predict(const unsigned char *x, float *y);" in header.read_text()
    raw, predicted = by_numpy.by_c(net, X, tmp_path, "gcc")
    np.testing.assert_allclose(raw, net.forward(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(predicted, net.predict(X), rtol=1e-5, atol=1e-6)
    _, header = cnn.export_c(net, tmp_path, uint8=False)
    assert "void model_predict(const float *x, float *y);" in header.read_text()


@pytest.mark.parametrize("export", [cnn.export_onnx, cnn.export_c])
def test_bytes_are_images(export: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    rows = cnn.Network([cnn.Dense(2)]).build(3)
    with pytest.raises(ValueError, match="uint8 is for networks that take images or signals, got Network"):
        export(rows, tmp_path / "m", uint8=True)
    with pytest.raises(TypeError, match="uint8 must be"):
        export(lenet(), tmp_path / "m", uint8="yes")
    assert not list(tmp_path.iterdir())
    export(rows, tmp_path / "m", uint8=False)


def test_a_classifier_of_images_has_labels(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    runtime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    y = rng.choice(["dark", "grey", "light"], 60)
    X = rng.integers(0, 80, (60, 8, 9, 1), dtype=np.uint8)
    X += np.array([{"dark": 0, "grey": 80, "light": 160}[label] for label in y], np.uint8)[:, None, None, None]
    model = cnn.ImageClassifier(layers=[cnn.Conv2D(4, 3, activation="relu"), cnn.GlobalAvgPool2D(), cnn.Dense(3)],
                                epochs=5, random_state=0).fit(X, y)  # fmt: skip
    cnn.export_onnx(model, tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    label, p = session.run(["label", "probabilities"], {"X": X})
    assert label.tolist() == model.predict(X).tolist()
    np.testing.assert_allclose(p, model.predict_proba(X), rtol=1e-4, atol=1e-6)
    if not shutil.which("cc") or sys.platform == "win32":
        return
    source, header = cnn.export_c(model, tmp_path)
    assert "const unsigned char *x" in header.read_text()
    subprocess.run(["cc", *FLAGS, str(source), "-o", str(tmp_path / "m.so"), "-lm"], check=True)
    library = ctypes.CDLL(str(tmp_path / "m.so"))
    names = (ctypes.c_char_p * 3).in_dll(library, "model_classes")
    assert list(names) == [b"dark", b"grey", b"light"]
    out = np.empty(3, np.float32)
    for x, wanted in zip(X, model.predict(X), strict=True):
        library.model_predict(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(out.ctypes.data))
        assert names[library.model_class(ctypes.c_void_p(out.ctypes.data))].decode() == wanted
    with pytest.raises(ValueError, match="uint8 is for networks that take images or signals, got ImageClassifier"):
        cnn.export_c(model, tmp_path, uint8=True)


def test_weights_in_onnx_are_by_filters_and_channels(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    net = cnn.Network([cnn.Conv2D(6, (3, 2), groups=2), cnn.Conv2D(4, 1), cnn.Flatten(), cnn.Dense(1)], seed=0)
    cnn.export_onnx(net.build((7, 9, 4)), tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    constants = {array.name: onnx.numpy_helper.to_array(array) for array in graph.initializer}
    weights = net.layers[0].weights  # (height, width, channels of the group, filters)
    np.testing.assert_array_equal(constants["layers.0.weights"], np.moveaxis(weights, (3, 2), (0, 1)))
    assert [attribute.i for attribute in graph.node[1].attribute if attribute.name == "group"] == [2]


def test_slopes_and_buffers_have_names_of_their_own(by_numpy: Any, tmp_path: Path) -> None:
    """The third layer that stays in prediction is a PReLU, and writes to the third buffer."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    net = cnn.Network([cnn.Dense(4), cnn.Residual([cnn.Dense(4), cnn.PReLU(), cnn.Dense(4)]), cnn.Dense(2)], seed=0)
    net.build(3)
    X = np.random.default_rng(0).normal(size=(6, 3))
    raw, _ = by_numpy.by_c(net, X, tmp_path, "gcc")
    np.testing.assert_allclose(raw, net.forward(X), rtol=1e-5, atol=1e-6)
