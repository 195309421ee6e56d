"""The barrier of a team: nobody is ahead, and nobody spins for long where that was in vain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import call, compiled

import cnn_core

SOURCE = """
#include <stdlib.h>
#include <unistd.h>
#include "team.h"
void meet(ptrdiff_t threads, ptrdiff_t rounds, ptrdiff_t microseconds, double *ahead, double *spin_shift)
{
    cnn_barrier_t b;
    long *reached = calloc(threads, sizeof(long));
    memset(&b, 0, sizeof b);
    #pragma omp parallel num_threads(threads)
    {
        int me = omp_get_thread_num(), i, j;
        for (i = 1; i <= rounds; i++) {
            if (me == 0 && microseconds) usleep(microseconds);
            __atomic_store_n(&reached[me], i, __ATOMIC_SEQ_CST);
            cnn_barrier(&b, threads);
            for (j = 0; j < threads; j++) if (__atomic_load_n(&reached[j], __ATOMIC_SEQ_CST) < i) *ahead = 1;
        }
    }
    *spin_shift = b.spin_shift;
    free(reached);
}
"""


@pytest.mark.skipif(not cnn_core.engine.openmp, reason="there are no teams without OpenMP")
@pytest.mark.parametrize(("threads", "rounds", "microseconds"), [(2, 3000, 0), (7, 300, 0), (2, 20, 5000)])
def test_nobody_is_ahead(tmp_path: Any, threads: int, rounds: int, microseconds: int) -> None:
    library = compiled(tmp_path, SOURCE, "-O2", "-fopenmp")
    ahead, spin_shift = np.zeros(1), np.zeros(1)
    call(library.meet, threads, rounds, microseconds, ahead, spin_shift)
    assert ahead == 0
    assert 0 <= spin_shift <= 7
    if microseconds:  # to spin was in vain each time
        assert spin_shift >= 4
