"""A network on a microcontroller
==============================

A bearing fails slowly, then all at once. A sensor on the machine hears it weeks before, if what it hears is
understood on the spot: on a chip with, say, 4 kB of flash and 3 kB of memory for the network, and no operating
system. This page chooses the best network within that budget, writes it as C, compiles it, and checks that chip and
Python say the same.

The vibrations are made by formula: a healthy machine hums, an unbalanced one hums louder once a turn, a damaged
bearing adds small knocks.

Run it: `python examples/gallery/microcontroller.py` (some seconds; C code and pictures go to the current folder)
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import cnn

CC = shutil.which("cc") or sys.exit("this page needs a C compiler called cc")
FLASH, MEMORY = 4 * 1024, 3 * 1024  # bytes
KINDS = ("healthy", "unbalanced", "bearing")


# %%
# A window is 128 samples of the converter, 8 bits each: bytes, which the network takes as they are, here and in C.
def windows(n, rng):
    """X (n, 128, 1) uint8 and classes (n,)."""
    kind = rng.integers(0, 3, n)
    t = np.arange(128) / 128
    turns, phase = rng.uniform(3, 5, (n, 1)), rng.uniform(0, 2 * np.pi, (n, 2, 1))
    hum = rng.uniform(10, 40, (n, 1)) + 35 * (kind == 1)[:, None]
    signal = hum * np.sin(2 * np.pi * turns * t + phase[:, 0]) + 12 * np.sin(4 * np.pi * turns * t + phase[:, 1])
    since = 128 * np.mod(t + rng.random((n, 1)), 1 / (2.7 * turns))  # samples since the last knock
    knock = rng.uniform(15, 50, (n, 1)) * np.exp(-since / 3) * np.cos(np.pi / 2 * since)
    signal = signal + knock * (kind == 2)[:, None] + 6 * rng.normal(size=(n, 128))
    return np.clip(128 + signal, 0, 255).astype(np.uint8)[..., None], kind


rng = np.random.default_rng(0)
X, y = windows(6000, rng)
X_test, y_test = windows(2000, rng)

# %%
# The candidates: dense networks, and convolutions, which look for a knock wherever in the window it comes
# (`GlobalMaxPool1D` keeps of each filter the place where it fits best).
def dense(units):
    return [cnn.Flatten(), cnn.Dense(units, "relu"), cnn.Dense(3)]


def convolution(filters, strides):
    window = cnn.Conv1D(filters, 8, strides=strides, activation="relu")
    return [window, cnn.GlobalMaxPool1D(), cnn.Dense(16, "relu"), cnn.Dense(3)]


layers = {f"dense {units}": dense(units) for units in (4, 12, 64)}
layers |= {f"{n} filters every {s} samples": convolution(n, s) for s in (4, 2) for n in (4, 8, 16)}
nets = [
    cnn.Network(stack, loss="cross_entropy", optimizer=cnn.AdamW(cnn.schedules.OneCycle(0.01)), seed=0)
    for stack in layers.values()
]  # fmt: skip
training = {"epochs": 30, "batch_size": 64}

# %%
# What each is worth, by cross-validation on the training windows, and what it costs: the size of its compiled code,
# weights included, and the memory that its header says. (`cc` here makes code for this machine. A chip's has about
# that length, and the weights, most of it, are the same bytes.)
scores = cnn.cross_validate(nets, X, y, cv=4, scoring="accuracy", **training)
fitting = {}
for (name, net), score in zip(zip(layers, nets, strict=True), scores, strict=True):
    source, header = cnn.export_c(net.build((128, 1)), "c", name="candidate", uint8=True)
    subprocess.run([CC, "-std=c99", "-Os", "-c", source, "-o", "c/candidate.o"], check=True)
    size = subprocess.run(["size", "c/candidate.o"], check=True, capture_output=True, text=True)
    flash = int(size.stdout.splitlines()[1].split()[0])
    memory = int(re.search(r"([\d,]+) bytes of stack", header.read_text())[1].replace(",", ""))
    accuracy = score["test_accuracy"].mean()
    if fits := flash <= FLASH and memory <= MEMORY:
        fitting[name] = accuracy
    print(f"{name:<26} {accuracy:.1%} right, {flash:>6,} B flash, {memory:>5,} B memory{'' if fits else ', too large'}")
chosen = max(fitting, key=fitting.__getitem__)
print("chosen:", chosen)

# %%
# The chosen one learns all training windows, and goes out as C99 that allocates nothing and needs no library but
# libm.
net = nets[list(layers).index(chosen)]
net.fit(X, y, verbose=0, **training)
accuracy = net.evaluate(X_test, y_test)["accuracy"]
cnn.export_c(net, "c", name="bearing")
Path("c/main.c").write_text(r"""
#include <stdio.h>
#include "bearing.h"

int main(void) /* reads windows, writes the class of each: on the chip, samples come from the converter */
{
    unsigned char x[BEARING_INPUTS];
    float p[BEARING_OUTPUTS];

    while (fread(x, 1, sizeof x, stdin) == sizeof x) {
        bearing_predict(x, p);
        putchar(p[0] >= p[1] && p[0] >= p[2] ? '0' : p[1] >= p[2] ? '1' : '2');
    }
    return 0;
}
""")
warnings = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
subprocess.run([CC, "-std=c99", "-Os", *warnings, "main.c", "bearing.c", "-o", "bearing", "-lm"], cwd="c", check=True)
answer = subprocess.run(["c/bearing"], input=X_test.tobytes(), capture_output=True, check=True).stdout
in_c = np.frombuffer(answer, np.uint8) - ord("0")
different = np.sum(in_c != net.predict_classes(X_test))
print(f"{accuracy:.1%} of {len(X_test):,} new windows are right; C and Python differ in {different}")
assert different == 0

# %%
# Is a network worth it? What vibration monitors mostly look at is how strong and how spiky a window is: its
# deviation and its kurtosis. On these two numbers a logistic regression, a network without a hidden layer, does
# what can be done.
def strength(X):
    x = (X[..., 0] - 128.0) / X[..., 0].std(axis=1, keepdims=True)
    return np.column_stack([X[..., 0].std(axis=1) / 30, (x**4).mean(axis=1) / 3])


usual = cnn.Network([cnn.Dense(3)], loss="cross_entropy", optimizer=cnn.Adam(0.02), seed=0)
usual.fit(strength(X), y, epochs=60, batch_size=64, verbose=0)
plain = usual.evaluate(strength(X_test), y_test)["accuracy"]
print(f"deviation and kurtosis: {plain:.1%} right, {(1 - plain) / (1 - accuracy):.1f} times the network's errors")
assert accuracy > plain + 0.05

figure = Figure(figsize=(9, 3.6), layout="constrained")
for row, axes in enumerate(figure.subplots(1, 3, sharey=True)):
    axes.plot(X_test[y_test == row][:3, :, 0].T + np.array([0, 130, 260]), color="#4477aa", lw=1)
    seen = y_test == row
    axes.set(title=f"{KINDS[row]}: {np.mean(in_c[seen] == row):.1%} recognised", xlabel="sample", yticks=[])
figure.savefig("microcontroller.png")
