"""Writes the golden files of the present format into tests/data, those that are not there: they never change.

    python tools/make_golden.py

Each of tests/models.py, and a checkpoint; golden.json has what they predict, and all of them in words.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn.files import container

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))
import models  # noqa: E402

FOLDER = TESTS / "data"


def checkpoint(path: Path) -> cnn.Network:
    """Two epochs of a fit, and the network as it was after them."""
    net = cnn.Network([cnn.Dense(2, "relu"), cnn.Dense(1)], optimizer=cnn.Nadam(0.01), seed=2)
    X = models.X[:4]
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [cnn.Checkpoint(folder), cnn.EarlyStopping("loss")]
        net.fit(X, X.sum(axis=1), epochs=2, batch_size=2, verbose=0, callbacks=callbacks)
        shutil.copy(max(Path(folder).iterdir()), path)
    return net


def plain(rows: Any) -> Any:
    return rows.tolist() if isinstance(rows, np.ndarray) else rows


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    known = FOLDER / "golden.json"
    golden = json.loads(known.read_text()) if known.exists() else {}
    for name, model in {**models.several(), "checkpoint": None}.items():
        path = FOLDER / f"v{container.VERSION}-{name}.cnn"
        if path.exists():
            continue
        if model is None:
            model = checkpoint(path)
        else:
            model.save(path)
        rows = models.rows_of(model)
        found = models.predictions(model, rows).tolist()
        golden[path.name] = {"described": models.described(model), "X": plain(rows), "prediction": found}
    known.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
