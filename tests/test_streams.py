"""Rows that are read while a network trains: cut anew, mixed, read ahead, from any iterable of batches."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from streams import FORM, X, Y, alike, first, rows

from cnn._common.errors import StreamError
from cnn.runtime.data import Data
from cnn.streams.ahead import ReadAhead
from cnn.streams.batches import Batches, is_batches
from cnn.streams.parts import recut, shuffled

# Cutting and mixing ---------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 50), st.booleans(), st.booleans())
def test_any_lengths_become_the_same_blocks(lengths: list[int], size: int, weights: bool, is_sparse: bool) -> None:
    n, kind = sum(lengths), sparse.csr_array if is_sparse else np.asarray
    begins = np.cumsum([0, *lengths])
    parts = [rows(k, weights, int(b), kind) for k, b in zip(lengths, begins, strict=False)]
    found = list(recut(parts, size))
    assert [len(part) for part in found] == [size] * (n // size) + ([n % size] if n % size else [])
    if found:
        alike(found, rows(n, weights))


@given(st.integers(0, 30), st.integers(1, 8), st.integers(1, 4))
def test_whole_minibatches_come_before_an_error(n: int, batch: int, blocks: int) -> None:
    def parts() -> Iterator[Data]:
        for i in range(n):
            yield rows(1, start=i)
        raise OSError("the wire broke")

    found: list[Data] = []
    with pytest.raises(OSError, match="the wire broke"):
        found.extend(recut(parts(), batch * blocks, batch))
    assert sum(map(len, found)) == n // batch * batch
    if found:
        alike(found, rows(n // batch * batch))


def test_rows_are_mixed_within_windows_and_none_is_lost() -> None:
    found = list(shuffled([rows(70), rows(30, start=70)], 40, np.random.default_rng(1)))
    numbers = [part.y.astype(int).tolist() for part in found]
    assert [sorted(window) for window in numbers] == [[*range(40)], [*range(40, 80)], [*range(80, 100)]]
    assert all(window != sorted(window) for window in numbers)
    for part in found:
        np.testing.assert_array_equal(part.X[:, 1], -part.y)


# Reading ahead --------------------------------------------------------------------------------------------------------


def reading() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cnn reads ahead"]


def wait(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_no_more_is_read_ahead_than_asked_for() -> None:
    made = []

    def items(unwanted: threading.Event) -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    with ReadAhead(items, 2) as ahead:
        assert made == []  # nobody has asked yet
        assert next(ahead) == 0
        wait(lambda: len(made) == 4)  # two in the queue, one that waits for its place
        time.sleep(0.02)
        assert len(made) == 4
        assert list(ahead) == [*range(1, 100)]
    assert not reading()


def test_errors_come_where_their_item_would() -> None:
    def items(unwanted: threading.Event) -> Iterator[int]:
        yield 1
        raise KeyError("gone")

    with ReadAhead(items) as ahead:
        assert next(ahead) == 1
        with pytest.raises(KeyError, match="gone"):
            next(ahead)
        with pytest.raises(StopIteration):
            next(ahead)
    assert not reading()


def test_what_is_not_wanted_is_closed() -> None:
    closed = []

    def items(unwanted: threading.Event) -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.append(True)

    with ReadAhead(items) as ahead:
        next(ahead)
    assert closed == [True]
    ahead.close()
    assert not reading()


def test_a_source_that_waits_is_left_to_itself() -> None:
    go = threading.Event()

    def items(unwanted: threading.Event) -> Iterator[int]:
        yield 1
        go.wait()
        yield 2

    with ReadAhead(items) as ahead:
        assert next(ahead) == 1
        begin = time.monotonic()
    assert time.monotonic() - begin < 5
    go.set()
    wait(lambda: not reading())


# Iterables ------------------------------------------------------------------------------------------------------------


def batches(*lengths: int) -> list[tuple[Any, ...]]:
    begins = np.cumsum([0, *lengths])
    return [(X[b:e], Y[b:e]) for b, e in itertools.pairwise(begins.tolist())]


class Tensor:
    """As PyTorch's."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> Any:
        return self.array

    def __len__(self) -> int:
        return len(self.array)


@pytest.mark.parametrize("given", [
    batches(4, 5), iter(batches(4, 5)), (b for b in batches(4, 5)), [[Tensor(X[:4]), Tensor(Y[:4])]],
], ids=["list", "iterator", "generator", "tensors"])  # fmt: skip
def test_batches_are_known_from_tables(given: Any) -> None:
    assert is_batches(given)


@pytest.mark.parametrize("given", [
    X, [[1, 2], [3, 4]], [], "a.parquet", {"a": [1]}, {1}, 3, None, sparse.csr_array(X), [[[1]], [[2]]],
], ids=str)  # fmt: skip
def test_tables_are_no_batches(given: Any) -> None:
    assert not is_batches(given)


def test_a_list_tells_its_rows_and_a_generator_that_it_can_be_read_once() -> None:
    listed, once = Batches(batches(4, 5), FORM, None), Batches((b for b in batches(4, 5)), FORM, None)
    assert (listed.rows, listed.batches, listed.once) == (9, 2, False)
    assert (once.rows, once.batches, once.once) == (None, None, True)
    for found in (listed, once):
        assert found.n_inputs == 3
        alike(list(found.parts(0, 7)), first(0, 9))
    alike(list(listed.parts(1, 7)), first(0, 9))


def test_tensors_become_arrays_and_empty_batches_are_left_out() -> None:
    given = [(Tensor(X[:4]), Tensor(Y[:4])), (X[:0], Y[:0]), (Tensor(X[4:6]), Y[4:6])]
    alike(list(Batches(given, FORM, 3).parts(0, None)), first(0, 6))


class Loader:
    """That says how many batches it has, and may be wrong."""

    def __init__(self, given: list[Any], n: int) -> None:
        self.given, self.n = given, n

    def __iter__(self) -> Iterator[Any]:
        return iter(self.given)

    def __len__(self) -> int:
        return self.n


def read(given: Any) -> list[Data]:
    found = Batches(given, FORM, None)
    return [*found.parts(0, None), *found.parts(1, None)]


@pytest.mark.parametrize(("given", "kind", "text"), [
    (iter([(X[:4], Y[:4]), (X[:4, :2], Y[:4])]), ValueError,
     "X of batch 2 has 2 columns, but the network takes 3 inputs"),
    (iter([(X[:4], Y[:4]), (X[:4], Y[:3])]), ValueError, "y of batch 2 has 3 rows, but X has 4"),
    (iter([(X[:4], Y[:4]), (X[:4] * np.inf, Y[:4])]), ValueError, "X of batch 2 holds .* at row 0"),
    (iter([(X[:4], Y[:4]), (X[:4].astype(str), Y[:4])]), TypeError, "X of batch 2 must hold numbers"),
    (iter([(X[:4], Y[:4]), X[:4]]), StreamError, r"batch 2 must be \(X, y\) or \(X, y, weights\), got ndarray"),
    ([(X[:4], Y[:4]), (X[:4],)], StreamError, r"batch 2 must be \(X, y\) or \(X, y, weights\), got 1 items"),
    (iter([(X[:4], Y[:4]), (X[:4], Y[:4], Y[:4])]), StreamError, "batch 2 has weights, but the first one has none"),
    (iter([(X[:4], Y[:4], Y[:4]), (X[:4], Y[:4])]), StreamError,
     "batch 2 has no weights, but the first one has some"),
    (iter([(X[:4], Y[:4]), (sparse.csr_array(X[:4]), Y[:4])]), StreamError,
     "batch 2 has sparse rows, but the first"),
    (iter([(X[:4], Y[:4]), (X[:4], Y[:4, None])]), StreamError,
     "y of batch 2 has 2 dimensions, but the first one has 1"),
    (iter([]), StreamError, "the stream of batches is empty"),
    (iter(batches(4)), StreamError, "the stream ended early, with 0 batches in epoch 2: it had some before"),
    (Loader(batches(4, 4), 3), StreamError, "the stream ended early, with 2 batches in epoch 1: it is to have 3"),
    (Loader(batches(4, 4), 1), StreamError, "the stream goes on after the 1 batches that it is to have"),
])  # fmt: skip
def test_batches_that_can_not_be(given: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        read(given)
