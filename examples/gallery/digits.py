"""Handwritten digits
==================

Ten thousand scanned digits of MNIST, 28 × 28 pixels of grey. A linear model weighs each pixel for itself, a dense
network combines all of them, and a convolutional one, LeNet-5, looks for the same small strokes everywhere. All
three learn 8,000 images; the other 2,000 say what the eye for strokes is worth, and the picture shows where it
still errs.

Run it: `python examples/gallery/digits.py` (some ten seconds; pictures go to the current folder)
"""

import gzip
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import cnn
from cnn.augment import Shift

DATA = Path(__file__).resolve().parents[1] / "data"


# %%
# The files are MNIST's own: a header of 16 and 8 bytes, then the pixels and the labels, a byte each. One image in five
# is put aside.
pixels = gzip.decompress((DATA / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
images = np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28, 1)
labels = np.frombuffer(gzip.decompress((DATA / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
order = np.random.default_rng(0).permutation(len(labels))  # the first half of the file is easier than the second
train, test = order[:8000], order[8000:]

# %%
# The three models. Without a hidden layer a network is logistic regression. Dense ones take a row of 784 numbers
# between 0 and 1; the convolutional one takes the bytes as they are. `Shift(2)` moves each image by up to two
# pixels, anew in each epoch: a seven is a seven wherever it stands.
flat = images.reshape(-1, 784) / np.float32(255)

linear = cnn.Network([cnn.Dense(10)], loss="cross_entropy", optimizer=cnn.AdamW(cnn.schedules.OneCycle(0.005)), seed=0)
linear.fit(flat[train], labels[train], epochs=25, batch_size=64, verbose=0)

dense = cnn.Network(
    [cnn.Dense(128, "relu"), cnn.Dropout(0.3), cnn.Dense(10)],
    loss="cross_entropy", optimizer=cnn.AdamW(cnn.schedules.OneCycle(0.005)), seed=0,
)  # fmt: skip
dense.fit(flat[train], labels[train], epochs=25, batch_size=64, verbose=0)

lenet = cnn.Network(
    [
        cnn.Conv2D(6, 5, activation="relu"), cnn.MaxPool2D(2), cnn.Conv2D(16, 5, activation="relu"), cnn.MaxPool2D(2),
        cnn.Flatten(), cnn.Dense(120, "relu"), cnn.Dense(84, "relu"), cnn.Dense(10),
    ],
    loss="cross_entropy", optimizer=cnn.Adam(cnn.schedules.OneCycle(0.005)), seed=0,
)  # fmt: skip
history = lenet.fit(images[train], labels[train], epochs=15, batch_size=64, augment=Shift(2), verbose=0)
lenet.summary()

# %%
# How many of the 2,000 are read right? And how many of a hundred letters with a postcode of five digits would
# arrive?
right = {
    "linear 784-10": linear.evaluate(flat[test], labels[test])["accuracy"],
    "dense 784-128-10": dense.evaluate(flat[test], labels[test])["accuracy"],
    "LeNet-5": lenet.evaluate(images[test], labels[test])["accuracy"],
}
for name, accuracy in right.items():
    print(f"{name:<16} accuracy {accuracy:.2%}, {accuracy**5:.0%} of the letters arrive")
print(f"LeNet-5 saw {len(train) * len(history) / sum(history.seconds):,.0f} images a second")
assert right["LeNet-5"] > 0.985
assert right["LeNet-5"] > right["dense 784-128-10"] > right["linear 784-10"]

# %%
# What does the network say where it errs? If doubtful images go to a person, few errors are left: a class is worth
# more with its probability.
p = lenet.predict(images[test])
said, sure = p.argmax(axis=1), p.max(axis=1)
wrong = said != labels[test]
doubtful = sure < np.quantile(sure, 0.03)
print(f"{wrong.sum()} errors, {(wrong & doubtful).sum()} of them among the {doubtful.sum()} images it is least sure of")
assert (wrong & doubtful).sum() > 0.5 * wrong.sum()

figure = Figure(figsize=(9, 4), layout="constrained")
for axes, i in zip(figure.subplots(2, 6).flat, np.flatnonzero(wrong)[np.argsort(-sure[wrong])], strict=False):
    axes.imshow(images[test[i], ..., 0], cmap="gray_r")
    axes.set(title=f"a {labels[test[i]]}, read as {said[i]}\n({sure[i]:.0%} sure)", xticks=[], yticks=[])
figure.savefig("digits.png")

# %%
# The network in one file: for Python, and with `cnn.export_c` for any C compiler, which takes the bytes of a
# camera.
lenet.save("digits.cnn")
source, header = cnn.export_c(lenet, ".", name="digits")
assert np.array_equal(cnn.load("digits.cnn").predict(images[test]), p)
print(f"digits.cnn: {Path('digits.cnn').stat().st_size / 1000:.0f} kB; {source.name} and {header.name} for C")
