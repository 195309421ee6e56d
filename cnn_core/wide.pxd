"""A minibatch through wide layers, seen by one thread of a team: units are shared out instead of rows.

All slabs of the minibatch are in memory at once, layer after layer with a barrier in between. Each thread computes some
panels of units for all rows, so every weight is read once by the whole team and there is one gradient, not one for each
share of the rows. No sum is cut: no bit depends on the number of threads.
"""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

from cnn_core.activations cimport activation_backward, activation_forward
from cnn_core.add cimport add_branches
from cnn_core.batch_norm cimport batch_norm_backward, batch_norm_forward, over_rows
from cnn_core.convolution cimport terms_of
from cnn_core.dropout cimport dropout_units
from cnn_core.layer cimport layer_delta, layer_forward, layer_gradient, layer_input
from cnn_core.products cimport matmul
from cnn_core.random cimport Noise
from cnn_core.slabs cimport Slabs, rows_of
from cnn_core.team cimport stopped
from cnn_core.tile cimport padded, transpose
from cnn_core.types cimport BATCH_NORM, CONVOLUTION, DENSE, DROPOUT, LayerSpec, WorkspaceSpec, channels_of, real

cdef enum:
    PANEL = 64      # units or inputs that are computed together on the way back
    SPAN = 48       # units that are computed together on the way forward: whole vectors, and whole tiles of six
    DEPTH = 128     # terms of their sums that are computed at a time: 64 rows of a slab are 32 kB in float32


cdef inline int64_t weights_of(const LayerSpec* layers, Py_ssize_t n_layers) noexcept nogil:
    cdef int64_t size = 0
    cdef Py_ssize_t i
    for i in range(n_layers):
        if layers[i].kind == DENSE:
            size += <int64_t>layers[i].n_inputs * layers[i].n_units
    return size


cdef inline int64_t kernels_of(const LayerSpec* layers, Py_ssize_t n_layers) noexcept nogil:
    """Weights of the convolutions."""
    cdef int64_t size = 0
    cdef Py_ssize_t i
    for i in range(n_layers):
        if layers[i].kind == CONVOLUTION:
            size += <int64_t>layers[i].window.out_channels * terms_of(&layers[i].window)
    return size


cdef inline double work_of(const LayerSpec* layers, Py_ssize_t n_layers) noexcept nogil:
    """Multiply-adds of a row on its way forward, of dense and convolution layers."""
    cdef double work = 0
    cdef Py_ssize_t i
    for i in range(n_layers):
        if layers[i].kind == DENSE:
            work += <double>layers[i].n_inputs * layers[i].n_units
        elif layers[i].kind == CONVOLUTION:
            work += <double>layers[i].n_units * terms_of(&layers[i].window)
    return work


cdef inline Py_ssize_t transposed_elements(const LayerSpec* layers, Py_ssize_t n_layers,
                                           Py_ssize_t rows) noexcept nogil:
    """Elements of the deltas by rows, of so many rows: whole panels of the widest dense layer."""
    cdef Py_ssize_t i, widest = 0
    for i in range(n_layers):
        if layers[i].kind == DENSE:
            widest = max(widest, <Py_ssize_t>layers[i].n_units)
    return rows * ((widest + PANEL - 1) // PANEL * PANEL)


cdef inline bint wide_product(bint by_blas, const Slabs* slabs, Py_ssize_t first, Py_ssize_t last, Py_ssize_t u,
                              Py_ssize_t units, Py_ssize_t terms, const real* w, Py_ssize_t wi, Py_ssize_t wk,
                              const real* x, real* z, const real* start, const int32_t* stop) noexcept nogil:
    """z[i] = sum over k of w[i wi + k wk] x[k], from start[i] or 0, for i = u, u + 1, ... in slabs first .. last - 1.

    wi or wk is 1; units are SPAN at most unless wk is. x and z, by features, are those of the first slab of all.
    Whether it was given up, which is looked at every 10 us or so. BLAS cuts sums and copies weights by itself.
    """
    cdef Py_ssize_t k = 0, depth, j, s, ld, stride = wk
    cdef const real* block
    cdef const real* ahead
    cdef const real* weights
    cdef real packed[DEPTH * SPAN]
    while k < terms:
        depth = terms if by_blas else min(terms - k, <Py_ssize_t>DEPTH)
        weights = w + u * wi + k * wk
        if wk != 1 and not by_blas:
            # Rows of W lie far apart, some on the same few lines of a cache; side by side they do not.
            for j in range(depth):
                memcpy(packed + j * SPAN, weights + j * wk, units * sizeof(real))
            weights, stride = packed, SPAN
        for s in range(first, last):
            if stopped(stop):
                return True
            ld = padded(rows_of(slabs, s), w)
            block = x + s * slabs.stride + k * ld
            # What is read next: this block of the next slab, or what follows it in the first one.
            ahead = block + slabs.stride if s + 1 < last else x + first * slabs.stride + (k + depth) * ld
            matmul(by_blas, units, rows_of(slabs, s), depth, weights, wi, stride, block, ld,
                   z + s * slabs.stride + u * ld, ld, start + u if start != NULL and k == 0 else NULL, k > 0, True,
                   ahead, depth * ld)
        k += depth
    return False


cdef inline bint wide_forward(const LayerSpec* layers, int n_layers, int i, const WorkspaceSpec* workspace,
                              const Slabs* slabs, const real* parameters, real* scratch, Noise noise, int thread,
                              int n_threads, const int32_t* stop) noexcept nogil:
    """This thread's panels of dense layer i, and of the dropouts above it, for all slabs; whether it was given up."""
    cdef const LayerSpec* layer = &layers[i]
    cdef Py_ssize_t n = layer.n_units, capacity = workspace.capacity, items = (n + SPAN - 1) // SPAN * slabs.n
    cdef Py_ssize_t item = items * thread // n_threads, last = items * (thread + 1) // n_threads
    cdef Py_ssize_t u, units, s, first, end, ld
    cdef int64_t z_column = layer.output if layer.saved < 0 else layer.saved
    cdef real* own
    while item < last:
        u = item // slabs.n * SPAN
        units = min(n - u, <Py_ssize_t>SPAN)
        first, end = item % slabs.n, min(last - item + item % slabs.n, slabs.n)
        if wide_product(layer.by_blas, slabs, first, end, u, units, layer.n_inputs, parameters + layer.weights, 1, n,
                        layer_input(layers, i, workspace, <const real*>scratch, noise.training),
                        scratch + z_column * capacity, parameters + layer.biases if layer.biases >= 0 else NULL, stop):
            return True
        for s in range(first, end):
            if stopped(stop):
                return True
            ld = padded(rows_of(slabs, s), parameters)
            own = scratch + s * slabs.stride
            activation_forward(layer.activation, <const real*>(own + z_column * capacity + u * ld),
                               own + layer.output * capacity + u * ld, units * ld, <real>layer.alpha)
            noise.row = slabs.above + s * capacity
            wide_dropouts(layers, n_layers, i + 1, workspace, own, u, u + units, rows_of(slabs, s), ld, noise)
        item += end - first
    return False


cdef inline void wide_dropouts(const LayerSpec* layers, int n_layers, int first, const WorkspaceSpec* workspace,
                               real* own, Py_ssize_t u, Py_ssize_t end, Py_ssize_t rows, Py_ssize_t ld,
                               Noise noise) noexcept nogil:
    """The dropouts that stand directly above a dense layer, or below the first one, for some of its units."""
    cdef int j = first
    while noise.training and j < n_layers and layers[j].kind == DROPOUT:
        dropout_units(&layers[j], j, workspace, layer_input(layers, j, workspace, <const real*>own, True), own, u, end,
                      rows, ld, noise)
        j += 1


cdef inline int dense_from(const LayerSpec* layers, int n_layers, int first) noexcept nogil:
    """The first dense layer from `first` on; n_layers if there is none."""
    while first < n_layers and layers[first].kind != DENSE:
        first += 1
    return first


cdef inline int dropouts_from(const LayerSpec* layers, int n_layers, int first) noexcept nogil:
    """The first layer from `first` on that is no dropout; n_layers if there is none."""
    while first < n_layers and layers[first].kind == DROPOUT:
        first += 1
    return first


cdef inline void wide_slab_forward(const LayerSpec* layers, int first, int end, const WorkspaceSpec* workspace,
                                   const real* parameters, real* own, real* room, Py_ssize_t rows,
                                   Noise noise) noexcept nogil:
    """Layers first .. end - 1, none of them dense, for one slab."""
    cdef int i
    for i in range(first, end):
        layer_forward(layers, i, workspace, parameters,
                      layer_input(layers, i, workspace, <const real*>own, noise.training), own, room, rows,
                      padded(rows, parameters), noise, <const int32_t*>NULL)


cdef inline bint wide_slabs_forward(const LayerSpec* layers, int first, int end, const WorkspaceSpec* workspace,
                                    const Slabs* slabs, const real* parameters, real* scratch, real* room, Noise noise,
                                    int thread, int n_threads, const int32_t* stop) noexcept nogil:
    """Layers first .. end - 1, none of them dense, for this thread's slabs; whether it was given up."""
    cdef Py_ssize_t s
    for s in range(slabs.n * thread // n_threads, slabs.n * (thread + 1) // n_threads):
        if stopped(stop):
            return True
        noise.row = slabs.above + s * slabs.capacity
        wide_slab_forward(layers, first, end, workspace, parameters, scratch + s * slabs.stride, room,
                          rows_of(slabs, s), noise)
    return False


cdef inline bint wide_units_forward(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const Slabs* slabs,
                                    const real* parameters, real* scratch, int thread, int n_threads,
                                    const int32_t* stop) noexcept nogil:
    """This thread's units of layer i, which needs all rows at once, for all slabs; whether it was given up."""
    cdef Py_ssize_t n = channels_of(&layers[i])
    return batch_norm_forward(&layers[i], workspace, slabs, parameters,
                              layer_input(layers, i, workspace, <const real*>scratch, True), scratch,
                              n * thread // n_threads, n * (thread + 1) // n_threads, True, stop)


cdef inline bint wide_gradients(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const Slabs* slabs,
                                const real* parameters, real* scratch, int64_t delta_column, real* gradient,
                                bint training, bint go_on, int thread, int n_threads,
                                const int32_t* stop) noexcept nogil:
    """The gradient of this thread's channels of a layer that is not dense, summed over all slabs in their order.

    Batch normalisation makes dL/d(input) of them at once, to `go_on`. Whether it was given up.
    """
    cdef Py_ssize_t n = channels_of(&layers[i]), first = n * thread // n_threads, s
    cdef Py_ssize_t end = n * (thread + 1) // n_threads
    cdef const real* own
    if layers[i].kind == BATCH_NORM:
        return batch_norm_backward(&layers[i], workspace, slabs, parameters,
                                   layer_input(layers, i, workspace, <const real*>scratch, training), scratch,
                                   scratch + delta_column * workspace.capacity, first, end,
                                   over_rows(&layers[i], training, slabs.rows), go_on, gradient, False, stop)
    for s in range(slabs.n):
        if stopped(stop):
            return True
        own = <const real*>scratch + s * slabs.stride
        layer_gradient(layers, i, workspace, parameters, own, own + delta_column * workspace.capacity,
                       padded(rows_of(slabs, s), own), training, first, end, gradient, s > 0)
    return False


cdef inline void wide_delta(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, real* own, real* delta,
                            Py_ssize_t u, Py_ssize_t end, Py_ssize_t ld) noexcept nogil:
    """delta of some units of dense layer i, from that of its output: delta *= f'(z)."""
    cdef int64_t kept = layers[i].output if layers[i].saved < 0 else layers[i].saved
    activation_backward(layers[i].activation, <const real*>(own + kept * workspace.capacity + u * ld), delta + u * ld,
                        (end - u) * ld, <real>layers[i].alpha)


cdef inline void transpose_panel(const Slabs* slabs, Py_ssize_t s, Py_ssize_t u, Py_ssize_t units, Py_ssize_t ld,
                            const real* delta, real* transposed) noexcept nogil:
    """A panel's deltas of one slab, by rows."""
    cdef real* panel = transposed + (u // PANEL * slabs.transposed_rows + s * slabs.capacity) * PANEL
    transpose(units, ld, delta + u * ld, ld, panel, PANEL, <real*>NULL, False)


cdef inline bint wide_slabs_delta(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const Slabs* slabs,
                                  const real* parameters, real* scratch, int64_t delta_column, real* transposed,
                                  bint training, int thread, int n_threads, const int32_t* stop) noexcept nogil:
    """dL/d(input) of layer i, which is not dense, for this thread's slabs; deltas of a dense layer below it at once.

    Whether it was given up.
    """
    cdef Py_ssize_t s, u, ld, n = layers[i].n_inputs
    cdef real* own
    cdef real* delta
    for s in range(slabs.n * thread // n_threads, slabs.n * (thread + 1) // n_threads):
        if stopped(stop):
            return True
        own, ld = scratch + s * slabs.stride, padded(rows_of(slabs, s), parameters)
        delta = own + delta_column * workspace.capacity
        layer_delta(layers, i, workspace, parameters, own, delta, ld, training)
        if layers[i].branches:
            add_branches(layers, i, workspace, <const real*>own, 0, n, ld, delta)
        if i > 0 and layers[i - 1].kind == DENSE:
            wide_delta(layers, i - 1, workspace, own, delta, 0, n, ld)
            u = 0
            while u < n:
                transpose_panel(slabs, s, u, min(n - u, <Py_ssize_t>PANEL), ld, <const real*>delta, transposed)
                u += PANEL
    return False


cdef inline bint wide_weights(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const Slabs* slabs,
                              const real* scratch, const real* transposed, real* gradient, bint training, int thread,
                              int n_threads, const int32_t* stop) noexcept nogil:
    """This thread's blocks of dW = a delta' and db, summed over all slabs; whether it was given up."""
    cdef const LayerSpec* layer = &layers[i]
    cdef Py_ssize_t n = layer.n_units, m = layer.n_inputs, panels = (n + PANEL - 1) // PANEL
    cdef Py_ssize_t blocks = (m + PANEL - 1) // PANEL, items = blocks * panels, item, u, v, s, ld
    cdef Py_ssize_t units, inputs
    cdef const real* panel
    cdef const real* own
    cdef const real* d
    # Panels of units take turns for the same inputs: then dW is written along its rows.
    for item in range(items * thread // n_threads, items * (thread + 1) // n_threads):
        u, v = item % panels * PANEL, item // panels * PANEL
        units, inputs = min(n - u, <Py_ssize_t>PANEL), min(m - v, <Py_ssize_t>PANEL)
        panel = transposed + u * slabs.transposed_rows
        for s in range(slabs.n):
            if stopped(stop):
                return True
            ld = padded(rows_of(slabs, s), transposed)
            own = scratch + s * slabs.stride
            d = panel + s * slabs.capacity * PANEL
            matmul(layer.by_blas, inputs, units, rows_of(slabs, s),
                   layer_input(layers, i, workspace, own, training) + v * ld, ld, 1, d, PANEL,
                   gradient + layer.weights + v * n + u, n, <const real*>NULL, s > 0, False,
                   d + slabs.capacity * PANEL, slabs.capacity * PANEL)
        # Each panel's sums go with another block of inputs, so that the threads share them out.
        if item // panels == item % panels * blocks // panels and layer.biases >= 0:
            column_sums(slabs, panel, units, gradient + layer.biases + u)
    return False


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


cdef inline bint wide_inputs(const LayerSpec* layers, int i, int top, const WorkspaceSpec* workspace,
                             const Slabs* slabs, const real* parameters, real* scratch, int64_t delta_column,
                             int64_t next_column, real* transposed, bint training, int thread, int n_threads,
                             const int32_t* stop) noexcept nogil:
    """This thread's panels of W delta, seen through the dropouts down to layer `top`; whether it was given up.

    Where that layer is dense they become its deltas at once, by units and by rows.
    """
    cdef const LayerSpec* layer = &layers[i]
    cdef Py_ssize_t m = layer.n_inputs, capacity = workspace.capacity, items = (m + PANEL - 1) // PANEL * slabs.n
    cdef Py_ssize_t item = items * thread // n_threads, last = items * (thread + 1) // n_threads
    cdef Py_ssize_t v, inputs, s, first, end, ld, r
    cdef const real* mask
    cdef real* own
    cdef real* next_delta
    cdef int j
    while item < last:
        v = item // slabs.n * PANEL
        inputs = min(m - v, <Py_ssize_t>PANEL)
        first, end = item % slabs.n, min(last - item + item % slabs.n, slabs.n)
        if wide_product(layer.by_blas, slabs, first, end, v, inputs, layer.n_units, parameters + layer.weights,
                        layer.n_units, 1, <const real*>(scratch + delta_column * capacity),
                        scratch + next_column * capacity, <const real*>NULL, stop):
            return True
        for s in range(first, end):
            if stopped(stop):
                return True
            ld = padded(rows_of(slabs, s), parameters)
            own = scratch + s * slabs.stride
            next_delta = own + next_column * capacity
            if layer.branches:
                add_branches(layers, i, workspace, <const real*>own, v, v + inputs, ld, next_delta)
            for j in range(i - 1, top, -1):
                mask = own + layers[j].saved * capacity
                for r in range(v * ld, (v + inputs) * ld if training else 0):
                    next_delta[r] *= mask[r]
                if layers[j].branches:
                    add_branches(layers, j, workspace, <const real*>own, v, v + inputs, ld, next_delta)
            if top >= 0 and layers[top].kind == DENSE:
                wide_delta(layers, top, workspace, own, next_delta, v, v + inputs, ld)
                transpose_panel(slabs, s, v, inputs, ld, <const real*>next_delta, transposed)
        item += end - first
    return False
