"""What the machine can do at most: multiply-adds and copies, by one core and by all."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np

WINDOWS = 5  # of which the best counts
START = 2e-3  # seconds until all threads are ready


def _cache_bytes() -> int:
    """The last level of cache, as far as the system tells."""
    try:
        return max(os.sysconf("SC_LEVEL3_CACHE_SIZE"), 0)
    except (AttributeError, ValueError, OSError):
        return 0


def _together(kernels: ModuleType, threads: int, seconds: float, rate: Callable[[int, float, float], float]) -> float:
    """The sum of the threads' rates over the same window of time."""
    with ThreadPoolExecutor(threads) as pool:
        best = 0.0
        for _ in range(WINDOWS):
            begin = kernels.now() + START
            rates = pool.map(lambda i, begin=begin: rate(i, begin, begin + seconds), range(threads))
            best = max(best, sum(rates))
    return best


def fma_gflops(kernels: ModuleType, threads: int, seconds: float, dtype: str = "float32") -> float:
    double = dtype == "float64"
    return _together(kernels, threads, seconds, lambda i, begin, end: kernels.fma_rate(double, begin, end)) / 1e9


def copy_gbytes(kernels: ModuleType, threads: int, seconds: float, megabytes: int | None = None) -> float:
    """As STREAM counts, read and written, between two arrays far larger than the caches; each thread has its share."""
    size = megabytes * 2**20 if megabytes else max(2**28, 4 * _cache_bytes())
    source, target = np.ones(size // 4, np.float32), np.zeros(size // 4, np.float32)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    return _together(kernels, threads, seconds, lambda i, begin, end: kernels.copy_rate(*parts[i], begin, end)) / 1e9


def measure(kernels: ModuleType, threads: int, seconds: float, megabytes: int | None = None) -> dict[str, float]:
    """GFLOP/s in float32 and GB/s, for the description of the machine."""
    return {
        "fma_gflops_one_core": round(fma_gflops(kernels, 1, seconds), 1),
        "fma_gflops_all_cores": round(fma_gflops(kernels, threads, seconds), 1),
        "copy_gbytes_one_core": round(copy_gbytes(kernels, 1, 5 * seconds, megabytes), 1),
        "copy_gbytes_all_cores": round(copy_gbytes(kernels, threads, 5 * seconds, megabytes), 1),
    }
