"""Handwritten digits by a convolutional network, LeNet-5: 8,000 of MNIST's 10,000 test images to train on.

Run it: python examples/images.py [--pictures]
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn.augment import Shift

DATA = Path(__file__).resolve().parent / "data"


def read_idx(path: Path) -> np.ndarray[Any, Any]:
    """An array of bytes in MNIST's idx format: its shape stands in the header, as big-endian integers."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", count=dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15, help="default 15")
    parser.add_argument("--pictures", action="store_true", help="draw kernels and saliency (extra plot)")
    arguments = parser.parse_args()

    images = read_idx(DATA / "t10k-images-idx3-ubyte.gz")[..., None]  # (10,000, 28, 28, 1), bytes as they are
    labels = read_idx(DATA / "t10k-labels-idx1-ubyte.gz")
    order = np.random.default_rng(0).permutation(len(labels))  # the first half of the file is easier than the second
    train, test = order[:8000], order[8000:]

    net = cnn.Network(
        [
            cnn.Conv2D(6, 5, activation="relu"), cnn.MaxPool2D(2), cnn.Conv2D(16, 5, activation="relu"),
            cnn.MaxPool2D(2), cnn.Flatten(), cnn.Dense(120, "relu"), cnn.Dense(84, "relu"), cnn.Dense(10),
        ],
        loss="cross_entropy", optimizer=cnn.Adam(cnn.schedules.OneCycle(0.005)), seed=0,
    )  # fmt: skip
    history = net.fit(images[train], labels[train], epochs=arguments.epochs, batch_size=64, augment=Shift(2))
    net.summary()
    accuracy = net.evaluate(images[test], labels[test], metrics=("accuracy",))["accuracy"]
    seconds = sum(history.seconds)
    print(
        f"{len(history)} epochs in {seconds:.2f} s, {len(train) * len(history) / seconds:,.0f} images per second; "
        f"on {len(test):,} test images: accuracy {accuracy:.2%}"
    )

    net.save("digits.cnn")
    cnn.export_c(net, ".")
    print("digits.cnn for Python, model.c and model.h for any C compiler")
    if arguments.pictures:
        cnn.plots.filters(net).savefig("filters.png")
        cnn.plots.saliency(net, images[test[:8]]).savefig("saliency.png")


if __name__ == "__main__":
    main()
