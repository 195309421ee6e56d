"""Philox and the dropout masks made of it: known answers, the same bits however a range is cut, the share of zeros."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import cnn_core

ENGINES = cnn_core.engines()
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])

ONES = 2**32 - 1
# Counter, key and words: the known answers that the authors of Philox publish with Random123.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
known = pytest.mark.parametrize(("counter", "key", "words"), KNOWN)


def mask(engine, seed, step, stream, first, rate, n, dtype=np.float64) -> np.ndarray:
    out = np.full(n, np.nan, dtype)
    engine.dropout_mask(seed, step, stream, first, rate, out)
    return out


@known
def test_the_reference_knows_the_answers(counter, key, words):
    assert reference.philox(counter, key) == list(words)


@engines
@dtypes
@known
def test_the_core_knows_the_answers(counter, key, words, dtype, engine):
    """A word is kept at a rate of word / 2^32 and dropped at (word + 1) / 2^32: that tells all of its bits."""
    seed, step = key[0] | key[1] << 32, counter[2] | counter[3] << 32
    for i, word in enumerate(words):
        assert mask(engine, seed, step, counter[1], 4 * counter[0] + i, word / 2**32, 1, dtype)[0] > 0
        assert mask(engine, seed, step, counter[1], 4 * counter[0] + i, (word + 1) / 2**32, 1, dtype)[0] == 0


WORD64 = st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1), st.sampled_from([2**32 - 1, 2**32, 2**64 - 1]))
FIRST = st.one_of(st.integers(0, 300), st.integers(2**34 - 40, 2**34 + 40), st.integers(0, 2**46))


@given(WORD64, WORD64, st.integers(0, 2**32 - 1), FIRST, st.floats(0, 0.999), st.integers(1, 200))
@settings(max_examples=80, deadline=None)
def test_masks_equal_the_reference(seed, step, stream, first, rate, n):
    expected = reference.dropout_mask(seed, step, stream, first, rate, n)
    for engine in ENGINES.values():
        np.testing.assert_array_equal(mask(engine, seed, step, stream, first, rate, n), expected)
        np.testing.assert_array_equal(
            mask(engine, seed, step, stream, first, rate, n, np.float32), expected.astype(np.float32)
        )


@given(WORD64, WORD64, FIRST, st.integers(1, 500), st.lists(st.integers(0, 500), max_size=6))
@settings(max_examples=80, deadline=None)
def test_any_split_gives_the_same_bits(seed, step, first, n, cuts):
    edges = sorted({0, n, *(cut % n for cut in cuts)})
    for engine in ENGINES.values():
        whole = mask(engine, seed, step, 3, first, 0.4, n)
        parts = [mask(engine, seed, step, 3, first + a, 0.4, b - a) for a, b in pairwise(edges)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@engines
def test_seed_step_and_stream_all_matter(engine):
    masks = [
        mask(engine, seed, step, stream, 0, 0.5, 256)
        for seed, step, stream in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**32, 0, 0), (0, 2**32, 0)]
    ]
    assert len({m.tobytes() for m in masks}) == len(masks)
    for other in masks[1:]:
        assert abs(np.mean(masks[0] == other) - 0.5) < 5 * 0.5 / np.sqrt(256)


@engines
@dtypes
def test_rate_zero_keeps_everything(dtype, engine):
    np.testing.assert_array_equal(mask(engine, 1, 2, 3, 5, 0.0, 1000, dtype), 1)


@engines
@dtypes
def test_no_elements(dtype, engine):
    assert mask(engine, 1, 2, 3, 5, 0.5, 0, dtype).size == 0


@engines
@dtypes
@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_share_of_zeros_and_scale(rate, dtype, engine):
    n = 200_000
    drawn = mask(engine, 12345, 6, 7, 1, rate, n, dtype)
    assert set(np.unique(drawn)) == {dtype(0), dtype(1 / (1 - rate))}
    assert abs(np.mean(drawn == 0) - rate) < 5 * np.sqrt(rate * (1 - rate) / n)
    zeros = (drawn == 0) - rate  # neighbours, within a counter and across, know nothing of each other
    for lag in (1, 2, 4, 64):
        assert abs(np.mean(zeros[lag:] * zeros[:-lag])) < 5 * rate * (1 - rate) / np.sqrt(n - lag)


def order(engine, seed, epoch, n) -> np.ndarray:
    out = np.full(n, -1, np.int64)
    engine.permutation(seed, epoch, out)
    return out


@engines
@given(WORD64, WORD64, st.integers(0, 150))
@settings(max_examples=40, deadline=None)
def test_the_order_of_rows_is_fisher_and_yates_on_philox(engine, seed, epoch, n):
    expected = list(range(n))
    for left in range(n - 1, 0, -1):
        block, i = divmod(n - 1 - left, 32)  # 16 counters give 64 words: number i from words i and i + 32
        key, counter = (seed % 2**32, seed >> 32), (ONES, epoch % 2**32, epoch >> 32)
        word = [reference.philox((16 * block + j % 16, *counter), key)[j // 16] for j in (i, i + 32)]
        j = int(((word[0] >> 5) * 2**26 + (word[1] >> 6)) / 2**53 * (left + 1))
        expected[left], expected[j] = expected[j], expected[left]
    assert order(engine, seed, epoch, n).tolist() == expected


@engines
@given(st.integers(0, 2**32 - 1), st.integers(0, 70) | st.sampled_from([255, 256, 257, 1023, 1024, 1025, 5000]))
@settings(max_examples=60, deadline=None)
def test_shuffle_is_that_of_numpy_and_leaves_its_generator_where_numpy_would(engine, seed, n):
    theirs, ours = np.random.RandomState(seed), np.random.RandomState(seed)
    expected, found = np.arange(n)[::-1].copy(), np.arange(n)[::-1].copy()
    for _ in range(2):
        theirs.shuffle(expected)
        engine.shuffle(ours._bit_generator, found)
    assert found.tolist() == expected.tolist()
    assert ours.randint(2**31) == theirs.randint(2**31)


def test_shuffle_takes_any_generator_of_numpy():
    theirs, ours = (np.random.RandomState(np.random.PCG64(3)) for _ in range(2))
    expected, found = np.arange(300), np.arange(300)
    theirs.shuffle(expected)
    cnn_core.engine.shuffle(ours._bit_generator, found)
    assert found.tolist() == expected.tolist()


def test_every_order_is_as_likely():
    """Chi squared over the 24 orders of four rows; and each row is as often first."""
    seen: dict[bytes, int] = {}
    for epoch in range(6000):
        found = order(cnn_core.engine, 7, epoch, 4).tobytes()
        seen[found] = seen.get(found, 0) + 1
    assert len(seen) == 24
    assert sum((count - 250) ** 2 / 250 for count in seen.values()) < 49.7  # 23 degrees of freedom, 0.1 %
