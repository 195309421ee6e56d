"""Teams of threads: see team.h."""
from libc.stdint cimport int32_t, uint64_t

cdef extern from "team.h" nogil:
    ctypedef struct Barrier "cnn_barrier_t":
        pass
    void barrier "cnn_barrier"(Barrier*, int)
    int team_size "cnn_team_size"()
    int granted "cnn_granted"(int)
    uint64_t flush "cnn_flush"()
    void unflush "cnn_unflush"(uint64_t)
    int32_t peek "cnn_peek"(const int32_t*)
    void note "cnn_note"(int32_t*, int32_t)


cdef inline bint stopped(const int32_t* stop) noexcept nogil:
    """Whether somebody outside wants the call to end; `stop` is NULL where nobody can."""
    return stop != NULL and peek(stop) != 0
