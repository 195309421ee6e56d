"""The figures of docs/images.md, on the digits of examples/data: python docs/figures/images.py (some seconds)."""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np

import cnn
from cnn.augment import Shift

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    pixels = gzip.decompress((DATA / "t10k-images-idx3-ubyte.gz").read_bytes())
    X = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    y = np.frombuffer(gzip.decompress((DATA / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    net = cnn.Network(
        [cnn.Conv2D(16, 7, activation="relu", l2=0.02), cnn.MaxPool2D(2), cnn.Conv2D(16, 5, activation="relu"),
         cnn.MaxPool2D(2), cnn.Flatten(), cnn.Dense(84, "relu"), cnn.Dense(10)],
        loss="cross_entropy", optimizer=cnn.Adam(cnn.schedules.OneCycle(0.005)), seed=0,
    )  # fmt: skip
    net.fit(X[:8000], y[:8000], epochs=options.epochs, batch_size=64, augment=Shift(2), verbose=0)
    cnn.plots.network(net).savefig(options.out / "image_network.png", dpi=45)
    cnn.plots.filters(net).savefig(options.out / "filters.png", dpi=85)
    cnn.plots.saliency(net, X[9000:9008]).savefig(options.out / "saliency.png", dpi=85)
    shares = cnn.explain.expected_gradients(net, X[9000:9008], X[:100])
    cnn.plots.attributions(shares).savefig(options.out / "pixel_shares.png", dpi=85)


if __name__ == "__main__":
    main()
