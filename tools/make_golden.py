"""Writes the golden files of the present format into tests/data: once for each format, never again after a release.

    python tools/make_golden.py
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

import cnn
from cnn import container

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "data"
MODELS = {
    "plain": cnn.Network([cnn.Dense(2)], seed=0),
    "classes": cnn.Network(
        [cnn.Dense(3, cnn.Activation("elu", 0.3)), cnn.Dropout(0.2), cnn.Dense(3, use_bias=False)],
        loss=cnn.CrossEntropy(0.1), optimizer=cnn.SGD(0.1, momentum=0.9), seed=2**64 - 1,
    ),
    "double": cnn.Network(
        [cnn.Dense(2, "tanh", l1=0.1), cnn.Dense(1)], loss=cnn.Huber(0.3), dtype="float64", seed=1,
        optimizer=cnn.AdamW(cnn.schedules.WarmUp(cnn.schedules.Cosine(0.01), 5), clip_norm=1.0),
    ),
    "checkpoint": cnn.Network([cnn.Dense(2, "relu"), cnn.Dense(1)], optimizer=cnn.Nadam(0.01), seed=2),
}  # fmt: skip


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    X = np.random.default_rng(0).normal(size=(4, 3)).round(3)
    known = FOLDER / "golden.json"
    golden = json.loads(known.read_text()) if known.exists() else {}
    for name, net in MODELS.items():
        path = FOLDER / f"v{container.VERSION}-{name}.cnn"
        if name == "checkpoint":
            with tempfile.TemporaryDirectory() as folder:
                callbacks = [cnn.Checkpoint(folder), cnn.EarlyStopping("loss")]
                net.fit(X, X.sum(axis=1), epochs=2, batch_size=2, verbose=0, callbacks=callbacks)
                shutil.copy(max(Path(folder).iterdir()), path)
        else:
            net.build(3).save(path)
        described = repr([*net.descriptions, net.loss, net.dtype.name, net.seed])
        golden[path.name] = {"described": described, "X": X.tolist(), "prediction": net.predict(X).tolist()}
    known.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
