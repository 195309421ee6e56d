"""Streams among ranks: what `mpiexec` runs (mpi_cases.py) against one process in this one."""

from __future__ import annotations

from pathlib import Path

import mpi_cases
import numpy as np
import pytest
from mpi_runs import check_alike, run


def as_one(counts: list[list[int]], first: list[int]) -> np.ndarray:
    """The rows of one process: each minibatch has rank 0's first. Of each rank its rows of every step, in order."""
    found = []
    at = list(first)
    for step in zip(*counts, strict=True):
        for rank, n in enumerate(step):
            found += range(at[rank], at[rank] + n)
            at[rank] += n
    return np.array(found)


def test_ranks_read_streams_of_their_own_or_share_out_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    mpi_cases.parquet_file(tmp_path)
    one, two = run("streams", 2, tmp_path)
    for name in one:
        check_alike(one[name], two[name])
    halves = as_one([[128] * 3 + [112]] * 2, [0, 496])
    first = as_one([[128] * 3 + [64], [128] * 3 + [68]], [0, 448])  # the last 132 rows are 9 groups
    X, Y, W = mpi_cases.X, mpi_cases.Y, mpi_cases.WEIGHTS
    expected = {
        "batches": (halves, {}), "held out": (halves, {"validation_data": (X[:1000], Y[:1000])}),
        "weights": (halves, {"sample_weight": W[halves], "metrics": "r2"}), "generator": (halves, {"epochs": 1}),
        "arrays": (first, {"validation_data": (X[900:], Y[900:])}),
        "parquet": (first, {"validation_data": (X[900:], Y[900:], W[900:]), "sample_weight": W[first]}),
    }  # fmt: skip
    for name, (rows, options) in expected.items():
        net = mpi_cases.network(dtype="float64")
        options = {"epochs": 2, "batch_size": 256, "verbose": 0, "shuffle": False} | options
        history = net.fit(X[rows], Y[rows], **options)
        np.testing.assert_array_equal(net.flat, one[name]["weights"], err_msg=name)
        for number in set(one[name]["history"]) - {"learning_rate"}:
            np.testing.assert_allclose(history[number], one[name]["history"][number], rtol=1e-12, err_msg=name)
    # Each rank reads its part of the rows that are trained on and of those that are held out; and all have looked at
    # the first row group of each.
    looked_at = {*range(90), *range(900, 990)}
    for found, ranges in ((one, [(0, 448), (900, 950)]), (two, [(448, 900), (950, 1000)])):
        rows = {i for begin, n in found["parquet"]["read"] for i in range(begin, begin + n)}
        wanted = {i for begin, end in ranges for i in range(begin, end)}
        assert rows | looked_at == wanted | looked_at
        assert rows >= wanted
    assert len(one["mixed"]["history"]["loss"]) == 2
    assert one["alone"]["history"]["loss"][1] < one["alone"]["history"]["loss"][0]
    assert one["each batch a step"]["step"] == 10


def test_a_table_in_pieces_is_one_model_of_all_ranks(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    mpi_cases.parquet_file(tmp_path)
    one, two = run("table", 2, tmp_path)
    np.testing.assert_array_equal(one["weights"], two["weights"])
    assert one["scores"] == two["scores"]
    assert 2 * 700 / 64 < one["step"] < 2 * 900 / 64 + 2  # steps of all ranks' rows, not of those of each


def test_a_stream_that_fails_on_one_rank_ends_all(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    mpi_cases.parquet_file(tmp_path)
    one, two = run("broken_streams", 2, tmp_path)
    assert two.pop("raises") == "OSError: the line is dead"
    assert one.pop("raises") == "RankError: rank 1 of 2 failed: OSError: the line is dead"
    both = {
        "ends early": "StreamError: the rows of rank 1 end early in epoch 1, after 0 minibatches: it has 200 where "
        "rank 0 has 300. All must have their share of each minibatch but the last",
        "fewer rows": "StreamError: the rows of rank 1 end early: it has 200 where rank 0 has 300",
        "fewer batches": "StreamError: the rows of rank 1 end early in epoch 1, after 2 minibatches: it has 0 where",
        "too small": "ValueError: batch_size=8 leaves rank 0 of 2 no rows of a minibatch, which is cut by groups of 16",
        "same rows": "ValueError: same_rows needs rows of which each rank can take a share; of batches each gives its",
        "balanced": "ValueError: class_weight='balanced' counts all rows first, which ranks don't that read them by",
        "kind": "ValueError: the ranks of comm differ in the kind of rows: 'Arrays' on rank 0, 'Parquet' on rank 1",
        "width": "ValueError: the ranks of comm differ in the number of columns of X: 8 on rank 0, 7 on rank 1",
        "other files": "ValueError: the ranks of comm differ in validation_split: 0.1 on rank 0, 0.5 on rank 1",
    }
    for name, text in both.items():
        assert [found[name][: len(text)] for found in (one, two)] == [text, text]
    assert one.keys() == both.keys()


def test_a_stream_of_ranks_is_gone_on_with_and_other_settings_are_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    mpi_cases.parquet_file(tmp_path)
    for found in run("stream_checkpoint", 2, tmp_path):
        assert found["same"]
        assert found["error"].endswith("was made with exchange_every=1, this fit has 2")
