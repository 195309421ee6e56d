"""The metrics that a fit takes by default, from raw outputs: rmse and accuracy, by the definitions of cnn.metrics.

Sums go in float64, tile by tile of rows.
"""
from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from cnn_core.links cimport link_block
from cnn_core.losses cimport loss_link
from cnn_core.tile cimport gather, padded
from cnn_core.types cimport real

cdef enum:
    METRIC_ROWS = 64    # of a tile


cdef enum Metric:
    RMSE
    CLASSES_MET     # accuracy, of one class a row
    ANSWERS_MET     # accuracy, of yes or no for each output


# A metric of some rows; the outputs are what changes.
cdef struct MetricSpec:
    int kind                # Metric
    int loss                # whose link is applied to the outputs
    Py_ssize_t n_rows
    Py_ssize_t n_outputs
    const double* targets   # rmse: (n_rows, n_outputs)
    const int32_t* labels   # accuracy: classes (n_rows,), or 0 and 1 (n_rows, n_outputs)
    const void* weights     # (n_rows,), NULL: 1 each
    double weight           # their sum
    void* scratch           # of metric_scratch bytes


cdef inline size_t metric_scratch(Py_ssize_t n_outputs) noexcept nogil:
    return n_outputs * (sizeof(double) + METRIC_ROWS * sizeof(double))


cdef inline double weight_of(const real* weights, Py_ssize_t row) noexcept nogil:
    return 1.0 if weights == NULL else <double>weights[row]


cdef inline void add_squares(const MetricSpec* spec, const real* p, Py_ssize_t first, Py_ssize_t rows, Py_ssize_t ld,
                             double* sums) noexcept nogil:
    """sums (n_outputs,) += w (p - t)^2 of a tile of predictions p (n_outputs, ld)."""
    cdef const real* weights = <const real*>spec.weights
    cdef Py_ssize_t k = spec.n_outputs, r, j
    cdef double d, s
    for j in range(k):
        s = 0
        for r in range(rows):
            d = <double>p[j * ld + r] - spec.targets[(first + r) * k + j]
            s += weight_of(weights, first + r) * (d * d)
        sums[j] += s


cdef inline double classes_met(const MetricSpec* spec, const real* p, Py_ssize_t first, Py_ssize_t rows,
                               Py_ssize_t ld) noexcept nogil:
    """The weight of the rows whose largest output, the first of several, is that of their class."""
    cdef Py_ssize_t r, j, best
    cdef double s = 0
    for r in range(rows):
        best = 0
        for j in range(1, spec.n_outputs):
            if p[j * ld + r] > p[best * ld + r]:
                best = j
        if best == spec.labels[first + r]:
            s += weight_of(<const real*>spec.weights, first + r)
    return s


cdef inline double answers_met(const MetricSpec* spec, const real* p, Py_ssize_t first, Py_ssize_t rows,
                               Py_ssize_t ld) noexcept nogil:
    """The weight of the rows all of whose outputs say yes, above one half, where their labels do."""
    cdef Py_ssize_t k = spec.n_outputs, r, j
    cdef double s = 0
    cdef bint met
    for r in range(rows):
        met = True
        for j in range(k):
            met = met and (p[j * ld + r] > <real>0.5) == spec.labels[(first + r) * k + j]
        if met:
            s += weight_of(<const real*>spec.weights, first + r)
    return s


cdef inline double metric_value(const MetricSpec* spec, const real* outputs) noexcept nogil:
    """The metric of raw outputs (n_rows, n_outputs)."""
    cdef Py_ssize_t k = spec.n_outputs, first = 0, rows, ld, j
    cdef double* sums = <double*>spec.scratch
    cdef real* p = <real*>(sums + k)
    cdef double s = 0
    memset(sums, 0, k * sizeof(double))
    while first < spec.n_rows:
        rows = min(spec.n_rows - first, <Py_ssize_t>METRIC_ROWS)
        ld = padded(rows, <const real*>p)
        gather(rows, ld, k, outputs, <const int64_t*>NULL, first, p)
        link_block(loss_link(spec.loss), <const real*>p, p, k, ld)
        if spec.kind == RMSE:
            add_squares(spec, <const real*>p, first, rows, ld, sums)
        elif spec.kind == CLASSES_MET:
            sums[0] += classes_met(spec, <const real*>p, first, rows, ld)
        else:
            sums[0] += answers_met(spec, <const real*>p, first, rows, ld)
        first += rows
    if spec.kind != RMSE:
        return sums[0] / spec.weight
    for j in range(k):
        s += sqrt(sums[j] / spec.weight)
    return s / k
