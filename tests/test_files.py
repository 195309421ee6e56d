"""Model files: read strictly, written whole or not at all, open to any reader of safetensors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from models import parts, refusal, signed

import cnn
from cnn.files import container, strict_json
from cnn.files.descriptions import describe

ROOT = Path(__file__).resolve().parents[1]
MODELS = {
    "plain": cnn.Network([cnn.Dense(2)], seed=0),
    "classes": cnn.Network([cnn.Dense(3, cnn.Activation("elu", 0.3)), cnn.Dropout(0.2), cnn.Dense(3, use_bias=False)],
                           loss=cnn.CrossEntropy(0.1), optimizer=cnn.SGD(0.1, momentum=0.9), seed=2**64 - 1),
    "double": cnn.Network([cnn.Dense(2, "tanh", l1=0.1), cnn.Dense(1)], loss=cnn.Huber(0.3), dtype="float64", seed=1,
                          optimizer=cnn.AdamW(cnn.schedules.WarmUp(cnn.schedules.Cosine(0.01), 5), clip_norm=1.0)),
}  # fmt: skip


@pytest.fixture(scope="module", params=MODELS)
def content(request, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("models") / "m.cnn"
    MODELS[request.param].build(3).save(path)
    return path.read_bytes()


def test_any_safetensors_reader_opens_it(content: bytes, tmp_path) -> None:
    (tmp_path / "m.cnn").write_bytes(content)
    net = cnn.load(tmp_path / "m.cnn")
    tensors = safetensors.numpy.load(content)
    assert {name: value.tobytes() for name, value in tensors.items()} == {
        name: value.tobytes() for name, value in net.parameters.items()
    }
    header, _ = parts(content)
    assert json.loads(header["__metadata__"]["model"])["n_inputs"] == 3


def test_the_same_model_is_the_same_file(content: bytes, tmp_path) -> None:
    path = tmp_path / "m.cnn"
    path.write_bytes(content)
    cnn.load(path).save(path)
    assert path.read_bytes() == content
    header, data = parts(content)
    assert signed(header, data) == signed(header, data)
    path.write_bytes(signed(header, data))  # other white space, same content
    cnn.load(path)


def metadata(**changes: str | None) -> Any:
    def change(header: dict[str, Any]) -> None:
        for name, value in changes.items():
            if value is None:
                del header["__metadata__"][name]
            else:
                header["__metadata__"][name] = value

    return change


def model(**changes: Any) -> Any:
    def change(header: dict[str, Any]) -> None:
        described = json.loads(header["__metadata__"]["model"])
        described.update(changes)
        header["__metadata__"]["model"] = json.dumps(described)

    return change


def tensor(**changes: Any) -> Any:
    return lambda header: header["layers.0.biases"].update(changes)


DENSE = {"class": "Dense", "units": 2, "activation": "identity", "initializer": "auto", "bias_initializer": "zeros",
         "use_bias": True, "l1": 0.0, "l2": 0.0, "bias_l1": 0.0, "bias_l2": 0.0}  # fmt: skip
FORGED = {
    "version": (metadata(version="2", writer="7.1.0"), "format version '2'.*reads 1 .cnn 7.1.0 wrote it and is needed"),
    "no version": (metadata(version=None), "format version None"),
    "writer": (metadata(writer="x; rm"), "not a model of cnn"),
    "format": (metadata(format="other"), "not a model of cnn"),
    "field": (model(layers=[{k: v for k, v in DENSE.items() if k != "units"}]), "'units' is missing"),
    "more": (metadata(more=""), "its metadata must be"),
    "kind": (metadata(kind="pickle"), "holds a pickle, which"),
    "bad kind": (metadata(kind="../x"), "unknown kind"),
    "not json": (metadata(model="{"), "not JSON"),
    "twice": (metadata(model='{"loss":1,"loss":2}'), "stands there twice"),
    "nan": (metadata(model='{"loss":NaN}'), "NaN is not a number"),
    "infinity": (metadata(model='{"loss":1e999}'), "too large"),
    "digits": (metadata(model='{"loss":' + "1" * 5000 + "}"), "too long"),
    "deep": (metadata(model="[" * 100 + "]" * 100), "nested deeper"),
    "very deep": (metadata(model="[" * 100_000), "nested deeper"),
    "a list": (metadata(model="[]"), "expected the fields layers"),
    "unknown field": (model(rate=1), "unknown field 'rate'"),
    "unknown, later": (lambda h: (model(rate=1)(h), metadata(writer="0.9.3")(h)), "cnn 0.9.3 wrote it and is needed"),
    "missing": (lambda h: h["__metadata__"].update(model="{}"), "'layers' is missing"),
    "layers": (model(layers=5), "does not describe a network"),
    "no layers": (model(layers=[]), "network that can't be"),
    "layer": (model(layers=[{"class": "Adam"}]), "has a Adam where a Layer belongs"),
    "unknown class": (model(layers=[{"class": "os.system"}]), "names 'os.system', which"),
    "class list": (model(layers=[{"class": []}]), "names .*which this version"),
    "units": (model(layers=[{**DENSE, "units": 0}]), "Dense that can't be: units"),
    "activation": (model(layers=[{**DENSE, "activation": "zelu"}]), "unknown activation 'zelu'"),
    "auto": (model(layers=[{**DENSE, "activation": "auto"}]), "network that can't be"),
    "nested": (model(layers=[{**DENSE, "activation": DENSE}]), "Dense that can't be"),
    "huge": (model(layers=[{**DENSE, "units": 2**31 - 1}]), "network that can't be|must be float32 of shape"),
    "huge too": (model(layers=[{**DENSE, "units": 10**15}]), "network that can't be"),
    "inputs": (model(n_inputs=4), r"must be float32 of shape \(4, 2\), got float32 of shape \(3, 2\)"),
    "inputs, true": (model(n_inputs=True), "of True inputs"),
    "pixels": (model(pixels="blue"), "its pixels must be bytes, beyond or null, got .blue."),
    "pixels, list": (model(pixels=[]), "its pixels must be bytes, beyond or null"),
    "input_shape": (model(input_shape=[2, 2]), "its input_shape must be integers with the product 3"),
    "dtype": (model(dtype="float64"), "must be float64"),
    "dtypes": (model(dtype=["float32"]), "in .'float32'."),
    "seed": (model(seed=-1), "network that can't be: seed"),
    "one": (model(one_dimensional=True), "one-dimensional predictions of 2"),
    "products": (model(by_blas=[1]), "by_blas must hold numbers of dense layers, got"),
    "products, true": (model(by_blas=[True]), "by_blas must hold numbers of dense layers, got"),
    "two outputs short": (model(layers=[DENSE, DENSE]), "'layers.1.weights' is missing"),
    "type": (tensor(dtype="F16"), "unknown type 'F16'"),
    "types": (tensor(dtype=["F32"]), "unknown type"),
    "shape": (tensor(shape=[3]), "must be at bytes"),
    "shape, float": (tensor(shape=[2.0]), "has the shape"),
    "shape, true": (tensor(shape=[2, True]), "has the shape"),
    "shape, negative": (tensor(shape=[-2, -1]), "has the shape"),
    "shape, long": (tensor(shape=[1] * 9), "has the shape"),
    "offsets": (tensor(data_offsets=[24, 31]), "must be at bytes"),
    "overlap": (tensor(data_offsets=[16, 24]), "must be at bytes"),
    "offsets, floats": (tensor(data_offsets=[24.0, 32.0]), "must be at bytes"),
    "entry": (tensor(extra=1), "unknown field 'extra'"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_forged_headers_are_refused(name: str, tmp_path) -> None:
    MODELS["plain"].build(3).save(tmp_path / "m.cnn")
    change, text = FORGED[name]
    header, data = parts((tmp_path / "m.cnn").read_bytes())
    change(header)
    assert re.search(text, refusal(tmp_path / "m.cnn", signed(header, data, digests=False)))


def test_a_field_that_earlier_versions_did_not_have_gets_its_default(tmp_path) -> None:
    path = tmp_path / "m.cnn"
    MODELS["plain"].build(3).save(path)
    header, data = parts(path.read_bytes())
    layers = [{name: value for name, value in DENSE.items() if name != "l1"}]
    model(layers=layers)(header)
    path.write_bytes(signed(header, data))
    assert cnn.load(path).descriptions == (cnn.Dense(2),)


def test_forged_data_are_refused(tmp_path) -> None:
    path = tmp_path / "m.cnn"
    MODELS["plain"].build(3).save(path)
    content = path.read_bytes()
    header, data = parts(content)
    assert "bytes follow the header" in refusal(path, signed(header, data + b"12345678")).replace(" 40", " bytes")
    assert "ends at byte 32 of 31" in refusal(path, signed(header, data[:-1], digests=False))
    assert "the checksum of tensor layers.0.weights" in refusal(path, content[:-30] + b"\0" + content[-29:])
    header["__metadata__"]["sha256"] = "5"
    assert "checksums are not those" in refusal(path, signed(header, data, digests=False))
    header["more"] = {"dtype": "U8", "shape": [0], "data_offsets": [32, 32]}
    assert "unknown tensor more" in refusal(path, signed(header, data))
    header["not/a name"] = header.pop("more")
    assert "is named 'not/a name'" in refusal(path, signed(header, data))
    assert "not a model of cnn" in refusal(path, safetensors.numpy.save({"a" * 99: np.zeros(300)}))
    for other in (b"", b"hello", b"\x80\x04K\x01.", b"PK\3\4" + b"\0" * 100):
        assert "not a model file" in refusal(path, other)
    assert "would have" in refusal(path, (1 << 62).to_bytes(8, "little") + b"{" * 100)


def test_what_is_not_a_file(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        cnn.load(tmp_path / "none.cnn")
    with pytest.raises(IsADirectoryError):
        cnn.load(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(cnn.ModelFormatError, match="not a regular file"):
            cnn.load(tmp_path / "pipe")
        with pytest.raises(OSError, match="not a regular file"):
            MODELS["plain"].build(3).save(tmp_path / "pipe")


# The container --------------------------------------------------------------------------------------------------------


def test_tensors_of_every_type_come_back(tmp_path) -> None:
    tensors = {dtype: (np.arange(6) % 2).astype(dtype).reshape(2, 3)
               for dtype in ("f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "bool")}  # fmt: skip
    tensors |= {"big": np.arange(3, dtype=">f4"), "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
                "none": np.zeros((0, 4)), "scalar": np.array(2.5)}  # fmt: skip
    container.write(tmp_path / "t.cnn", "test", {"a": [1, 2.5, "é", None, True]}, tensors)
    with container.read(tmp_path / "t.cnn") as contents:
        assert (contents.kind, contents.payload) == ("test", {"a": [1, 2.5, "é", None, True]})
        for name, value in tensors.items():
            found = contents.read_tensor(name, contents.specs[name].dtype, value.shape)
            np.testing.assert_array_equal(found, value)
    by_others = safetensors.numpy.load_file(tmp_path / "t.cnn")
    assert all(np.array_equal(by_others[name], value) for name, value in tensors.items())


@given(st.lists(st.text(max_size=20), max_size=20))
def test_texts_come_back(texts: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        container.write(f"{folder}/t", "test", {}, {"texts": container.pack_text(texts)})
        with container.read(f"{folder}/t") as contents:
            assert container.unpack_text(contents, "texts") == texts


@pytest.mark.parametrize("text", ["[1]", "{}", "[[]]", "[", "\x00"])
def test_texts_that_are_none_are_refused(text: str, tmp_path) -> None:
    container.write(tmp_path / "t", "test", {}, {"texts": np.frombuffer(text.encode(), np.uint8)})
    with pytest.raises(cnn.ModelFormatError, match="does not hold texts"), container.read(tmp_path / "t") as contents:
        container.unpack_text(contents, "texts")


def test_what_can_not_be_written(tmp_path) -> None:
    path = tmp_path / "t.cnn"
    for tensors, kind, text in [
        ({"a/b": np.zeros(1)}, ValueError, "name of a tensor must be letters"),
        ({"a": np.array(["x"])}, TypeError, "tensor 'a' can't be stored"),
        ({"a": np.zeros(1, complex)}, TypeError, "tensor 'a' can't be stored"),
    ]:
        with pytest.raises(kind, match=text):
            container.write(path, "test", {}, tensors)
    with pytest.raises(ValueError, match="a file holds 1,048,576"):
        container.write(path, "test", {"a": "x" * 2_000_000}, {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        container.write(path, "test", {"a": float("nan")}, {})

    class Mine(cnn.Adam):
        pass

    with pytest.raises(TypeError, match="what cnn itself describes, not a Mine"):
        describe(Mine())
    assert list(tmp_path.iterdir()) == []


def test_bools_hold_nothing_else(tmp_path) -> None:
    path = tmp_path / "t.cnn"
    container.write(path, "test", {}, {"a": np.array([True, False])})
    header, data = parts(path.read_bytes())
    path.write_bytes(signed(header, b"\1\2"))
    assert data == b"\1\0"
    with pytest.raises(cnn.ModelFormatError, match="must hold 0 and 1"), container.read(path) as contents:
        contents.read_tensor("a", bool)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
                    | st.integers(-(10**18), 10**18), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                    max_leaves=20))  # fmt: skip
def test_json_comes_back_to_the_bit(value: Any) -> None:
    assert json.dumps(strict_json.loads(strict_json.dumps(value).encode())) == json.dumps(value)


def test_json_of_many_quotes_is_read_in_linear_time() -> None:
    for text in (b'"' + b'\\"' * 400_000, b'["' * 200_000, b'{"a":1,' * 100_000):
        with pytest.raises(strict_json.Refused):
            strict_json.loads(text)


# The long runs, in short ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [
    ["fuzz_files.py", "--count", "3000"], ["kill_test.py", "save", "--kills", "20"],
    ["kill_test.py", "train", "--kills", "20"], ["concurrent_saves.py", "--processes", "4", "--saves", "20"],
    ["interrupt_test.py", "--interrupts", "800"],
], ids=" ".join)  # fmt: skip
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory, fork and SIGKILL")
def test_the_long_runs_in_short(command: list[str]) -> None:
    program = ROOT / "tools" / command[0]
    if not program.exists():
        pytest.skip("the sources are not beside the tests")
    done = subprocess.run(
        [sys.executable, "-P", str(program), *command[1:]], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
