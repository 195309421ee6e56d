"""One model trained by several processes, by MPI (extra `mpi`)."""
