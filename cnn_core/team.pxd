"""Teams of threads: see team.h."""

cdef extern from "team.h" nogil:
    ctypedef struct Barrier "cnn_barrier_t":
        pass
    void barrier "cnn_barrier"(Barrier*, int)
    int team_size "cnn_team_size"()
