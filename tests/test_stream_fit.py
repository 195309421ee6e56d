"""Fits on rows that are read meanwhile: the same bits as on arrays that are not shuffled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from helpers import same_bits
from pyarrow import parquet
from scipy import sparse
from stream_networks import LABELS, WEIGHTS, Loader, N, X, Y, batches, network

import cnn
from cnn.streams import source


def both(net: Any, given: Any, *arrays: Any, y: Any = None, alone: Any = None, **options: Any) -> tuple[Any, Any]:
    """Two networks, fitted to the stream and, unshuffled, to the arrays: their bits, losses and rates are the same."""
    first, second = net(), net()
    options = {"epochs": 3, "batch_size": 32, "verbose": 0, **options}
    streamed = first.fit(given, y, **options, **(alone or {}))
    more = {} if len(arrays) < 3 else {"sample_weight": arrays[2]}
    whole = second.fit(arrays[0], arrays[1], shuffle=False, **{**options, **more})
    assert same_bits(first, second)
    assert first.step == second.step
    assert streamed.names == whole.names
    assert streamed.loss == whole.loss
    assert streamed.learning_rate == whole.learning_rate
    for name in streamed.names:
        if name != "seconds":
            np.testing.assert_allclose(streamed[name], whole[name], rtol=1e-12, err_msg=name)
    assert first.one_dimensional == second.one_dimensional
    return first, second


# The same bits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 32, 100, 999, 5000])
@pytest.mark.parametrize("piece", [1, 50, 100_000])
def test_any_cut_of_the_rows_gives_the_same_bits(batch_size: int, piece: int, monkeypatch) -> None:
    """Whatever the batches that are given, the steps and the blocks that the core is given."""
    monkeypatch.setattr(source, "_PIECE", piece * 20)
    both(network, batches(X, Y), X, Y, batch_size=batch_size, epochs=2)


def worst(y: Any, predicted: Any, weights: Any = None) -> float:
    """A metric of one's own, which has to see all rows."""
    return float(np.abs(y - predicted)[slice(None) if weights is None else weights > 0].max())


@pytest.mark.parametrize(("loss", "units", "y", "metrics"), [
    ("mse", 1, Y, "auto"),
    ("mse", 1, Y, ["r2", "mae", worst]),
    ("mse", 2, np.column_stack([Y, -Y / 9]), "r2"),
    ("cross_entropy", 3, LABELS, ["f1", "roc_auc", "recall", "accuracy"]),
    ("binary_cross_entropy", 1, LABELS == 1, ["roc_auc", "precision"]),
    ("hinge", 1, np.where(LABELS == 1, 1, -1), ["f1"]),
    ("mse", 1, Y[:, None], ["rmse", "mae"]),
    ("mae", 2, np.column_stack([Y, -Y / 9]), ["rmse", "mae"]),
    ("cross_entropy", 3, LABELS, ["accuracy", "log_loss", "top_k_accuracy"]),
    ("cross_entropy", 3, np.eye(3, dtype=np.float32)[LABELS], "auto"),
    ("binary_cross_entropy", 1, LABELS == 1, "auto"),
    ("hinge", 1, np.where(LABELS == 1, 1, -1), ["accuracy"]),
    ("poisson", 1, LABELS, ()),
])  # fmt: skip
@pytest.mark.parametrize("weights", [False, True])
def test_losses_metrics_and_weights(loss: str, units: int, y: Any, metrics: Any, weights: bool) -> None:
    arrays = (X, y, WEIGHTS) if weights else (X, y)
    both(lambda: network(units, loss=loss), Loader(*arrays), *arrays, metrics=metrics)
    found, whole = (network(units, loss=loss) for _ in range(2))
    found.fit(Loader(*arrays), epochs=2, metrics=metrics, validation_data=Loader(X[:400], y[:400]), verbose=0)
    more = {"sample_weight": WEIGHTS} if weights else {}
    whole.fit(X, y, epochs=2, metrics=metrics, validation_data=(X[:400], y[:400]), shuffle=False, verbose=0, **more)
    for name in found.history.names:
        if name != "seconds":
            np.testing.assert_allclose(found.history[name], whole.history[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("given", [
    cnn.schedules.OneCycle(0.01), cnn.schedules.Step(0.01, epochs=1), cnn.schedules.WarmUp(0.01, steps=50),
], ids=lambda schedule: type(schedule).__name__)  # fmt: skip
def test_schedules_know_the_steps_of_a_list(given: Any) -> None:
    both(lambda: network(optimizer=cnn.AdamW(given)), batches(X, Y), X, Y)


def test_dropout_and_weight_decay_may_have_schedules() -> None:
    def net() -> cnn.Network:
        falls = cnn.schedules.Cosine(0.1)
        return network(optimizer=cnn.AdamW(0.01, weight_decay=falls), dropout_factor=cnn.schedules.Cosine(1.0))

    both(net, batches(X, Y), X, Y)


def test_none_makes_each_batch_a_step() -> None:
    first, second = network(), network()
    given = batches(X, Y, lengths=(32, 968))
    history = first.fit(given, epochs=1, batch_size=None, verbose=0)
    for x, y in given:
        second.fit(x, y, epochs=1, batch_size=None, verbose=0)
    assert same_bits(first, second)
    assert first.step == 2
    losses = np.array(second.history.loss)
    assert history.loss[0] == pytest.approx((losses * [32, 968]).sum() / 1000, rel=1e-2)  # penalties are means of steps


@pytest.mark.parametrize("piece", [1, 70, 100_000])
def test_batches_of_one_length_are_steps_of_one_block(piece: int, monkeypatch) -> None:
    """Whatever is given to the core together: the steps are those of fits of one step each."""
    monkeypatch.setattr(source, "_PIECE", piece * 20)
    lengths = (32, 32, 32, 10, 10, 32, 50, 50, 50, 50, 1)
    first, second = network(), network()
    first.fit(Loader(X, Y, lengths=lengths), epochs=1, batch_size=None, verbose=0)
    for x, y in batches(X, Y, lengths=lengths):
        second.fit(x, y, epochs=1, batch_size=None, verbose=0)
    assert same_bits(first, second)
    assert first.step == len(lengths)


@pytest.mark.parametrize("batch_size", [None, 50, 64])
def test_a_loader_may_write_each_batch_into_the_same_memory(batch_size: int | None) -> None:
    def loader() -> Iterator[Any]:
        memory = np.empty((50, X.shape[1]), X.dtype), np.empty(50, Y.dtype), np.empty(50, WEIGHTS.dtype)
        for begin in range(0, 1000, 50):
            for mine, all_of_it in zip(memory, (X, Y, WEIGHTS), strict=True):
                mine[...] = all_of_it[begin : begin + 50]
            yield memory

    first, second = network(), network()
    first.fit(loader(), epochs=1, batch_size=batch_size, verbose=0)
    second.fit(batches(X, Y, WEIGHTS, lengths=(50,) * 20), epochs=1, batch_size=batch_size, verbose=0)
    assert same_bits(first, second)


def test_a_network_of_float64_and_lists_and_sparse_rows() -> None:
    lists = batches(X.tolist(), Y.tolist(), lengths=(3, 997))
    both(lambda: network(dtype="float64"), lists, X.tolist(), Y.tolist(), epochs=2)
    given = np.where(np.abs(X) > 1, X, 0)
    both(network, [(sparse.csr_array(x), y) for x, y in batches(given, Y)], sparse.csr_array(given), Y)
    wide = np.tile(given, 40) * (np.arange(200) < 20)
    both(lambda: network_of(64), batches(wide, Y), wide, Y)


def network_of(units: int) -> cnn.Network:
    return cnn.Network([cnn.Dense(units, "relu"), cnn.Dense(1)], seed=0)


def test_the_same_bits_for_every_number_of_threads() -> None:
    nets = [network() for _ in range(3)]
    for net, n in zip(nets, (1, 2, None), strict=True):
        net.fit(Loader(X, Y), epochs=2, batch_size=256, n_threads=n, verbose=0)
    assert same_bits(nets[0], nets[1])
    assert same_bits(nets[0], nets[2])


def test_a_further_fit_goes_on_and_initial_epoch_counts() -> None:
    first, second = network(), network()
    for _ in range(2):
        first.fit(Loader(X, Y), epochs=2, batch_size=32, verbose=0)
    first.fit(Loader(X, Y), epochs=6, initial_epoch=4, batch_size=32, verbose=0)
    second.fit(X, Y, epochs=6, batch_size=32, shuffle=False, verbose=0)
    assert same_bits(first, second)
    assert first.history.epoch == [*range(6)]


def test_class_weights() -> None:
    def classifier() -> cnn.Network:
        return network(3, loss="cross_entropy")

    for weight in ({0: 2.0, 1: 1.0, 2: 0.5}, "balanced"):
        both(classifier, Loader(X, LABELS), X, LABELS, class_weight=weight)
        both(classifier, Loader(X, LABELS, WEIGHTS), X, LABELS, WEIGHTS, class_weight=weight)
    with pytest.warns(UserWarning, match="class_weight has no weight for class 2, which counts as 1"):
        classifier().fit(Loader(X, LABELS), epochs=1, class_weight={0: 2.0, 1: 1.0}, verbose=0)


# What is held out -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held_out", [
    (X[:100], Y[:100]), (X[:100], Y[:100], WEIGHTS[:100]), Loader(X[:100], Y[:100], lengths=(40, 60)),
    batches(X[:100], Y[:100], WEIGHTS[:100], lengths=(3, 97)),
], ids=["arrays", "weighted", "loader", "list"])  # fmt: skip
def test_validation_data_are_arrays_or_a_stream(held_out: Any) -> None:
    first, second = network(), network()
    streamed = first.fit(Loader(X, Y), epochs=3, validation_data=held_out, verbose=0)
    n = 3 if (isinstance(held_out, tuple) and len(held_out) == 3) or isinstance(held_out, list) else 2
    whole = second.fit(
        X, Y, epochs=3, validation_data=(X[:100], Y[:100], WEIGHTS[:100])[:n], shuffle=False, verbose=0
    )
    for name in ("val_loss", "val_rmse"):
        np.testing.assert_allclose(streamed[name], whole[name], rtol=1e-6)


def test_early_stopping_and_other_callbacks() -> None:
    seen: list[Any] = []

    class Watch(cnn.Callback):
        def on_fit_begin(self, network: Any, run: Any) -> None:
            seen.append((run.rows, run.steps_per_epoch))

        def on_epoch_begin(self, network: Any, epoch: int) -> None:
            seen.append(epoch)

        def on_progress(self, network: Any, epoch: int, rows: int) -> None:
            seen.append((epoch, rows))

    stop = cnn.EarlyStopping("loss", patience=1, min_delta=100)
    loader = Loader(X, Y)
    network().fit(loader, epochs=9, callbacks=[stop, Watch()], verbose=0)
    assert stop.stopped_epoch == 1
    assert loader.begun == 2  # the first batch, which was looked at before, is that of the first epoch
    assert seen[0] == (0, 0)
    assert sum(rows for epoch, rows in (s for s in seen[1:] if isinstance(s, tuple)) if epoch == 0) == N


def test_activation_auto_looks_at_the_first_batch() -> None:
    net = cnn.Network([cnn.Dense(8, "auto"), cnn.Dense(1)], seed=0)
    net.fit(Loader(X, Y), epochs=1, verbose=0)
    assert "(7 of 7 rows)" in net.activation_choice


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows"
    path.mkdir()
    names = {f"x{j}": X[:, j] for j in range(5)}
    whole = pa.table({**names, "y": Y, "w": WEIGHTS, "label": LABELS})
    parquet.write_table(whole.slice(0, 600), path / "a.parquet", row_group_size=130)
    parquet.write_table(whole.slice(600), path / "b.parquet", row_group_size=77)
    return path


@pytest.fixture
def mapped(tmp_path: Path) -> Any:
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return np.load(tmp_path / "X.npy", mmap_mode="r"), np.load(tmp_path / "y.npy", mmap_mode="r")


def without(path: Path, *names: str) -> Path:
    for file in sorted(path.iterdir()):
        parquet.write_table(parquet.read_table(file).drop_columns(list(names)), file, row_group_size=90)
    return path


def test_parquet_gives_the_bits_of_its_rows(table: Path) -> None:
    without(table, "label")
    both(network, table, X, Y, WEIGHTS, y="y", alone={"sample_weight": "w", "shuffle": False})
    both(network, str(without(table, "w")), X, Y, y="y", alone={"shuffle": False}, validation_split=0.23)


def test_validation_data_of_parquet(table: Path) -> None:
    without(table, "label")
    kept = network()
    how: dict[str, Any] = {"epochs": 2, "shuffle": False, "verbose": 0}
    expected = kept.fit(X, Y, sample_weight=WEIGHTS, validation_data=(X, Y, WEIGHTS), **how)
    for held_out in ((table, "y", "w"), (str(table), "y", "w")):
        net = network()
        found = net.fit(table, "y", sample_weight="w", validation_data=held_out, **how)
        assert same_bits(net, kept)
        np.testing.assert_allclose(found.val_loss, expected.val_loss, rtol=1e-6)
        np.testing.assert_allclose(found.val_rmse, expected.val_rmse, rtol=1e-6)
    without(table, "w")
    found = network().fit(table, "y", epochs=1, validation_data=table / "b.parquet", verbose=0)
    assert np.isfinite(found.val_loss[0])


def test_parquet_is_mixed_by_seed_and_epoch(table: Path, monkeypatch) -> None:
    without(table, "w", "label")
    monkeypatch.setattr(source, "_PIECE", 20 * 30)
    monkeypatch.setattr(source, "_WINDOW", 20 * 300)
    nets = [network() for _ in range(3)]
    nets[2].fit(table, "y", epochs=2, batch_size=32, shuffle=False, verbose=0)
    for net in nets[:2]:
        net.fit(table, "y", epochs=1, batch_size=32, verbose=0)
        net.fit(table, "y", epochs=1, batch_size=32, verbose=0)
    assert same_bits(nets[0], nets[1])
    assert nets[0].flat.tobytes() != nets[2].flat.tobytes()


def test_mapped_arrays_are_read_by_pieces_when_asked_to(mapped: Any, monkeypatch) -> None:
    monkeypatch.setattr(source, "_PIECE", 20 * 30)
    both(network, mapped[0], X, Y, y=mapped[1], alone={"stream": True, "shuffle": False}, validation_split=0.1)
    net = network()
    net.fit(mapped[0], mapped[1], epochs=2, stream=True, verbose=0)
    assert np.isfinite(net.flat).all()


def test_other_arrays_are_read_by_pieces_too() -> None:
    for given in (X.tolist(), pd.DataFrame(X)):
        both(network, given, X, Y, y=Y, alone={"stream": True, "shuffle": False}, epochs=1)
    few = np.where(np.abs(X) > 1, X, 0)
    how = {"stream": True, "shuffle": False}
    both(network, sparse.coo_array(few), sparse.csr_array(few), Y, y=Y.tolist(), alone=how)


def test_mapped_arrays_that_fit_stay_as_they_were(mapped: Any, monkeypatch) -> None:
    first, second, third = network(), network(), network()
    first.fit(*mapped, epochs=2, verbose=0)
    second.fit(X, Y, epochs=2, verbose=0)
    assert same_bits(first, second)
    monkeypatch.setattr("cnn._common.threads.free_memory", lambda: X.nbytes - 1.0)
    third.fit(*mapped, epochs=2, verbose=0)
    assert third.flat.tobytes() != first.flat.tobytes()
    third = network()
    third.fit(*mapped, epochs=2, stream=False, verbose=0)
    assert same_bits(first, third)


def test_checkpoints_at_ends_of_epochs_go_on_to_the_same_bits(table: Path, tmp_path: Path) -> None:
    without(table, "w", "label")

    class Stop(cnn.Callback):
        def on_epoch_end(self, network: Any, epoch: int, logs: Any) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    def fit(net: cnn.Network, *more: Any, **options: Any) -> cnn.Network:
        net.fit(table, "y", epochs=4, callbacks=[cnn.Checkpoint(tmp_path / "kept"), *more], verbose=0, **options)
        return net

    with pytest.raises(KeyboardInterrupt):
        fit(network(), Stop())
    resumed, whole = fit(network(), resume=tmp_path / "kept"), network()
    whole.fit(table, "y", epochs=4, verbose=0)
    assert same_bits(resumed, whole)
    assert resumed.history.loss == whole.history.loss
    with pytest.raises(ValueError, match="Checkpoint of a stream is written at ends of epochs, got unit='steps'"):
        network().fit(table, "y", callbacks=[cnn.Checkpoint(tmp_path / "other", unit="steps")], verbose=0)
    without(table, "x4")
    with pytest.raises(ValueError, match="is of another network: n_inputs is 5 there, 4 here"):
        fit(network(), resume=tmp_path / "kept")
