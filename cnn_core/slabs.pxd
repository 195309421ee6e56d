"""The slabs of a minibatch that are in memory at once, for layers that all its rows go through together."""
from cnn_core.types cimport WorkspaceSpec


# The slabs of a minibatch, and the deltas by rows: panel p of units has (rows, PANEL) at transposed + p * rows * PANEL.
cdef struct Slabs:
    Py_ssize_t n
    Py_ssize_t rows             # of the minibatch, or of this process's share of it
    Py_ssize_t above            # rows of the minibatch that other processes have, before these
    Py_ssize_t capacity         # of a slab
    Py_ssize_t stride           # elements between the workspaces of two slabs
    Py_ssize_t transposed_rows      # n * capacity
    double share                # of the minibatch whose gradients are added up; 1: all of it is here


cdef inline Slabs make_slabs(const WorkspaceSpec* workspace, Py_ssize_t rows, Py_ssize_t above) noexcept nogil:
    cdef Slabs slabs
    slabs.rows, slabs.above, slabs.capacity, slabs.share = rows, above, workspace.capacity, 1
    slabs.n = (rows + slabs.capacity - 1) // slabs.capacity
    slabs.stride = workspace.columns * workspace.capacity
    slabs.transposed_rows = slabs.n * slabs.capacity
    return slabs


cdef inline Py_ssize_t rows_of(const Slabs* slabs, Py_ssize_t s) noexcept nogil:
    return min(slabs.rows - s * slabs.capacity, slabs.capacity)
