"""`--mpi`: a command that `mpiexec` runs in several processes, of which rank 0 speaks and writes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from cnn._common.errors import RankError
from cnn.cli.shown import one_line
from cnn.cli.source import Reading
from cnn.table.frames import TableError


def together(reading: Reading, work: Callable[[Any], None]) -> None:
    """work(communicator); where it fails on one rank, all processes end."""
    try:
        from mpi4py import MPI
    except ImportError:
        raise TableError("--mpi needs mpi4py (extra 'mpi'): pip install mpi4py mpich") from None
    if reading.path == "-":
        raise TableError("--mpi needs a file, which all processes can read, not standard input")
    comm = MPI.COMM_WORLD
    try:
        work(comm)
    except BaseException as error:
        if comm.size == 1:
            raise
        if comm.rank > 0:
            time.sleep(1)  # what they all say is said by rank 0
        if not isinstance(error, RankError):
            print(f"cnn: rank {comm.rank}: {one_line(error) or type(error).__name__}", file=sys.stderr, flush=True)
            time.sleep(0.2)  # mpiexec passes it on, unless it is ended first
        else:
            time.sleep(1)  # the one that failed says why
        comm.Abort(2)
