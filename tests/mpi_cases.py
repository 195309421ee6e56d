"""What tests/test_mpi.py runs on several ranks: `mpiexec -n 2 python mpi_cases.py CASE FOLDER` leaves a pickle of each.

A case is a function of the communicator (None: one process alone, for comparison) and the folder.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import unittest.mock
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import cnn
from cnn.streams import source
from cnn.streams.parquet import Parquet
from cnn.training import loop

rng = np.random.default_rng(0)
X = rng.normal(size=(1000, 8))
Y = X[:, 0] * X[:, 1]
LABELS = (Y > 0.3).astype(int) + (Y > -0.3)
WEIGHTS = rng.random(1000)
SPARSE = sparse.csr_array(np.where(rng.random((1000, 200)) < 0.05, rng.normal(size=(1000, 200)), 0))


PIXELS = rng.integers(0, 256, (1000, 4, 4, 1), dtype=np.uint8)
CHANGES = [cnn.augment.Shift(1), cnn.augment.Flip(), cnn.augment.Noise(0.1)]


def network(units: int = 1, width: int = 32, *, flatten: bool = False, **options: Any) -> cnn.Network:
    first = [*([cnn.Flatten()] if flatten else []), cnn.Dense(width, "tanh", l2=1e-3), cnn.Dropout(0.2), cnn.Scale()]
    layers = [*first, cnn.Dense(width, "relu"), cnn.Dense(units)]
    return cnn.Network(layers, **{"optimizer": cnn.Adam(0.01, clip_norm=1.0), "seed": 3} | options)


def numbers(net: cnn.Network, history: Any) -> dict[str, Any]:
    """All that a fit leaves but times."""
    kept = {name: history[name] for name in history.names if name != "seconds"}
    return {"weights": net.flat.copy(), "state": net.state.copy(), "step": net.step, "history": kept}


def part(comm: Any, n: int = 1000) -> slice:
    return slice(n * comm.rank // comm.size, n * (comm.rank + 1) // comm.size)


# Cases: the same rows on all ranks ------------------------------------------------------------------------------------

WIDE: dict[str, Any] = {"width": 300, "dtype": "float64", "optimizer": cnn.SGD(0.01)}
SAME: dict[str, tuple[dict[str, Any], tuple[Any, ...], dict[str, Any]]] = {
    "plain": ({}, (X, Y), {}),
    "weights": ({}, (X, Y), {"sample_weight": WEIGHTS, "validation_split": 0.1}),
    "float64": ({"dtype": "float64", "optimizer": cnn.SGD(0.05, momentum=0.9)}, (X, Y), {"metrics": "r2"}),
    "classes": ({"units": 3, "loss": "cross_entropy"}, (X, LABELS),
                {"class_weight": "balanced", "validation_data": (X[:333], LABELS[:333])}),
    "as they stand": ({}, (X, Y), {"shuffle": False, "sample_weight": WEIGHTS, "metrics": ()}),
    "all at once": ({}, (X, Y), {"batch_size": None}),
    "sparse": ({}, (SPARSE, Y), {}),
    "images": ({"units": 3, "loss": "cross_entropy", "flatten": True}, (PIXELS, LABELS),
               {"augment": CHANGES, "validation_split": 0.1}),
    # From here on only nearly the bits of one process: wide layers have one sum each, and there may be too few chunks.
    "wide, sparse": (WIDE, (SPARSE, Y), {"batch_size": 200}),
    "wide": (WIDE, (X, Y), {"batch_size": 200}),
    "wide, few rows": (WIDE, (X[:101], Y[:101]), {"batch_size": 17}),
    "few chunks": (WIDE | {"width": 8}, (X, Y), {"batch_size": 40}),
}  # fmt: skip


def same(comm: Any, folder: Path) -> dict[str, Any]:
    found = {}
    for name, (of_network, rows, of_fit) in SAME.items():
        net = network(**of_network)
        options = {"epochs": 3, "batch_size": 256, "verbose": 0, "same_rows": True} | of_fit
        history = net.fit(*rows, **options, comm=comm)
        found[name] = numbers(net, history)
    return found


# Cases: each rank has rows of its own ---------------------------------------------------------------------------------


# The rows of each of two ranks, and the weights: those of 3 minibatches of 256 and one of 232, and not.
OWN = {"even": ((496, 504), None), "weights": ((496, 504), WEIGHTS), "uneven": ((700, 300), None)}


def own(comm: Any, folder: Path) -> dict[str, Any]:
    found = {}
    for name, (counts, weights) in OWN.items():
        net = network(seed=None)  # the seed and the weights are rank 0's
        rows = slice(sum(counts[: comm.rank]), sum(counts[: comm.rank + 1]))
        history = net.fit(
            X[rows], Y[rows], epochs=3, batch_size=256, verbose=0, comm=comm, n_threads=comm.rank + 1,
            sample_weight=None if weights is None else weights[rows], validation_data=(X[rows][:50], Y[rows][:50]),
        )  # fmt: skip
        found[name] = numbers(net, history) | {"seed": net.seed}
    return found


def alone_for_a_while(comm: Any, folder: Path) -> dict[str, Any]:
    """Steps of each rank alone, then the mean; the network, and what each epoch's loss is by the definition."""
    found = {}
    for name, weights in {"plain": None, "weights": WEIGHTS}.items():
        net = network(dtype="float64", optimizer=cnn.Adam(0.01))
        history = net.fit(X, Y, epochs=2, batch_size=300, verbose=0, comm=comm, same_rows=True, exchange_every=3,
                          sample_weight=weights)  # fmt: skip
        found[name] = numbers(net, history)
    return found


def normalised() -> cnn.Network:
    layers = [cnn.Dense(16), cnn.BatchNorm(activation="relu"), cnn.BatchNorm(), cnn.Dense(1)]
    return cnn.Network(layers, optimizer=cnn.SGD(0.05), dtype="float64", seed=3)


def batch_norm(comm: Any, folder: Path) -> dict[str, Any]:
    found = {}
    for name, n, options in (("plain", 1000, {"batch_size": 300}), ("few rows", 66, {"batch_size": 33}),
                             ("alone", 66, {"batch_size": 33, "exchange_every": 3})):  # fmt: skip
        net = normalised()
        history = net.fit(X[:n], Y[:n], epochs=3, verbose=0, comm=comm, same_rows=True, **options)
        found[name] = numbers(net, history)
    return found


# Cases: rows that are read meanwhile ----------------------------------------------------------------------------------


def batches(comm: Any, lengths: list[int] | None = None, weights: bool = False) -> list[Any]:
    """This rank's half of the rows, in batches of other lengths than the minibatches have."""
    begin, found = 496 * (0 if comm is None else comm.rank), []
    for n in lengths or [50, 146, 1, 199, 100]:
        rows = slice(begin, begin + n)
        found.append((X[rows], Y[rows], *([WEIGHTS[rows]] if weights else [])))
        begin += n
    return found


def parquet_file(folder: Path) -> Path:
    """1,000 rows in groups of 90."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = {f"x{i}": X[:, i] for i in range(8)} | {"y": Y, "w": WEIGHTS}
    parquet.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=90)
    return folder / "rows.parquet"


def streams(comm: Any, folder: Path) -> dict[str, Any]:
    found = {}
    path, read = folder / "rows.parquet", list[tuple[int, int]]()
    own = Parquet._rows

    def seen(self: Any, batch: Any, place: str) -> Any:
        read.append((int(place.split()[-2].replace(",", "")), batch.num_rows))
        return own(self, batch, place)

    more = {"epochs": 2, "batch_size": 256, "verbose": 0, "comm": comm}
    calls: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "batches": (batches(comm), None, {}),
        "weights": (batches(comm, weights=True), None, {"metrics": "r2"}),
        "each batch a step": (batches(comm), None, {"batch_size": None}),
        "generator": (iter(batches(comm)), None, {"epochs": 1}),
        "held out": (batches(comm), None, {"validation_data": (X[part(comm)], Y[part(comm)])}),
        "alone": (batches(comm, weights=True), None, {"exchange_every": 3}),
        "arrays": (X, Y, {"stream": True, "same_rows": True, "shuffle": False, "validation_split": 0.1}),
        "parquet": (path, "y", {"shuffle": False, "validation_split": 0.1, "sample_weight": "w"}),
        "mixed": (path, "y", {"validation_data": path, "batch_size": 100}),
    }
    for name, (rows, target, options) in calls.items():
        net = network(dtype="float64")
        read.clear()
        with unittest.mock.patch.object(Parquet, "_rows", seen), unittest.mock.patch.object(source, "_PIECE", 1 << 13):
            history = net.fit(rows, target, **more | options)
        found[name] = numbers(net, history) | {"read": list(read)}
    return found


def table(comm: Any, folder: Path) -> dict[str, Any]:
    model = cnn.TableModel("y", epochs=2, hidden=(16,), members=1, seed=0, batch_size=64)
    model.fit(folder / "rows.parquet", stream=True, comm=comm, verbose=0)
    return {"weights": model.networks[0].flat.copy(), "step": model.networks[0].step, "scores": model.scores}


def broken_streams(comm: Any, folder: Path) -> dict[str, Any]:
    """The error of each rank, by what its stream does."""
    mine, path = comm.rank == 1, folder / "rows.parquet"

    def raises() -> Any:
        yield from batches(comm)[:2]
        if mine:
            raise OSError("the line is dead")
        yield from batches(comm)[2:]

    lengths = [100, 100] if mine else [100, 100, 100]
    calls: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "raises": (raises(), None, {"epochs": 1}),
        "ends early": ((batch for batch in batches(comm, lengths)), None, {"epochs": 1}),
        "fewer rows": (batches(comm, lengths), None, {}),
        "fewer batches": ((batch for batch in batches(comm, lengths)), None, {"epochs": 1, "batch_size": None}),
        "too small": (batches(comm), None, {"batch_size": 8}),
        "same rows": (batches(comm), None, {"same_rows": True}),
        "balanced": (batches(comm), None, {"class_weight": "balanced"}),
        "kind": ((path, "y", {}) if mine else (X, Y, {"stream": True})),
        "width": ([(X[:, mine:], Y)], None, {}),
        "other files": (path, "y", {"same_rows": True, "sample_weight": "w", "validation_split": 0.5 if mine else 0.1}),
    }
    found: dict[str, Any] = {}
    for name, (rows, target, options) in calls.items():
        try:
            network().fit(rows, target, **{"epochs": 2, "batch_size": 64, "verbose": 0, "comm": comm} | options)
        except BaseException as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def stream_checkpoint(comm: Any, folder: Path) -> dict[str, Any]:
    """Four epochs at once, and two and two; then with another `exchange_every`."""
    path, found = folder / "rows.parquet", {}
    more = {"batch_size": 64, "verbose": 0, "comm": comm, "initial_epoch": 0}
    for epochs in (2, 4):
        net = network()
        kept = {"callbacks": [cnn.Checkpoint(folder / "kept")], "resume": folder / "kept"}
        net.fit(path, "y", epochs=epochs, **more, **kept)
    whole = network()
    whole.fit(path, "y", epochs=4, **more)
    found["same"] = bool((net.flat == whole.flat).all())
    try:
        network().fit(path, "y", epochs=6, exchange_every=2, **more, **kept)
    except ValueError as error:
        found["error"] = str(error)
    return found


# Cases: what goes wrong -----------------------------------------------------------------------------------------------


def broken(comm: Any, folder: Path) -> dict[str, Any]:
    """The error of each rank, by what is done on rank 1 alone."""
    mine = comm.rank == 1

    def fail(net: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        if mine and epoch == 1:
            raise OSError("no space left")

    def interrupt(net: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        if mine and epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    def slower(net: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        net.rate_factor = 0.5 if mine else 1.0

    def other_weights(net: cnn.Network, epoch: int, logs: dict[str, float]) -> None:
        net.flat[0] += mine

    n = 0 if mine else 500
    cases: dict[str, tuple[dict[str, Any], tuple[Any, Any], dict[str, Any]]] = {
        "layers": ({"width": 33 if mine else 32}, (X, Y), {}),
        "optimizer": ({"optimizer": "sgd" if mine else "adam"}, (X, Y), {}),
        "seed": ({"seed": int(mine)}, (X, Y), {}),
        "epochs": ({}, (X, Y), {"epochs": 3 + mine}),
        "batch_size": ({}, (X, Y), {"batch_size": 100 + mine}),
        "dtype": ({"dtype": "float64" if mine else "float32"}, (X, Y), {}),
        "sample_weight": ({}, (X, Y), {"sample_weight": WEIGHTS if mine else None}),
        "columns": ({}, (X[:, mine:], Y), {}),
        "dimensions": ({}, (X, Y[:, None] if mine else Y), {}),
        "validation weights": ({}, (X, Y), {"validation_data": (X, Y, WEIGHTS) if mine else (X, Y)}),
        "same_rows": ({}, (X, Y), {"same_rows": "yes"}),
        "not the same": ({}, (X + mine, Y), {"same_rows": True}),
        "no rows": ({}, (X[:n], Y[:n]), {}),
        "nan": ({}, (np.where(mine, np.nan, X), Y), {}),
        "callback": ({}, (X, Y), {"callbacks": [fail]}),
        "interrupt": ({}, (X, Y), {"callbacks": [interrupt]}),
        "rate": ({}, (X, Y), {"callbacks": [slower]}),
        "weights": ({}, (X, Y), {"callbacks": [other_weights]}),
        "diverges": ({"optimizer": cnn.SGD(1e30)}, (X, Y), {}),
    }
    found = {}
    for name, (of_network, rows, of_fit) in cases.items():
        try:
            network(**of_network).fit(*rows, **{"epochs": 3, "verbose": 0} | of_fit, comm=comm)
        except BaseException as error:
            found[name] = f"{type(error).__name__}: {error}"
    try:
        network().fit(X, Y, comm=3)
    except TypeError as error:
        found["no communicator"] = f"TypeError: {error}"
    net = network()
    net.fit(X, Y, epochs=1, verbose=0, comm=comm)  # the communicator is as good as before
    return found | {"after": net.flat.copy()}


# Cases: callbacks and checkpoints -------------------------------------------------------------------------------------


class Stop(cnn.Callback):
    """Rank 1 ends the fit after its second epoch, or kills itself in the middle of the third."""

    def __init__(self, comm: Any, kill: bool) -> None:
        self.mine, self.kill, self.epochs = comm is not None and comm.rank == 1, kill, 0

    def on_epoch_end(self, network: Any, epoch: int, logs: Any) -> None:
        self.epochs += 1
        network.stop_training |= self.mine and not self.kill and self.epochs == 2

    def on_progress(self, network: Any, epoch: int, rows: int) -> None:
        if self.mine and self.kill and network.step == 11:
            os.kill(os.getpid(), signal.SIGKILL)


class Steps(cnn.Callback):
    """Notes the steps, and their losses and weights; on rank 0 alone."""

    writes = True

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_train_batch_end(self, network: Any, batch: int, logs: Any) -> None:
        self.seen.append((network.step, batch, logs["loss"], network.flat.tobytes()))


def steps(comm: Any, folder: Path) -> dict[str, Any]:
    found = {}
    for every in (1, 2):
        for hooks in ([], [Steps()]):
            net = network()
            how = {"epochs": 3, "comm": comm, "callbacks": hooks, "verbose": 0, "exchange_every": every}
            net.fit(X[part(comm)], Y[part(comm)], **how)
            found[every, bool(hooks)] = net.flat.tobytes(), [seen for hook in hooks for seen in hook.seen]
    return found


def callbacks(comm: Any, folder: Path) -> dict[str, Any]:
    net = network()
    watch = cnn.EarlyStopping("val_loss", patience=1)
    first = net.fit(
        X[part(comm)], Y[part(comm)], epochs=30, validation_split=0.2, comm=comm, verbose=2,
        callbacks=[watch, cnn.CSVLogger(folder / "log.csv"), cnn.SaveModel(folder / "model.cnn")],
    )  # fmt: skip
    second = net.fit(X[part(comm)], Y[part(comm)], epochs=5, comm=comm, callbacks=[Stop(comm, False)], verbose=0)
    chooses = cnn.Network([cnn.Dense(4, "auto"), cnn.Dense(1)])
    chooses.fit(X[part(comm)], Y[part(comm)], epochs=1, comm=comm, verbose=0)
    return {"first": numbers(net, first), "second": len(second), "best": watch.best_epoch, "auto": chooses.descriptions,
            "seconds": first.seconds}  # fmt: skip


def checkpointed(comm: Any, folder: Path, kill: bool) -> dict[str, Any]:
    """A fit whose calls into the core are one step each, with a checkpoint of every second."""
    keep = cnn.Checkpoint(folder / "run", every=2, unit="steps")
    net = network()
    with unittest.mock.patch.object(loop, "_PIECE_SECONDS", 1e-9):
        history = net.fit(
            X, Y, epochs=5, batch_size=256, validation_split=0.1, verbose=0, comm=comm, same_rows=True,
            callbacks=[keep, *([Stop(comm, True)] if kill else [])], resume=folder / "run",
        )  # fmt: skip
    return numbers(net, history)


def killed(comm: Any, folder: Path) -> dict[str, Any]:
    return checkpointed(comm, folder, True)


def resumed(comm: Any, folder: Path) -> dict[str, Any]:
    return checkpointed(comm, folder, False)


def own_checkpoint(comm: Any, folder: Path) -> dict[str, Any]:
    """Rows of one's own: gone on from by any number of ranks."""
    net = network()
    keep = cnn.Checkpoint(folder / "own")
    rows = part(comm)
    history = net.fit(X[rows], Y[rows], initial_epoch=0, epochs=2 + comm.size, verbose=0, comm=comm, callbacks=[keep],
                      resume=folder / "own")  # fmt: skip
    return numbers(net, history)


if __name__ == "__main__":
    from mpi4py import MPI

    case, folder = sys.argv[1], Path(sys.argv[2])
    found = globals()[case](MPI.COMM_WORLD, folder)
    (folder / f"{case}-{MPI.COMM_WORLD.rank}.pickle").write_bytes(pickle.dumps(found))
