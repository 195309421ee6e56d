"""Training over MPI: what `mpiexec` runs (mpi_cases.py) against one process in this one, and the parts alone."""

from __future__ import annotations

import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import mpi_cases
import numpy as np
import pytest
from mpi_runs import check_alike, mpiexec, run

import cnn
import cnn_core
from cnn.mpi.shares import divide
from cnn.mpi.tree import Tree
from cnn.training.checkpoint import checkpoints

# The parts ------------------------------------------------------------------------------------------------------------


def tree_sum(parts: list[np.ndarray]) -> np.ndarray:
    """((r0 + r1) + (r2 + r3)) + ..., after the first ones were added in pairs until their number is a power of two."""
    extra = len(parts) - (1 << len(parts).bit_length() - 1)
    parts = [parts[2 * i] + parts[2 * i + 1] for i in range(extra)] + parts[2 * extra :]
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8])
@pytest.mark.parametrize("n", [1, 16, 9000])  # the last one in parts
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_ranks_are_added_as_a_binary_tree(size: int, n: int, dtype: str) -> None:
    rng = np.random.default_rng(n)
    values = [rng.normal(size=n).astype(dtype) for _ in range(size)]
    sums = [rng.normal(size=2) for _ in range(size)]
    expected, expected_sums = tree_sum(values), tree_sum(sums)
    post = {(a, b): queue.Queue[bytes]() for a in range(size) for b in range(size)}
    counted = [0] * size

    def run(rank: int) -> None:
        def swap(peer: int, send: np.ndarray | None, receive: np.ndarray | None) -> None:
            if send is not None:
                post[rank, peer].put(send.tobytes())
                counted[rank] += send.nbytes
            if receive is not None:
                receive[...] = np.frombuffer(post[peer, rank].get(timeout=10), np.uint8)

        Tree(rank, size, swap).add(values[rank], sums[rank])

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rank in range(size):
        np.testing.assert_array_equal(values[rank], expected)
        np.testing.assert_array_equal(sums[rank], expected_sums)
    if n == 9000 and size in (2, 4, 8):  # each rank sends less than two arrays
        assert max(counted) < 2 * values[0].nbytes + 200


def cuts_of(width: int) -> Any:
    return cnn.Network([cnn.Dense(width, "relu"), cnn.Dense(1)]).build(8).plan.cut


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("width", [32, 100, 9000])  # the last one is wide
@pytest.mark.parametrize("batch", [1, 17, 256, 1000, 2000])
@pytest.mark.parametrize("counts", [[500, 500], [496, 504], [999, 1], [1, 1, 998], [250] * 4, [100] * 10])
def test_every_row_of_an_epoch_is_one_ranks(counts: list[int], batch: int, width: int, same: bool) -> None:
    total = sum(counts)
    batch = min(batch, total)
    given = [total] * len(counts) if same else counts
    tables = [divide(cuts_of(width), rank, given, batch, same).table for rank in range(len(counts))]
    rows = np.array([table["rows"] for table in tables])
    assert (rows.sum(axis=0) == tables[0]["all_rows"]).all()
    assert (tables[0]["all_rows"][:-1] == batch).all()
    for rank, table in enumerate(tables):
        np.testing.assert_array_equal(table["above"], rows[:rank].sum(axis=0))
        if same:
            np.testing.assert_array_equal(table["begin"], batch * np.arange(len(table)) + table["above"])
        else:
            assert table["rows"].sum() == counts[rank]
            np.testing.assert_array_equal(table["begin"], np.cumsum(table["rows"]) - table["rows"])
        assert (table["cut_rows"] >= table["rows"]).all()


def test_a_share_is_some_of_the_chunks_of_one_process() -> None:
    assert cuts_of(200)(512).parts == 8
    for ranks in (2, 4, 8):
        for rank in range(ranks):
            division = divide(cuts_of(200), rank, [5000] * ranks, 512, True)
            assert division.as_one
            assert division.cut.parts == 8 // ranks
            assert set(division.table["first_chunk"]) == {rank * 8 // ranks}
            assert set(division.table["all_chunks"]) == {8}
    assert not divide(cuts_of(200), 0, [5000] * 3, 512, True).as_one
    assert not divide(cuts_of(200), 0, [5000] * 16, 512, True).as_one  # more ranks than chunks
    assert not divide(cuts_of(200), 0, [200, 201], 512, False).as_one  # 13 groups of rows are no 200


# Bad input ------------------------------------------------------------------------------------------------------------


def test_without_mpi4py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    net = cnn.Network([cnn.Dense(1)])
    with pytest.raises(ImportError, match=r"comm needs mpi4py \(extra 'mpi'\): pip install mpi4py mpich"):
        net.fit(np.ones((4, 1)), np.ones(4), comm=object())
    assert net.known_inputs is None


# What mpiexec runs ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return mpi_cases.same(None, Path())


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_same_rows_give_the_bits_of_one_process(ranks: int, tmp_path: Path, alone: dict[str, Any]) -> None:
    found = run("same", ranks, tmp_path)
    assert len(found) == ranks
    exact = list(alone)[: list(alone).index("wide, sparse")] if ranks == 2 else ["all at once"] if ranks == 4 else []
    for name, expected in alone.items():
        for other in found[1:]:
            check_alike(found[0][name], other[name])
        if name in exact:
            check_alike(expected, found[0][name])
        else:
            exact_enough = 1e-12 if expected["weights"].dtype == np.float64 else 2e-2
            np.testing.assert_allclose(found[0][name]["weights"], expected["weights"], atol=exact_enough)


def rows_in_order(counts: tuple[int, ...], seed: int, epoch: int, batch: int) -> np.ndarray:
    """Of an epoch, as one process would have them: each minibatch has rank 0's rows first, in its order."""
    orders, first = [], 0
    for rank, n in enumerate(counts):
        order = np.empty(n, np.int64)
        cnn_core.engine.permutation((seed + rank * 0x9E3779B97F4A7C15) % 2**64, epoch, order)
        orders.append(first + order)
        first += n
    tables = [divide(cuts_of(32), rank, counts, batch, False).table for rank in range(len(counts))]
    return np.concatenate([orders[rank][table["begin"][b] : table["begin"][b] + table["rows"][b]]
                           for b in range(len(tables[0])) for rank, table in enumerate(tables)])  # fmt: skip


def test_rows_of_ones_own_are_minibatches_of_one_process(tmp_path: Path) -> None:
    found = run("own", 2, tmp_path)
    for name, (counts, weights) in mpi_cases.OWN.items():
        seed = found[0][name]["seed"]
        net = mpi_cases.network(seed=seed)
        for epoch in range(3):
            order = rows_in_order(counts, seed, epoch, 256)
            assert sorted(order) == list(range(1000))
            held_out = np.r_[0:50, counts[0] : counts[0] + 50]
            net.fit(
                mpi_cases.X[order], mpi_cases.Y[order], epochs=1, batch_size=256, shuffle=False, verbose=0,
                sample_weight=None if weights is None else weights[order],
                validation_data=(mpi_cases.X[held_out], mpi_cases.Y[held_out]),
            )  # fmt: skip
        check_alike(found[0][name], found[1][name])
        if name == "uneven":
            np.testing.assert_allclose(found[0][name]["weights"], net.flat, atol=1e-2)
        else:
            np.testing.assert_array_equal(found[0][name]["weights"], net.flat)
            for number in ("loss", "val_loss", "val_rmse"):
                assert found[0][name]["history"][number] == net.history[number]
            # The sum over rows goes in the order of the rows, which is another one here.
            np.testing.assert_allclose(found[0][name]["history"]["rmse"], net.history["rmse"], rtol=1e-12)


def test_ranks_that_make_steps_alone_are_averaged(tmp_path: Path) -> None:
    """Beside two networks here, each of which is given a rank's share of the minibatches, and averaged by hand."""
    found = run("alone_for_a_while", 2, tmp_path)
    table = [divide(cuts_of(32), rank, [1000, 1000], 300, True).table for rank in range(2)]
    for name, weights in {"plain": None, "weights": mpi_cases.WEIGHTS}.items():
        nets = [mpi_cases.network(dtype="float64", optimizer=cnn.Adam(0.01)).build(8) for _ in range(2)]
        for epoch in range(2):
            order, losses, penalties = np.empty(1000, np.int64), np.zeros(2), []
            cnn_core.engine.permutation(3, epoch, order)
            for step in range(4):
                for net, own in zip(nets, table, strict=True):
                    begin, n, above = (int(own[step][field]) for field in ("begin", "rows", "above"))
                    # Dropout counts rows from the minibatch's first: those before have no weight.
                    rows = np.r_[order[begin - above : begin], order[begin : begin + n]]
                    w = np.ones(len(rows)) if weights is None else weights[rows]
                    w[:above] = 0
                    penalties.append(1e-3 * (net.parameters["layers.0.weights"] ** 2).sum())
                    loss, gradients = net.loss_and_gradient(mpi_cases.X[rows], mpi_cases.Y[rows], w, training=True)
                    net.update(gradients)
                    losses += np.array([loss - penalties[-1], 1]) * w.sum()
                if step in (2, 3):  # the third one, and the last one of the epoch
                    for arrays in zip(*((net.flat, net.state) for net in nets), strict=True):
                        mean = (arrays[0] + arrays[1]) / 2
                        for array in arrays:
                            array[...] = mean
            mean_loss = losses[0] / losses[1] + np.mean(penalties)
            np.testing.assert_allclose(found[0][name]["history"]["loss"][epoch], mean_loss, rtol=1e-12)
        np.testing.assert_allclose(found[0][name]["weights"], nets[0].flat, rtol=0, atol=1e-12)
        check_alike(found[0][name], found[1][name])


def mean_of_shares(net: cnn.Network, order: Any, tables: Any, step: int) -> dict[str, Any]:
    """What two ranks make of a minibatch: each has mean and variance of its rows."""
    total: dict[str, Any] = {}
    for table in tables:
        begin, n = int(table["begin"][step]), int(table["rows"][step])
        rows = order[begin : begin + n]
        found = net.loss_and_gradient(mpi_cases.X[rows], mpi_cases.Y[rows], training=True)[1] if n else {}
        for name, gradient in found.items():
            total[name] = total.get(name, 0) + gradient * n / table["all_rows"][step]
    return total


def test_ranks_normalise_their_own_rows(tmp_path: Path) -> None:
    """Beside one network here that takes the mean of the gradients of both shares, running averages included."""
    found = run("batch_norm", 2, tmp_path)
    check_alike(found[0]["plain"], found[1]["plain"])
    net = mpi_cases.normalised()
    net.build(8)
    tables = [divide(net.plan.cut, rank, [1000, 1000], 300, True).table for rank in range(2)]
    order = np.empty(1000, np.int64)
    for epoch in range(3):
        cnn_core.engine.permutation(3, epoch, order)
        for step in range(4):
            net.update(mean_of_shares(net, order, tables, step))
    np.testing.assert_allclose(found[0]["plain"]["weights"], net.flat, rtol=0, atol=1e-11)
    few = found[0]["few rows"]  # ranks that have one row of a minibatch, or none
    check_alike(few, found[1]["few rows"])
    assert np.isfinite(few["weights"]).all()
    check_alike(found[0]["alone"], found[1]["alone"])
    assert np.isfinite(found[0]["alone"]["weights"]).all()


def test_one_ranks_error_ends_all(tmp_path: Path) -> None:
    found = run("broken", 2, tmp_path)
    both = {
        "layers": "ValueError: the ranks of comm differ in layers.0: Dense(units=32,",
        "optimizer": "ValueError: the ranks of comm differ in optimizer: Adam(learning_rate=0.001",
        "seed": "ValueError: the ranks of comm differ in seed: 0 on rank 0, 1 on rank 1",
        "epochs": "ValueError: the ranks of comm differ in epochs: 3 on rank 0, 4 on rank 1",
        "batch_size": "ValueError: the ranks of comm differ in batch_size: 100 on rank 0, 101 on rank 1",
        "dtype": "ValueError: the ranks of comm differ in dtype: 'float32' on rank 0, 'float64' on rank 1",
        "sample_weight": "ValueError: the ranks of comm differ in sample_weight: False on rank 0, True on rank 1",
        "columns": "ValueError: the ranks of comm differ in the number of columns of X: 8 on rank 0, 7 on rank 1",
        "dimensions": "ValueError: the ranks of comm differ in the number of dimensions of the training y: 1 on rank 0",
        "validation weights": "ValueError: the ranks of comm differ in whether validation rows have weights: False on",
        "same_rows": "TypeError: same_rows must be True or False, got 'yes'",
        "not the same": "ValueError: the ranks of comm differ in the training rows: (1000, '",
        "rate": "RuntimeError: after epoch 1 rank 1 has not the learning rate of rank 0",
        "weights": "RuntimeError: after epoch 1 rank 1 has not the weights of rank 0",
        "diverges": "NonFiniteError: the loss is not finite in epoch 1, batch 2 of 16",
        "no communicator": "TypeError: comm must be a communicator of mpi4py such as MPI.COMM_WORLD, got 3",
    }
    one = {
        "no rows": "ValueError: X has no rows: shape (0, 8)",
        "nan": "ValueError: X holds nan at row 0, column 0",
        "callback": "OSError: no space left",
        "interrupt": "KeyboardInterrupt",
    }
    for name, text in both.items():
        assert [mine[name][: len(text)] for mine in found] == [text, text]
    for name, text in one.items():
        assert found[1][name].startswith(text)
        assert found[0][name].startswith(f"RankError: rank 1 of 2 failed: {text}")
    np.testing.assert_array_equal(found[0]["after"], found[1]["after"])


def test_callbacks_agree_and_rank_0_writes(tmp_path: Path) -> None:
    first, second = run("callbacks", 2, tmp_path)
    check_alike(first["first"], second["first"])
    epochs = len(first["first"]["history"]["loss"])
    assert epochs < 30
    assert first["best"] == second["best"] == epochs - 2  # early stopping
    assert first["second"] == second["second"] == 2  # rank 1 wanted to stop
    assert first["seconds"] == second["seconds"]
    assert first["auto"] == second["auto"]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + epochs
    assert (tmp_path / "callbacks.txt").read_text().count("epoch 3: loss") == 1
    assert cnn.load(tmp_path / "model.cnn").n_inputs == 8


def test_steps_are_told_of_on_rank_0_and_change_no_bit(tmp_path: Path) -> None:
    first, second = run("steps", 2, tmp_path)
    for every in (1, 2):
        weights, told = first[every, True]
        assert weights == first[every, False][0] == second[every, True][0] == second[every, False][0]
        assert [batch for _, batch, *_ in told] == [*range(len(told) // 3)] * 3
        assert second[every, True][1] == []
        assert told[-1][3] == weights
        assert all(np.isfinite(loss) for _, _, loss, _ in told)


def test_a_killed_fit_goes_on_to_the_same_bits_with_any_number_of_ranks(tmp_path: Path) -> None:
    expected = run("resumed", 2, tmp_path)[0]  # not yet killed
    shutil.rmtree(tmp_path / "run")
    assert run("killed", 2, tmp_path, good=False) == []
    steps = [step for step, _ in checkpoints(tmp_path / "run")]
    assert steps[-1] == 10  # in the middle of the third epoch of four steps
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    for found in run("resumed", 2, tmp_path):
        check_alike(expected, found)
    shutil.rmtree(tmp_path / "run")
    shutil.copytree(tmp_path / "copy", tmp_path / "run")
    check_alike(expected, mpi_cases.resumed(None, tmp_path))


def test_a_checkpoint_of_rows_of_ones_own_goes_on_with_other_ranks(tmp_path: Path) -> None:
    assert run("own_checkpoint", 2, tmp_path)[0]["step"] == 4 * 8
    found = run("own_checkpoint", 4, tmp_path)
    assert found[0]["step"] == 6 * 8
    said = (tmp_path / "own_checkpoint.txt").read_text()
    assert "is of another number of ranks: the fit goes on, with other minibatches" in said
    for other in found[1:]:
        check_alike(found[0], other)


def command(ranks: int, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [mpiexec(), "-n", str(ranks), sys.executable, "-m", "cnn", "train", *arguments]
    return subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_trains_the_model_of_one_process(tmp_path: Path) -> None:
    pytest.importorskip("typer")
    rows = ["a,b,y", *(f"{a},{'red' if a % 3 else 'blue'},{a * 0.5 + a % 3}" for a in range(300))]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    options = ["table.csv", "-t", "y", "--epochs", "4", "--batch-size", "256", "--hidden", "32,32", "--members", "1"]
    alone = command(1, tmp_path, *options, "--out", "alone.cnn")
    assert alone.returncode == 0, alone.stderr
    together = command(2, tmp_path, *options, "--out", "together.cnn", "--mpi", "--json")
    assert together.returncode == 0, together.stderr
    assert together.stdout.count('"rows": 300') == 1
    one, two = (cnn.load(tmp_path / f"{name}.cnn", cnn.TableModel) for name in ("alone", "together"))
    np.testing.assert_array_equal(one.networks[0].flat, two.networks[0].flat)
    wrong = command(2, tmp_path, "table.csv", "-t", "z", "--mpi")
    assert wrong.returncode != 0
    assert "cnn: rank 0: " in wrong.stderr
    assert "'z'" in wrong.stderr
    piped = command(1, tmp_path, "-", "-t", "y", "--mpi")
    assert piped.returncode == 2
    assert "cnn: --mpi needs a file, which all processes can read, not standard input" in piped.stderr
