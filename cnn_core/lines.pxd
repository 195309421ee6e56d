"""Large images of few rows in wide networks: threads share out lines of pixels where there are fewer slabs than they.

A line of outputs or of deltas is the same sums whoever computes it. Gradients are summed over bands of lines, which
follow from sizes alone, each for itself, and then added up in their order.
"""
from libc.stdint cimport int32_t, int64_t

from cnn_core.add cimport add_branches
from cnn_core.convolution cimport (convolution_forward, convolution_gradient, convolution_slope, gradient_elements,
                                   slide, turned_columns)
from cnn_core.layer cimport layer_input
from cnn_core.slabs cimport Slabs, rows_of
from cnn_core.team cimport stopped
from cnn_core.tile cimport padded
from cnn_core.types cimport CONVOLUTION, LayerSpec, WorkspaceSpec, real

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
    return most


cdef inline bint lines_forward(const LayerSpec* layers, int i, const WorkspaceSpec* workspace, const Slabs* slabs,
                               const real* parameters, real* scratch, bint training, int thread, int n_threads,
                               const int32_t* stop) noexcept nogil:
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
                            layer_input(layers, i, workspace, <const real*>own, training), own,
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
                             const real* parameters, real* scratch, int64_t delta_column, int64_t next_column,
                             int thread, int n_threads, const int32_t* stop) noexcept nogil:
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
        slide(&layer.window, True, parameters + layer.weights, <const real*>NULL,
              <const real*>(own + delta_column * workspace.capacity), below, ld, first, end, stop)
        if layer.branches:
            add_branches(layers, i, workspace, <const real*>own, first * line, end * line, ld, below)
        item = s * lines + end
    return False
