"""A minibatch through wide layers, seen by one thread of a team: units are shared out instead of rows.

All slabs of the minibatch are in memory at once, layer after layer with a barrier in between. Each thread computes some
panels of units for all rows, so every weight is read once by the whole team and there is one gradient, not one for each
share of the rows. No sum is cut: no bit depends on the number of threads.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cnn_core.activations cimport activation_backward, activation_forward
from cnn_core.dense cimport dropout_units, layer_input
from cnn_core.random cimport Noise
from cnn_core.tile cimport padded, product, turn
from cnn_core.types cimport DENSE, LayerSpec, WorkspaceSpec, real

cdef enum:
    PANEL = 64      # units that are computed together
    TOGETHER = 2    # panels that a thread computes at a time
    DEPTH = 128     # weights of a panel that are used at a time: 32 kB in float32
    PAGE = 4096     # bytes after which addresses fall on the same lines of an L1 cache


# The slabs of a minibatch, and the deltas by rows: panel p of units has (rows, PANEL) at turned + p * rows * PANEL.
cdef struct Slabs:
    Py_ssize_t n
    Py_ssize_t rows             # of the minibatch
    Py_ssize_t capacity         # of a slab
    Py_ssize_t stride           # elements between the workspaces of two slabs
    Py_ssize_t turned_rows      # n * capacity


cdef inline Slabs make_slabs(const WorkspaceSpec* workspace, Py_ssize_t rows) noexcept nogil:
    cdef Slabs slabs
    slabs.rows, slabs.capacity = rows, workspace.capacity
    slabs.n = (rows + slabs.capacity - 1) // slabs.capacity
    slabs.stride = workspace.columns * workspace.capacity
    slabs.turned_rows = slabs.n * slabs.capacity
    return slabs


cdef inline Py_ssize_t rows_of(const Slabs* slabs, Py_ssize_t s) noexcept nogil:
    return min(slabs.rows - s * slabs.capacity, slabs.capacity)


# Some neighbouring panels of units, and slabs, which a thread computes together.
cdef struct Share:
    Py_ssize_t u            # its first unit
    Py_ssize_t units
    Py_ssize_t first        # slabs first .. end - 1
    Py_ssize_t end


cdef inline Share next_share(const Slabs* slabs, Py_ssize_t n, Py_ssize_t* item, Py_ssize_t last) noexcept nogil:
    """The next share of items item[0] .. last - 1, which are panels of n units by slabs; moves item on.

    Whole panels come several at a time: what they read of the other layer is fetched from the shared cache once.
    """
    cdef Share share
    cdef Py_ssize_t panels = 1
    share.u, share.first = item[0] // slabs.n * PANEL, item[0] % slabs.n
    share.end = min(share.first + last - item[0], slabs.n)
    if share.first == 0:
        panels = max(1, min((last - item[0]) // slabs.n, <Py_ssize_t>TOGETHER))
    share.units = min(n - share.u, panels * PANEL)
    item[0] += (panels - 1) * slabs.n + share.end - share.first
    return share


cdef inline void share_products(const Slabs* slabs, const Share* share, real* scratch, Py_ssize_t depth,
                                const real* weights, Py_ssize_t unit_stride, Py_ssize_t stride, const real* biases,
                                int64_t source, int64_t target) noexcept nogil:
    """target[u] = biases[u] + sum over k < depth of weights[u * unit_stride + k * stride] source[k], for a share.

    `source` and `target` say where the units' rows begin in a slab's workspace.
    """
    cdef Py_ssize_t panels = (share.units + PANEL - 1) // PANEL, p, u, k = 0, here, s, j, ld, own_stride
    cdef bint pack = unit_stride == 1 and stride * <Py_ssize_t>sizeof(real) % PAGE == 0
    cdef const real* block
    cdef real* own
    cdef real packed[TOGETHER * DEPTH * PANEL]
    while k < depth:
        here = min(depth - k, <Py_ssize_t>DEPTH)
        if pack:  # Rows of such a W lie on the same few lines of the cache; side by side they do not.
            for p in range(panels):
                for j in range(here):
                    memcpy(packed + (p * DEPTH + j) * PANEL, weights + share.u + p * PANEL + (k + j) * stride,
                           min(share.units - p * PANEL, <Py_ssize_t>PANEL) * sizeof(real))
        for s in range(share.first, share.end):
            ld = padded(rows_of(slabs, s), weights)
            own = scratch + s * slabs.stride
            for p in range(panels):
                u = share.u + p * PANEL
                block, own_stride = weights + u * unit_stride + k * stride, stride
                if pack:
                    block, own_stride = <const real*>(packed + p * DEPTH * PANEL), PANEL
                product(min(share.u + share.units - u, <Py_ssize_t>PANEL), rows_of(slabs, s), here, block, unit_stride,
                        own_stride, <const real*>(own + source + k * ld), ld, own + target + u * ld, ld,
                        biases + u if biases != NULL and k == 0 else NULL, k > 0, True)
        k += here


cdef inline void wide_forward(const LayerSpec* layers, int n_layers, int i, const WorkspaceSpec* workspace,
                              const Slabs* slabs, const real* parameters, real* scratch, Noise noise, int thread,
                              int n_threads) noexcept nogil:
    """This thread's panels of dense layer i, and of the dropouts above it, for all slabs."""
    cdef const LayerSpec* layer = &layers[i]
    cdef Py_ssize_t n = layer.n_units, capacity = workspace.capacity, s, ld
    cdef Py_ssize_t items = (n + PANEL - 1) // PANEL * slabs.n
    cdef Py_ssize_t item = items * thread // n_threads, last = items * (thread + 1) // n_threads
    cdef int64_t z = (layer.output if layer.saved < 0 else layer.saved) * capacity
    cdef Share share
    cdef real* own
    while item < last:
        share = next_share(slabs, n, &item, last)
        share_products(slabs, &share, scratch, layer.n_inputs, parameters + layer.weights, 1, n,
                       parameters + layer.biases if layer.biases >= 0 else <const real*>NULL,
                       layer_input(layers, i, workspace, <const real*>scratch, noise.training) - scratch, z)
        for s in range(share.first, share.end):
            ld = padded(rows_of(slabs, s), parameters)
            own = scratch + s * slabs.stride
            activation_forward(layer.activation, <const real*>(own + z + share.u * ld),
                               own + layer.output * capacity + share.u * ld, share.units * ld, <real>layer.alpha)
            noise.row = s * capacity
            wide_dropouts(layers, n_layers, i + 1, workspace, own, share.u, share.u + share.units, rows_of(slabs, s),
                          ld, noise)


cdef inline void wide_dropouts(const LayerSpec* layers, int n_layers, int first, const WorkspaceSpec* workspace,
                               real* own, Py_ssize_t u, Py_ssize_t end, Py_ssize_t rows, Py_ssize_t ld,
                               Noise noise) noexcept nogil:
    """The dropouts that stand directly above a dense layer, or below the first one, for some of its units."""
    cdef int j = first
    while noise.training and j < n_layers and layers[j].kind != DENSE:
        dropout_units(&layers[j], j, workspace, layer_input(layers, j, workspace, <const real*>own, True), own, u, end,
                      rows, ld, noise)
        j += 1


cdef inline void wide_delta(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, real* own, real* delta,
                            Py_ssize_t u, Py_ssize_t end, Py_ssize_t ld) noexcept nogil:
    """delta of some units of dense layer i, from that of its output: delta *= f'(z)."""
    cdef int64_t kept = layers[i].output if layers[i].saved < 0 else layers[i].saved
    activation_backward(layers[i].activation, <const real*>(own + kept * workspace.capacity + u * ld), delta + u * ld,
                        (end - u) * ld, <real>layers[i].alpha)


cdef inline void turn_panel(const Slabs* slabs, Py_ssize_t s, Py_ssize_t u, Py_ssize_t units, Py_ssize_t ld,
                            const real* delta, real* turned) noexcept nogil:
    """A panel's deltas of one slab, by rows."""
    turn(units, ld, delta + u * ld, ld, turned + (u // PANEL * slabs.turned_rows + s * slabs.capacity) * PANEL, PANEL,
         <real*>NULL, False)


cdef inline void wide_weights(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const Slabs* slabs,
                              const real* scratch, const real* turned, real* gradient, bint training, int thread,
                              int n_threads) noexcept nogil:
    """This thread's blocks of dW = a delta' and db, summed over all slabs."""
    cdef const LayerSpec* layer = &layers[i]
    cdef Py_ssize_t n = layer.n_units, m = layer.n_inputs
    cdef Py_ssize_t panels = (n + PANEL - 1) // PANEL, blocks = (m + PANEL - 1) // PANEL, items = panels * blocks, item
    cdef Py_ssize_t u, v, s, ld, units, inputs, k, group, together
    cdef const real* panel
    cdef const real* own
    cdef real* out
    cdef real block[PANEL * PANEL]  # rows of dW may lie on the same few lines of the cache; side by side they do not
    for item in range(items * thread // n_threads, items * (thread + 1) // n_threads):
        # Some panels at a time go through the inputs together, which are then fetched once for all of them.
        group = item // (blocks * TOGETHER)
        together = min(panels - group * TOGETHER, <Py_ssize_t>TOGETHER)
        k = item - group * blocks * TOGETHER
        u, v = (group * TOGETHER + k % together) * PANEL, k // together * PANEL
        units, inputs = min(n - u, <Py_ssize_t>PANEL), min(m - v, <Py_ssize_t>PANEL)
        panel = turned + u * slabs.turned_rows
        for s in range(slabs.n):
            ld = padded(rows_of(slabs, s), turned)
            own = scratch + s * slabs.stride
            product(inputs, units, rows_of(slabs, s), layer_input(layers, i, workspace, own, training) + v * ld, ld, 1,
                    panel + s * slabs.capacity * PANEL, PANEL, block, PANEL, <const real*>NULL, s > 0, False)
        out = gradient + layer.weights + v * n + u
        for k in range(inputs):
            memcpy(out + k * n, block + k * PANEL, units * sizeof(real))
        if v == 0 and layer.biases >= 0:
            column_sums(slabs, panel, min(n - u, <Py_ssize_t>PANEL), gradient + layer.biases + u)


cdef inline void column_sums(const Slabs* slabs, const real* panel, Py_ssize_t units, real* out) noexcept nogil:
    """out (units,) = sums over all rows; those of a slab first, which loses less than one long sum."""
    cdef real part[PANEL]
    cdef real sums[PANEL]
    cdef Py_ssize_t s, r, j
    cdef const real* row
    for j in range(PANEL):
        sums[j] = 0
    for s in range(slabs.n):
        for j in range(PANEL):
            part[j] = 0
        for r in range(rows_of(slabs, s)):
            row = panel + (s * slabs.capacity + r) * PANEL
            for j in range(PANEL):
                part[j] += row[j]
        for j in range(PANEL):
            sums[j] += part[j]
    memcpy(out, sums, units * sizeof(real))


cdef inline void wide_inputs(const LayerSpec* layers, int i, int below, const WorkspaceSpec* workspace,
                             const Slabs* slabs, const real* parameters, real* scratch, int64_t delta_column,
                             int64_t next_column, real* turned, bint training, int thread,
                             int n_threads) noexcept nogil:
    """This thread's panels of W delta, made the deltas of dense layer `below` at once."""
    cdef const LayerSpec* layer = &layers[i]
    cdef Py_ssize_t n = layer.n_units, m = layer.n_inputs, capacity = workspace.capacity, s, ld, r, v, end
    cdef Py_ssize_t items = (m + PANEL - 1) // PANEL * slabs.n
    cdef Py_ssize_t item = items * thread // n_threads, last = items * (thread + 1) // n_threads
    cdef Share share
    cdef real* own
    cdef real* next_delta
    cdef const real* mask
    cdef int j
    while item < last:
        share = next_share(slabs, m, &item, last)
        share_products(slabs, &share, scratch, n, parameters + layer.weights, n, 1, <const real*>NULL,
                       delta_column * capacity, next_column * capacity)
        end = share.u + share.units
        for s in range(share.first, share.end):
            ld = padded(rows_of(slabs, s), parameters)
            own = scratch + s * slabs.stride
            next_delta = own + next_column * capacity
            if training:
                for j in range(i - 1, below, -1):
                    mask = own + layers[j].saved * capacity
                    for r in range(share.u * ld, end * ld):
                        next_delta[r] *= mask[r]
            wide_delta(layers, below, workspace, own, next_delta, share.u, end, ld)
            v = share.u
            while v < end:
                turn_panel(slabs, s, v, min(end - v, <Py_ssize_t>PANEL), ld, <const real*>next_delta, turned)
                v += PANEL
