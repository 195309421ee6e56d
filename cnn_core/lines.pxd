"""Convolutions and pooling in wide networks: parts of the slabs, each with a gradient of its own, or lines of pixels.

Threads share out lines where there are fewer slabs than they: large images of few rows. A line of outputs or of deltas
is the same sums whoever computes it. Gradients are summed over bands of lines, which follow from sizes alone, each for
itself, and then added up in their order.
"""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

from cnn_core.add cimport add_branches, add_units
from cnn_core.batch_norm cimport over_rows
from cnn_core.convolution cimport (convolution_delta, convolution_forward, convolution_gradient, convolution_slope,
                                   gradient_elements, turned_columns)
from cnn_core.layer cimport layer_backward, layer_input
from cnn_core.slabs cimport Slabs, rows_of
from cnn_core.team cimport stopped
from cnn_core.tile cimport padded
from cnn_core.types cimport CONVOLUTION, GROUP, LayerSpec, WorkspaceSpec, real

cdef enum:
    PARTS = 16      # gradients of a convolution that are added up, at most, each of some slabs
    BANDS = 8       # or of bands of their lines, where there are fewer slabs


cdef inline Py_ssize_t bands_of(const LayerSpec* layer, Py_ssize_t n_slabs) noexcept nogil:
    """In how many bands of lines the gradient of each slab is summed; 1: it is not cut."""
    return max(1, min(<Py_ssize_t>layer.window.out_height, BANDS // n_slabs))


cdef inline Py_ssize_t parts_of(const LayerSpec* layer, Py_ssize_t n_slabs) noexcept nogil:
    """How many gradients of a convolution there are before they are added."""
    cdef Py_ssize_t bands = bands_of(layer, n_slabs)
    return n_slabs * bands if bands > 1 else min(n_slabs, <Py_ssize_t>PARTS)


cdef inline Py_ssize_t partial_elements(const LayerSpec* layers, Py_ssize_t n_layers, Py_ssize_t n_slabs,
                                        Py_ssize_t capacity) noexcept nogil:
    """Elements of the gradients of a convolution's parts, and of a line's turned deltas for each band."""
    cdef Py_ssize_t i, most = 0
    for i in range(n_layers):
        if layers[i].kind == CONVOLUTION:  # a last minibatch may have fewer slabs, and more bands
            most = max(most, max(min(n_slabs, <Py_ssize_t>PARTS), <Py_ssize_t>BANDS) * gradient_elements(&layers[i])
                       + BANDS * turned_columns(&layers[i]) * capacity)
    return (most + GROUP - 1) // GROUP * GROUP  # what stands behind it begins on a line of cache


cdef inline bint lines_forward(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const Slabs* slabs,
                               const real* parameters, real* scratch, real* room, bint training, int thread,
                               int n_threads, const int32_t* stop) noexcept nogil:
    """This thread's lines of convolution i; whether it was given up."""
    cdef Py_ssize_t lines = layers[i].window.out_height, item = slabs.n * lines * thread // n_threads, s, end
    cdef Py_ssize_t last = slabs.n * lines * (thread + 1) // n_threads
    cdef real* own
    while item < last:
        s = item // lines
        end = min(last - s * lines, lines)
        if stopped(stop):
            return True
        own = scratch + s * slabs.stride
        convolution_forward(&layers[i], workspace, parameters,
                            layer_input(layers, i, workspace, <const real*>own, training), own, room,
                            padded(rows_of(slabs, s), parameters), item - s * lines, end, stop)
        item = s * lines + end
    return False


cdef inline bint lines_slope(const LayerSpec* layer, const WorkspaceSpec* workspace, const Slabs* slabs, real* scratch,
                             int64_t delta_column, int thread, int n_threads, const int32_t* stop) noexcept nogil:
    """This thread's lines of delta *= f'(z); whether it was given up."""
    cdef Py_ssize_t lines = layer.window.out_height, item = slabs.n * lines * thread // n_threads, s, end
    cdef Py_ssize_t last = slabs.n * lines * (thread + 1) // n_threads
    cdef real* own
    while item < last:
        s = item // lines
        end = min(last - s * lines, lines)
        if stopped(stop):
            return True
        own = scratch + s * slabs.stride
        convolution_slope(layer, workspace, <const real*>own, padded(rows_of(slabs, s), own), item - s * lines, end,
                          own + delta_column * workspace.capacity)
        item = s * lines + end
    return False


cdef inline bint bands_gradient(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const Slabs* slabs,
                                real* scratch, int64_t delta_column, real* partial, bint training, int thread,
                                int n_threads, const int32_t* stop) noexcept nogil:
    """The gradients of this thread's bands of convolution i, each in its part of `partial`; whether it was given up."""
    cdef const LayerSpec* layer = &layers[i]
    cdef Py_ssize_t bands = bands_of(layer, slabs.n), parts = slabs.n * bands, part, s, lines = layer.window.out_height
    cdef real* turned = partial + parts * gradient_elements(layer)
    cdef const real* own
    for part in range(parts * thread // n_threads, parts * (thread + 1) // n_threads):
        if stopped(stop):
            return True
        s = part // bands
        own = <const real*>scratch + s * slabs.stride
        convolution_gradient(layer, layer_input(layers, i, workspace, own, training),
                             own + delta_column * workspace.capacity, rows_of(slabs, s),
                             padded(rows_of(slabs, s), own), lines * (part % bands) // bands,
                             lines * (part % bands + 1) // bands,
                             turned + part * turned_columns(layer) * workspace.capacity,
                             partial + part * gradient_elements(layer) - layer.weights, False, stop)
    return False


cdef inline bint lines_delta(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const Slabs* slabs,
                             const real* parameters, real* scratch, real* room, int64_t delta_column,
                             int64_t next_column, int thread, int n_threads, const int32_t* stop) noexcept nogil:
    """This thread's lines of dL/d(input) of convolution i; whether it was given up."""
    cdef const LayerSpec* layer = &layers[i]
    cdef Py_ssize_t lines = layer.window.height, item = slabs.n * lines * thread // n_threads, s, first, end, ld
    cdef Py_ssize_t last = slabs.n * lines * (thread + 1) // n_threads, line = layer.n_inputs // lines
    cdef real* own
    cdef real* below
    while item < last:
        s = item // lines
        first, end = item - s * lines, min(last - s * lines, lines)
        if stopped(stop):
            return True
        own, ld = scratch + s * slabs.stride, padded(rows_of(slabs, s), parameters)
        below = own + next_column * workspace.capacity
        convolution_delta(layer, parameters, <const real*>(own + delta_column * workspace.capacity), room, ld, first,
                          end, below, stop)
        if layer.branches:
            add_branches(layers, i, workspace, <const real*>own, first * line, end * line, ld, below)
        item = s * lines + end
    return False


cdef inline bint slabs_backward(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const Slabs* slabs,
                                const real* parameters, real* scratch, real* room, int64_t delta_column,
                                int64_t next_column, real* partial, bint training, bint go_on, int thread,
                                int n_threads, const int32_t* stop) noexcept nogil:
    """Layer i, which writes dL/d(input) to another buffer, for this thread's parts of the slabs.

    Each part has a gradient of its own in `partial`. Whether it was given up.
    """
    cdef Py_ssize_t parts = parts_of(&layers[i], slabs.n), part, s, first, end, ld
    cdef real* own
    cdef real* below
    for part in range(parts * thread // n_threads, parts * (thread + 1) // n_threads):
        first, end = slabs.n * part // parts, slabs.n * (part + 1) // parts
        for s in range(first, end):
            if stopped(stop):
                return True
            own, ld = scratch + s * slabs.stride, padded(rows_of(slabs, s), parameters)
            below = own + next_column * workspace.capacity
            layer_backward(layers, i, workspace, parameters, own, room, rows_of(slabs, s), ld, training, s > first,
                           own + delta_column * workspace.capacity,
                           partial + part * gradient_elements(&layers[i]) - layers[i].weights, below, go_on, stop)
            if layers[i].branches and go_on:
                add_branches(layers, i, workspace, <const real*>own, 0, layers[i].n_inputs, ld, below)
    return False


cdef inline void sum_of_parts(const LayerSpec* layer, const Slabs* slabs, const real* partial, real* gradient,
                              int thread, int n_threads) noexcept nogil:
    """This thread's share of a convolution's gradient = the sum of its parts, in their order."""
    cdef Py_ssize_t size = gradient_elements(layer), first = size * thread // n_threads
    cdef Py_ssize_t end = size * (thread + 1) // n_threads, part
    memcpy(gradient + layer.weights + first, partial + first, (end - first) * sizeof(real))
    for part in range(1, parts_of(layer, slabs.n)):
        add_units(<const real*>(gradient + layer.weights + first), partial + part * size + first, end - first,
                  gradient + layer.weights + first)


cdef inline bint by_lines(const LayerSpec* layer, const Slabs* slabs, int n_threads) noexcept nogil:
    """Whether threads share out lines of a layer's images forward, for want of slabs."""
    return layer.kind == CONVOLUTION and slabs.n < n_threads and bands_of(layer, slabs.n) > 1


cdef inline int phase_from(const LayerSpec* layers, int first, int end, bint training, const Slabs* slabs,
                           int n_threads) noexcept nogil:
    """The first of layers first .. end - 1 that is a phase of its own, not one of slabs; `end` if none is."""
    while (first < end and not over_rows(&layers[first], training, slabs.rows)
           and not by_lines(&layers[first], slabs, n_threads)):
        first += 1
    return first
