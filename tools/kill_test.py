"""SIGKILL at random moments: no saved model is lost, and a training with checkpoints ends with the same bits.

    python tools/kill_test.py save --kills 2000
    python tools/kill_test.py train --kills 2000
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn.training import loop


def killed_after(seconds: float, work: Callable[[], None]) -> bool:
    """Runs `work` in a fork and kills it then; whether it was killed before its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit("the work itself failed")
    return os.WIFSIGNALED(status)


def memory() -> str | None:
    """A folder without a disk: what a kill does is the same there, and flushing costs nothing."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def save(kills: int, rng: random.Random) -> str:
    """A loop that saves two models of each kind in turn over one file."""
    X, y = np.random.default_rng(0).normal(size=(60, 200)).astype(np.float32), np.arange(60.0)
    models: list[Any] = []
    for seed in (0, 1):
        estimator = cnn.MLPRegressor(hidden_layer_sizes=60, random_state=seed, dtype="float32")
        model = cnn.TableModel("y", hidden=[60], members=1, epochs=1, seed=seed)
        models += [cnn.Network([cnn.Dense(60), cnn.Dense(1)], seed=seed).build(200), estimator.partial_fit(X, y)]
        models += [model.fit({"y": y, **{f"x{i}": column for i, column in enumerate(X.T[:20])}}, verbose=0)]
    whole = {weights(model): 0 for model in models}
    litter = 0

    def work() -> None:
        while True:
            for model in models:
                model.save(path)

    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        path = Path(folder, "m.cnn")
        models[0].save(path)
        for _ in range(kills):
            killed_after(rng.uniform(0, 0.02), work)
            whole[weights(cnn.load(path))] += 1  # a KeyError: neither the old nor the new one
            litter += len(os.listdir(folder)) - 1
            models[0].save(path)
            assert os.listdir(folder) == ["m.cnn"], os.listdir(folder)
    return f"{kills:,} kills: {litter:,} left a temporary file, which the next save removed; the file was always whole"


def weights(model: Any) -> bytes:
    """Of the first network of a model of any kind."""
    net = model.networks[0] if isinstance(model, cnn.TableModel) else getattr(model, "network_", model)
    return bytes(net.flat.tobytes())


def train(kills: int, rng: random.Random) -> str:
    """A fit with everything that has state, killed and resumed until it ends, again and again."""
    numbers = np.random.default_rng(0)
    X = numbers.normal(size=(600, 6))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    loop._PIECE_SECONDS = 5e-4  # so that a small fit, too, has moments between two of its pieces

    def fit(callbacks: list[cnn.Callback], resume: Path | None = None) -> tuple[bytes, bytes, dict[str, list[float]]]:
        net = cnn.Network([cnn.Dense(32, "tanh"), cnn.Dropout(0.2), cnn.Dense(2)], loss="cross_entropy", seed=3,
                          optimizer=cnn.Nadam(cnn.schedules.Cosine(0.01)))  # fmt: skip
        history = net.fit(X, y, epochs=12, batch_size=7, validation_split=0.2, verbose=0, resume=resume, callbacks=[
            *callbacks, cnn.EarlyStopping(patience=20), cnn.ReduceOnPlateau(patience=2),
        ]).to_dict()  # fmt: skip
        del history["seconds"]
        return net.flat.tobytes(), net.state.tobytes(), history

    expected = fit([])
    start = time.perf_counter()
    fit([])
    lasts = time.perf_counter() - start
    done = fits = 0
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        result = Path(folder, "result")

        def work() -> None:
            callback = cnn.Checkpoint(run, *rng.choice([(1, "epochs"), (50, "steps"), (0.0002, "seconds")]))
            result.write_bytes(pickle.dumps(fit([callback], run)))

        while done < kills:
            fits += 1
            run = Path(folder, f"run-{fits}")
            while killed_after(rng.uniform(0, 2 * lasts), work):
                done += 1
                rng.random()  # the child draws from a copy
            assert pickle.loads(result.read_bytes()) == expected, "other bits"
            left = os.listdir(run)
            assert len(left) == 3, left
            assert all(name.startswith("step-") for name in left), left
    return f"{done:,} kills in {fits:,} fits: all ended with the bits of the one that was never interrupted"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["save", "train"])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    work = {"save": save, "train": train}[arguments.what]
    print(work(arguments.kills, random.Random(arguments.seed)))


if __name__ == "__main__":
    sys.exit(main())
