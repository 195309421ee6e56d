"""Dense layers on rows that are stored each by itself, and a thread's place in the team that shares out their units."""
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from cnn_core.activations cimport activation_forward
from cnn_core.team cimport Barrier, stopped
from cnn_core.tile cimport lanes, padded
from cnn_core.types cimport LayerSpec, real
from cnn_core.vecmath cimport loop


# A thread's place among those that work on the same rows; `stop` is NULL where nobody can end it.
cdef struct Place:
    int thread
    int n_threads
    Barrier* gate
    const int32_t* stop


cdef inline Place place_of(int thread, int n_threads, Barrier* gate, const int32_t* stop) noexcept nogil:
    cdef Place place
    place.thread, place.n_threads, place.gate, place.stop = thread, n_threads, gate, stop
    return place


cdef inline Place alone(const int32_t* stop) noexcept nogil:
    return place_of(0, 1, NULL, stop)


# Written out: of an inner loop a compiler may make products first and then sums, which has other bits than a tile's.

cdef inline loop add_8_rows(const real* x, const real* w, Py_ssize_t ldw, Py_ssize_t n, real* y) noexcept nogil:
    """y (n,) += x[0] w[0] + x[1] w[1] + ... for 8 rows of w (8, n), ldw apart, in this order."""
    cdef Py_ssize_t j
    cdef real s
    cdef real x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3], x4 = x[4], x5 = x[5], x6 = x[6], x7 = x[7]
    for j in range(n):
        s = y[j]
        s += x0 * w[j]
        s += x1 * w[ldw + j]
        s += x2 * w[2 * ldw + j]
        s += x3 * w[3 * ldw + j]
        s += x4 * w[4 * ldw + j]
        s += x5 * w[5 * ldw + j]
        s += x6 * w[6 * ldw + j]
        s += x7 * w[7 * ldw + j]
        y[j] = s


cdef inline loop add_4_rows(const real* x, const real* w, Py_ssize_t ldw, Py_ssize_t n, real* y) noexcept nogil:
    """The same of 4 rows."""
    cdef Py_ssize_t j
    cdef real s
    cdef real x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3]
    for j in range(n):
        s = y[j]
        s += x0 * w[j]
        s += x1 * w[ldw + j]
        s += x2 * w[2 * ldw + j]
        s += x3 * w[3 * ldw + j]
        y[j] = s


cdef inline loop add_1_row(const real* x, const real* w, Py_ssize_t ldw, Py_ssize_t n, real* y) noexcept nogil:
    """The same of one row."""
    cdef Py_ssize_t j
    cdef real s
    cdef real x0 = x[0]
    for j in range(n):
        s = y[j]
        s += x0 * w[j]
        y[j] = s


cdef inline void few_dense(const LayerSpec* layer, const real* parameters, const real* x, Py_ssize_t ldx,
                           Py_ssize_t rows, real* y, const Place* place) noexcept nogil:
    """This thread's units of y (rows, n_units padded) = f(x W + b) for x (rows, ldx).

    They are whole vectors. W, read once, is the most of the work.
    """
    cdef Py_ssize_t m = layer.n_inputs, ldw = layer.n_units, ldy = padded(ldw, parameters), step = lanes(parameters)
    cdef Py_ssize_t first = 0, end = ldy, n, r, k = 0
    cdef const real* w
    if place.n_threads > 1:  # divisions take longer than a small layer
        first = ldy // step * place.thread // place.n_threads * step
        end = ldy // step * (place.thread + 1) // place.n_threads * step
    if end == first or stopped(place.stop):
        return
    w, n, y = parameters + layer.weights + first, min(end, ldw) - first, y + first
    for r in range(rows):
        memset(y + r * ldy, 0, (end - first) * sizeof(real))
        if layer.biases >= 0:
            memcpy(y + r * ldy, parameters + layer.biases + first, n * sizeof(real))
    while k + 8 <= m:
        for r in range(rows):
            add_8_rows(x + r * ldx + k, w + k * ldw, ldw, n, y + r * ldy)
        k += 8
    if k + 4 <= m:
        for r in range(rows):
            add_4_rows(x + r * ldx + k, w + k * ldw, ldw, n, y + r * ldy)
        k += 4
    while k < m:
        for r in range(rows):
            add_1_row(x + r * ldx + k, w + k * ldw, ldw, n, y + r * ldy)
        k += 1
    for r in range(rows):
        activation_forward(layer.activation, <const real*>(y + r * ldy), y + r * ldy, end - first, <real>layer.alpha)
