"""Teams of threads: see team.h."""
from libc.stdint cimport uint64_t

cdef extern from "team.h" nogil:
    ctypedef struct Barrier "cnn_barrier_t":
        pass
    void barrier "cnn_barrier"(Barrier*, int)
    int team_size "cnn_team_size"()
    uint64_t flush "cnn_flush"()
    void unflush "cnn_unflush"(uint64_t)
