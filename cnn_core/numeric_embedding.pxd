"""Numbers as sums of learnt cosines, on a slab: the first `columns` inputs become several numbers each, others pass on.

For a number x of a column q_m = cos(2 pi w_m x + b_m) for each cosine m, e_j = sum over m of V_jm q_m + c_j, and the
output is [e, x]: periodic embeddings with bias, linear and dense (Gorishniy, Rubachev & Babenko 2022; Holzmüller,
Grinsztajn & Steinwart 2024). Kept for the way back: the q of each column. Of a column `size` outputs come, e and x:
V is (columns, size - 1, cosines), c (columns, size - 1).
"""
from libc.string cimport memcpy, memmove

from cnn_core.tile cimport matmul_narrow, row_sums
from cnn_core.types cimport LayerSpec, WorkspaceSpec, real
from cnn_core.vecmath cimport loop, v_cos_turns, v_sin_turns

cdef enum:
    COSINES = 16    # whose gradients are computed together, over
    EMBEDDED = 64   # rows at a time, whole vectors


cdef inline Py_ssize_t size_of(const LayerSpec* layer) noexcept nogil:
    """How many outputs a column has."""
    return (layer.n_units - layer.n_inputs) // layer.columns + 1


cdef inline loop cosines_of(const real* x, real w, real b, Py_ssize_t rows, real* q) noexcept nogil:
    """q (rows,) = cos(2 pi w x + b)."""
    cdef Py_ssize_t r
    cdef real turn = b * <real>0.15915494309189533577
    for r in range(rows):
        q[r] = v_cos_turns(x[r] * w + turn)


cdef inline loop cosines_back(const real* x, real w, real b, Py_ssize_t rows, real* d) noexcept nogil:
    """d (rows,) *= -sin(2 pi w x + b)."""
    cdef Py_ssize_t r
    cdef real turn = b * <real>0.15915494309189533577
    for r in range(rows):
        d[r] = -d[r] * v_sin_turns(x[r] * w + turn)


cdef inline loop add_terms(const real* q, const real* v, Py_ssize_t stride, Py_ssize_t n, Py_ssize_t rows,
                           Py_ssize_t ld, real* out) noexcept nogil:
    """out (n, rows of ld) += v[j stride] q."""
    cdef Py_ssize_t j, r
    cdef real factor
    for j in range(n):
        factor = v[j * stride]
        for r in range(rows):
            out[j * ld + r] += factor * q[r]


cdef inline loop sum_terms(const real* d, const real* v, Py_ssize_t stride, Py_ssize_t n, Py_ssize_t rows,
                           Py_ssize_t ld, real* out) noexcept nogil:
    """out (rows,) = the sum over j of v[j stride] d[j], d (n, rows of ld)."""
    cdef Py_ssize_t j, r
    cdef real factor
    for r in range(rows):
        out[r] = 0
    for j in range(n):
        factor = v[j * stride]
        for r in range(rows):
            out[r] += factor * d[j * ld + r]


cdef inline loop add_multiple(real factor, const real* d, Py_ssize_t rows, real* out) noexcept nogil:
    """out (rows,) += factor d."""
    cdef Py_ssize_t r
    for r in range(rows):
        out[r] += factor * d[r]


cdef inline void embedding_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                   const real* a, real* scratch, Py_ssize_t ld) noexcept nogil:
    """output (n_units, ld): [e, x] of each column, then the inputs that pass on."""
    cdef Py_ssize_t size = size_of(layer), n = layer.cosines, c, k, m, j, r, rows, rest = layer.n_inputs - layer.columns
    cdef const real* v
    cdef const real* w = parameters + layer.frequencies
    cdef const real* b = parameters + layer.phases
    cdef real* out = scratch + layer.output * workspace.capacity
    cdef real* q
    cdef real one[EMBEDDED]
    for c in range(layer.columns):
        v = parameters + layer.weights + c * (size - 1) * n
        k = 0
        while k < ld:
            rows = min(ld - k, <Py_ssize_t>EMBEDDED)
            for j in range(size - 1):
                for r in range(rows):
                    out[(c * size + j) * ld + k + r] = parameters[layer.biases + c * (size - 1) + j]
            for m in range(n):
                q = one
                if layer.saved >= 0:
                    q = scratch + layer.saved * workspace.capacity + (c * n + m) * ld + k
                cosines_of(a + c * ld + k, w[c * n + m], b[c * n + m], rows, q)
                add_terms(<const real*>q, v + m, n, size - 1, rows, ld, out + c * size * ld + k)
            k += rows
        memcpy(out + (c * size + size - 1) * ld, a + c * ld, ld * sizeof(real))
    memcpy(out + layer.columns * size * ld, a + layer.columns * ld, rest * ld * sizeof(real))


cdef inline void embedding_gradient(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                    const real* scratch, const real* a, const real* delta, Py_ssize_t ld,
                                    Py_ssize_t first, Py_ssize_t end, real* gradient, bint add) noexcept nogil:
    """The gradients of the columns whose first output is among units first .. end - 1."""
    cdef Py_ssize_t size = size_of(layer), c
    for c in range((first + size - 1) // size, min((end + size - 1) // size, <Py_ssize_t>layer.columns)):
        row_sums(size - 1, ld, delta + c * size * ld, ld, gradient + layer.biases + c * (size - 1), add)
        column_gradient(layer, c, parameters, scratch + layer.saved * workspace.capacity + c * layer.cosines * ld,
                        a + c * ld, delta + c * size * ld, ld, gradient, add)


cdef inline void column_gradient(const LayerSpec* layer, Py_ssize_t c, const real* parameters, const real* q,
                                 const real* x, const real* delta, Py_ssize_t ld, real* gradient,
                                 bint add) noexcept nogil:
    """dV, dw and db of one column from its q (cosines, ld), x (ld,) and delta (size, ld)."""
    cdef Py_ssize_t outputs = size_of(layer) - 1, n = layer.cosines, k = 0, rows, m, i, here, j, r
    cdef const real* v = parameters + layer.weights + c * outputs * n
    cdef real* dv = gradient + layer.weights + c * outputs * n
    cdef real du[COSINES * EMBEDDED]
    cdef real turns[EMBEDDED]
    while k < ld:
        rows = min(ld - k, <Py_ssize_t>EMBEDDED)
        for r in range(rows):
            turns[r] = <real>6.283185307179586477 * x[k + r]
        m = 0
        while m < n:
            here = min(n - m, <Py_ssize_t>COSINES)
            for i in range(here):
                sum_terms(delta + k, v + m + i, n, outputs, rows, ld, du + i * EMBEDDED)
                cosines_back(x + k, parameters[layer.frequencies + c * n + m + i],
                             parameters[layer.phases + c * n + m + i], rows, du + i * EMBEDDED)
            for j in range(outputs):
                matmul_narrow(here, 1, rows, q + m * ld + k, ld, delta + j * ld + k, ld, dv + j * n + m, add or k > 0)
            matmul_narrow(here, 1, rows, <const real*>du, EMBEDDED, <const real*>turns, EMBEDDED,
                          gradient + layer.frequencies + c * n + m, add or k > 0)
            row_sums(here, rows, <const real*>du, EMBEDDED, gradient + layer.phases + c * n + m, add or k > 0)
            m += here
        k += rows


cdef inline void embedding_backward(const LayerSpec* layer, const real* parameters, const real* a, real* delta,
                                    Py_ssize_t ld) noexcept nogil:
    """delta (n_units, ld) becomes dL/d(input) (n_inputs, ld): dx = the delta of x + sum over m of 2 pi w_m du_m."""
    cdef Py_ssize_t size = size_of(layer), n = layer.cosines, c, k, m, rows, rest = layer.n_inputs - layer.columns
    cdef const real* v
    cdef const real* w = parameters + layer.frequencies
    cdef real du[EMBEDDED]
    cdef real dx[EMBEDDED]
    for c in range(layer.columns):
        v = parameters + layer.weights + c * (size - 1) * n
        k = 0
        while k < ld:
            rows = min(ld - k, <Py_ssize_t>EMBEDDED)
            memcpy(dx, delta + (c * size + size - 1) * ld + k, rows * sizeof(real))
            for m in range(n):
                sum_terms(<const real*>(delta + c * size * ld + k), v + m, n, size - 1, rows, ld, du)
                cosines_back(a + c * ld + k, w[c * n + m], parameters[layer.phases + c * n + m], rows, du)
                add_multiple(<real>6.283185307179586477 * w[c * n + m], <const real*>du, rows, dx)
            memcpy(delta + c * ld + k, dx, rows * sizeof(real))  # of outputs that nobody needs any more
            k += rows
    memmove(delta + layer.columns * ld, delta + layer.columns * size * ld, rest * ld * sizeof(real))
