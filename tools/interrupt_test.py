"""Ctrl-C at random moments of short fits: whatever was fitted can be fitted again, and nothing else is changed.

    python tools/interrupt_test.py --interrupts 25000

Most fits are of a network; every twentieth is an estimator's, every hundredth a table model's. Not for Windows.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import warnings
from functools import partial
from typing import Any

import numpy as np

import cnn
from cnn._common import threads

# A signal every 0.2 to 4 ms, as long as the process that it is sent to lives.
SENDER = """
import os, random, signal, time
while os.getppid() == {pid}:
    time.sleep(random.uniform(2e-4, {longest}))
    os.kill({pid}, signal.SIGUSR1)
"""


class Interrupts:
    """Raises KeyboardInterrupt once for each time that it is armed, wherever the main thread is then."""

    def __init__(self, longest: float) -> None:
        self.armed, self.seen = False, 0
        signal.signal(signal.SIGUSR1, self.handle)
        program = SENDER.format(pid=os.getpid(), longest=longest)
        self.sender = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)

    def handle(self, *_: object) -> None:
        if self.armed:
            self.armed = False
            self.seen += 1
            raise KeyboardInterrupt

    def end(self) -> None:
        self.armed = False
        self.sender.kill()
        self.sender.wait()


def interrupted(interrupts: Interrupts, fit: Any) -> str:
    """Runs the fit while armed; the words of an error that a Ctrl-C before has left, or none."""
    try:
        interrupts.armed = True
        fit()
        interrupts.armed = False
    except KeyboardInterrupt:
        pass
    except Exception as error:
        interrupts.armed = False
        return f"{type(error).__name__}: {error}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interrupts", type=int, default=25_000)
    how = parser.parse_args()
    warnings.simplefilter("ignore")
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    y = X[:, 0].copy()
    table = {"a": X[:, 0], "b": X[:, 1], "y": y}
    net = cnn.Network([cnn.Dense(3), cnn.Dense(1)], seed=0).build(3)
    estimator = cnn.MLPRegressor(hidden_layer_sizes=(3,), max_iter=3, warm_start=True, random_state=0)
    model = cnn.TableModel("y", hidden=(3,), epochs=2, members=2, seed=0)
    interrupts, fits, wrong, before = Interrupts(4e-3), 0, [], np.geterr()
    try:
        while interrupts.seen < how.interrupts:
            fits += 1
            if fits % 100 == 0:
                said = interrupted(interrupts, lambda: model.fit(table, verbose=0))
            elif fits % 20 == 0:
                said = interrupted(interrupts, lambda: estimator.fit(X, y))
            else:
                said = interrupted(interrupts, partial(net.fit, X, y, epochs=1, verbose=0))
            if said:
                wrong.append(said)
            if threads.fits():
                wrong.append(f"{threads.fits()} fits are counted that have ended")
            if np.geterr() != before:
                wrong.append(f"what NumPy is to say of numbers that overflow was left changed: {np.geterr()}")
                np.seterr(**before)
            if model.networks and len(model.networks) != len(model.histories):
                wrong.append("the table model is half another one")
            if len(net.history) > 300:
                net = cnn.Network(net.descriptions, seed=0).build(3)
    finally:
        interrupts.end()
    last = {"network": partial(net.fit, X, y, verbose=0), "estimator": partial(estimator.fit, X, y),
            "table model": partial(model.fit, table, verbose=0)}  # fmt: skip
    for what, fit in last.items():
        try:
            fit()
        except Exception as error:
            wrong.append(f"the {what} can't be fitted any more: {error}")
    print(f"{interrupts.seen} interrupts of {fits} fits: {len(wrong)} errors", *sorted(set(wrong))[:5], sep="\n")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
