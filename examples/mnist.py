"""Handwritten digits: a network 784-128-10 on the 10,000 images of MNIST's test set, 8,000 of them to train on.

Run it: python examples/mnist.py
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path
from typing import Any

import numpy as np

import cnn

DATA = Path(__file__).resolve().parent / "data"


def read_idx(path: Path) -> np.ndarray[Any, Any]:
    """An array of bytes in MNIST's idx format: its shape stands in the header, as big-endian integers."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", count=dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=25, help="default 25")
    arguments = parser.parse_args()

    images = read_idx(DATA / "t10k-images-idx3-ubyte.gz").reshape(-1, 784) / np.float32(255)
    labels = read_idx(DATA / "t10k-labels-idx1-ubyte.gz")
    order = np.random.default_rng(0).permutation(len(labels))  # the first half of the file is easier than the second
    train, test = order[:8000], order[8000:]

    net = cnn.Network(
        [cnn.Dense(128, "relu"), cnn.Dropout(0.3), cnn.Dense(10)],
        loss="cross_entropy", optimizer=cnn.AdamW(learning_rate=cnn.schedules.OneCycle(0.005)), seed=0,
    )  # fmt: skip
    history = net.fit(images[train], labels[train], epochs=arguments.epochs, batch_size=64)
    scores = net.evaluate(images[test], labels[test], metrics=("accuracy", "f1", "roc_auc"))
    seconds = sum(history.seconds)
    print(
        f"{len(history)} epochs in {seconds:.2f} s, {len(train) * len(history) / seconds:,.0f} rows per second; "
        f"on {len(test):,} test images: accuracy {scores['accuracy']:.2%}, f1 {scores['f1']:.4f}, "
        f"roc_auc {scores['roc_auc']:.4f}"
    )

    wrong = np.flatnonzero(net.predict_classes(images[test]) != labels[test])
    confidence = net.predict(images[test[wrong]]).max(axis=1)
    print("most confident mistakes:")
    for place in wrong[np.argsort(-confidence)[:3]]:
        digit = test[place]
        p = net.predict(images[digit][None, :])[0]
        print(f"  image {digit}: a {labels[digit]}, taken for a {p.argmax()} with probability {p.max():.3f}")


if __name__ == "__main__":
    main()
