"""Files of every kind: whole or refused, read alone, the same for ever."""

from __future__ import annotations

import json
from pathlib import Path

import models
import numpy as np
import pytest
from helpers import run
from models import refusal

import cnn

pytest.importorskip("sklearn", minversion="1.9")
pytest.importorskip("pandas")
GOLDEN = sorted((Path(__file__).parent / "data").glob("*.cnn"))


@pytest.fixture(scope="module", params=models.KINDS)
def content(request, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("models") / "m.cnn"
    models.one(request.param).save(path)
    return path.read_bytes()


def test_every_flipped_bit_and_every_truncation_is_refused(content: bytes, tmp_path) -> None:
    path = tmp_path / "m.cnn"
    path.write_bytes(content)
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(content):
            for bit in range(8):
                file.seek(at)
                file.write(bytes([byte ^ 1 << bit]))
                with pytest.raises(cnn.ModelFormatError):
                    cnn.load(path)
            file.seek(at)
            file.write(bytes([byte]))
        cnn.load(path)
        for size in range(len(content) - 1, -1, -1):
            file.truncate(size)
            with pytest.raises(cnn.ModelFormatError):
                cnn.load(path)
    refusal(path, content + b"\0")


def test_the_same_model_is_the_same_file(content: bytes, tmp_path) -> None:
    path = tmp_path / "m.cnn"
    path.write_bytes(content)
    cnn.load(path).save(path)
    assert path.read_bytes() == content


LOADS = """
    import sys, cnn
    {before}
    events = []
    sys.addaudithook(lambda name, arguments: events.append((name, arguments)))
    known = set(sys.modules)
    model = cnn.load({path!r})
    seen, new = list(events), set(sys.modules) - known
"""


@pytest.mark.parametrize("kind", models.KINDS)
def test_loading_opens_the_file_alone_and_imports_nothing(kind: str, tmp_path) -> None:
    """By an audit hook, in a fresh process, at the very first load; an estimator's class must be there."""
    path = tmp_path / "m.cnn"
    models.one(kind).save(path)
    classes = dict.fromkeys(("estimator", "ensemble"), "from cnn.sklearn import load, load_ensemble")
    before = (classes | {"images": "from cnn.images import load"}).get(kind, "")
    assert run(LOADS.format(before=before, path=str(path)) + f"""
    assert not new, new
    opened = [arguments[0] for name, arguments in seen if name == "open"]
    assert opened == [{str(path)!r}], opened
    print(sorted({{name for name, _ in seen}} - {{"open", "object.__getattr__", "builtins.id", "sys._getframe"}}))
    """) == "[]"


def test_an_estimator_brings_its_class_and_nothing_more(tmp_path) -> None:
    """Without scikit-learn in memory, the modules after loading are those after importing the classes."""
    path = tmp_path / "m.cnn"
    models.one("estimator").save(path)
    loaded = run(LOADS.format(before="", path=str(path)) + "    print(sorted(sys.modules))")
    assert "sklearn" in loaded
    assert loaded == run("""
        import sys
        from cnn.sklearn import load, load_ensemble
        print(sorted(sys.modules))
    """)


def test_an_estimator_without_scikit_learn_says_what_to_install(tmp_path) -> None:
    path = tmp_path / "m.cnn"
    models.one("estimator").save(path)
    said = run(f"""
        import sys
        sys.modules["sklearn"] = None
        import cnn
        try:
            cnn.load({str(path)!r})
        except ImportError as error:
            print(error)
    """)
    hint = "needs scikit-learn 1.4 or newer (extra 'sklearn'): pip install -U scikit-learn"
    assert said == f"{path}: holds an estimator, which {hint}"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_golden_files_stay_loadable(path: Path) -> None:
    """Files of every released format: their predictions, to the last digits, are in golden.json."""
    expected = json.loads((path.parent / "golden.json").read_text())[path.name]
    model = cnn.load(path)
    single = models.networks(model)[0].dtype == np.float32
    found = models.predictions(model, expected["X"])
    np.testing.assert_allclose(found, expected["prediction"], rtol=1e-5 if single else 1e-13)
    assert models.described(model) == expected["described"]


def test_there_are_golden_files() -> None:
    names = {f"v1-{name}.cnn" for name in (*models.several(), "checkpoint")}
    assert {path.name for path in GOLDEN} >= names


@pytest.mark.parametrize("name", models.several())
def test_loaded_models_are_the_same(name: str, tmp_path) -> None:
    model = models.several()[name]
    model.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn")
    assert type(again) is type(model)
    assert models.described(again) == models.described(model)
    rows = models.rows_of(model)
    assert models.predictions(again, rows).tobytes() == models.predictions(model, rows).tobytes()
