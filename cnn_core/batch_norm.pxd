"""Batch normalisation (Ioffe & Szegedy 2015): a = f(g (x - mean) / sqrt(variance + epsilon) + b), unit by unit.

In a step mean and variance are those of all rows of the minibatch, whose slabs must all be here, the variance with the
divisor n; else they are the running ones. Each unit is one thread's, and its sums run over the slabs in their order.
Kept for the way back: z where f needs it, the normalised units and, behind those of the first slab, mean and variance.
"""
from libc.math cimport sqrt, sqrtf
from libc.stdint cimport int32_t
from libc.string cimport memset

from cnn_core.activations cimport activation_backward, activation_forward, activation_keeps_input
from cnn_core.layer_norm cimport gain_and_bias
from cnn_core.slabs cimport Slabs, rows_of
from cnn_core.team cimport stopped
from cnn_core.tile cimport padded, row_dots, row_sums
from cnn_core.types cimport BATCH_NORM, LayerSpec, WorkspaceSpec, real
from cnn_core.vecmath cimport loop

cdef enum:
    UNITS = 16      # whose sums stand on the stack


cdef inline bint over_rows(const LayerSpec* layer, bint training, Py_ssize_t rows) noexcept nogil:
    """Whether a layer needs all rows of the minibatch at once. One row has no variance, a frozen layer its own one."""
    return layer.kind == BATCH_NORM and training and layer.momentum > 0 and rows > 1


cdef inline loop inverse_deviations(const real* variance, Py_ssize_t n, real epsilon, real* inverse) noexcept nogil:
    """inverse (n,) = 1 / sqrt(variance + epsilon)."""
    cdef Py_ssize_t u
    for u in range(n):
        inverse[u] = <real>1 / (sqrtf(variance[u] + epsilon) if real is float else sqrt(variance[u] + epsilon))


cdef inline loop normalise_units(const real* x, const real* mean, const real* inverse, Py_ssize_t n, Py_ssize_t ld,
                                 real* out) noexcept nogil:
    """out (n, ld) = (x - mean) inverse; out may be x."""
    cdef Py_ssize_t u, k
    cdef real shift, factor
    for u in range(n):
        shift, factor = mean[u], inverse[u]
        for k in range(u * ld, (u + 1) * ld):
            out[k] = (x[k] - shift) * factor


cdef inline loop distances(const real* x, const real* mean, Py_ssize_t n, Py_ssize_t rows, Py_ssize_t ld,
                           real* out) noexcept nogil:
    """out (n, rows) = x - mean."""
    cdef Py_ssize_t u, r
    cdef real shift
    for u in range(n):
        shift = mean[u]
        for r in range(rows):
            out[u * ld + r] = x[u * ld + r] - shift


cdef inline loop turn_delta(const real* x, const real* factor, const real* mean, const real* product, Py_ssize_t n,
                            Py_ssize_t rows, Py_ssize_t ld, real* delta) noexcept nogil:
    """delta (n, rows) = factor (delta - mean - x product); beyond the last row it stays 0."""
    cdef Py_ssize_t u, r
    cdef real scale, shift, slope
    for u in range(n):
        scale, shift, slope = factor[u], mean[u], product[u]
        for r in range(rows):
            delta[u * ld + r] = scale * (delta[u * ld + r] - shift - x[u * ld + r] * slope)


cdef inline real* normalised(const LayerSpec* layer, const WorkspaceSpec* workspace, real* scratch) noexcept nogil:
    """Where the normalised units of a slab are kept; in prediction they become the output at once."""
    cdef int z_units = layer.n_units if activation_keeps_input(layer.activation) else 0
    return scratch + (layer.output if layer.saved < 0 else layer.saved + z_units) * workspace.capacity


cdef inline bint moments(const Slabs* slabs, const real* a, real* kept, Py_ssize_t u, Py_ssize_t n, real* mean,
                         real* variance, const int32_t* stop) noexcept nogil:
    """mean and variance (n,) of units u .. u + n - 1 over all rows; whether it was given up.

    a and kept (n_units, ld), which is written to, are those of the first slab.
    """
    cdef double sums[UNITS]
    cdef real part[UNITS]
    cdef real centre[UNITS]
    cdef Py_ssize_t s, j, ld, way
    cdef real* own
    ld = padded(rows_of(slabs, 0), a)
    for j in range(n):  # distances from a row: numbers far from 0 would lose digits in a sum
        centre[j] = a[(u + j) * ld]
    for way in range(2):  # sums, then those of squared distances from the mean
        for j in range(n):
            sums[j] = 0
        for s in range(slabs.n):
            if stopped(stop):
                return True
            ld = padded(rows_of(slabs, s), a)
            own = kept + s * slabs.stride + u * ld
            distances(a + s * slabs.stride + u * ld, <const real*>centre, n, rows_of(slabs, s), ld, own)
            for j in range(n):  # beyond the last row
                memset(own + j * ld + rows_of(slabs, s), 0, (ld - rows_of(slabs, s)) * sizeof(real))
            if way == 0:
                row_sums(n, ld, <const real*>own, ld, part, False)
            else:
                row_dots(n, ld, <const real*>own, <const real*>own, ld, part, False)
            for j in range(n):
                sums[j] += part[j]
        for j in range(n):
            if way == 0:
                mean[j] = centre[j] = <real>(centre[j] + sums[j] / slabs.rows)
            else:
                variance[j] = <real>(sums[j] / slabs.rows)
    return False


cdef inline bint batch_norm_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const Slabs* slabs,
                                    const real* parameters, const real* a, real* scratch, Py_ssize_t first,
                                    Py_ssize_t end, bint of_batch, const int32_t* stop) noexcept nogil:
    """Outputs of units first .. end - 1 for all slabs, from the input a of the first one; whether it was given up."""
    cdef Py_ssize_t u = first, n, s, ld, at
    cdef real* kept = normalised(layer, workspace, scratch)
    cdef real* batch = kept + layer.n_units * workspace.capacity  # mean, then variance; not there in prediction
    cdef real* z = scratch + layer.output * workspace.capacity
    cdef real* output = z
    cdef const real* mean
    cdef const real* variance
    cdef real inverse[UNITS]
    if layer.saved >= 0 and activation_keeps_input(layer.activation):
        z = scratch + layer.saved * workspace.capacity
    while u < end:
        n = min(end - u, <Py_ssize_t>UNITS)
        if of_batch:
            if moments(slabs, a, kept, u, n, batch + u, batch + layer.n_units + u, stop):
                return True
            mean, variance = batch + u, batch + layer.n_units + u
        else:
            mean, variance = parameters + layer.running_mean + u, parameters + layer.running_variance + u
        inverse_deviations(variance, n, <real>layer.epsilon, inverse)
        for s in range(slabs.n):
            if stopped(stop):
                return True
            ld = padded(rows_of(slabs, s), parameters)
            at = s * slabs.stride + u * ld
            normalise_units(a + at, mean, <const real*>inverse, n, ld, kept + at)
            gain_and_bias(parameters + layer.weights + u, parameters + layer.biases + u, <const real*>(kept + at), n,
                          ld, z + at)
            activation_forward(layer.activation, <const real*>(z + at), output + at, n * ld, <real>layer.alpha)
        u += n
    return False


cdef inline bint gradient_of_units(const LayerSpec* layer, const WorkspaceSpec* workspace, const Slabs* slabs,
                                   const real* scratch, const real* kept, Py_ssize_t u, Py_ssize_t n, real* delta,
                                   double* dg, double* db, const int32_t* stop) noexcept nogil:
    """delta (n_units, ld) of each slab becomes that of z; dg, db (n,) of units u .. u + n - 1 are sums of it.

    Whether it was given up.
    """
    cdef Py_ssize_t s, j, ld, at
    cdef real part[UNITS]
    cdef const real* slope = scratch + layer.output * workspace.capacity
    if activation_keeps_input(layer.activation):
        slope = scratch + layer.saved * workspace.capacity
    for j in range(n):
        dg[j] = db[j] = 0
    for s in range(slabs.n):
        if stopped(stop):
            return True
        ld = padded(rows_of(slabs, s), scratch)
        at = s * slabs.stride + u * ld
        activation_backward(layer.activation, slope + at, delta + at, n * ld, <real>layer.alpha)
        row_dots(n, ld, <const real*>(delta + at), kept + at, ld, part, False)
        for j in range(n):
            dg[j] += part[j]
        row_sums(n, ld, <const real*>(delta + at), ld, part, False)
        for j in range(n):
            db[j] += part[j]
    return False


cdef inline bint batch_norm_backward(const LayerSpec* layer, const WorkspaceSpec* workspace, const Slabs* slabs,
                                     const real* parameters, real* scratch, real* delta, Py_ssize_t first,
                                     Py_ssize_t end, bint of_batch, bint go_on, real* gradient, bint add,
                                     const int32_t* stop) noexcept nogil:
    """The gradient of units first .. end - 1 (+ gradient if add) and, to `go_on`, dL/d(input) of all slabs, in delta.

    `delta` is that of the first slab. What stands for the gradient of running averages is what a step takes off them.
    Whether it was given up.
    """
    cdef Py_ssize_t u = first, n, s, j, ld, at, units = layer.n_units
    cdef const real* kept = normalised(layer, workspace, scratch)
    cdef const real* mean
    cdef const real* variance
    cdef double dg[UNITS]
    cdef double db[UNITS]
    cdef real factor[UNITS]
    cdef real mean_delta[UNITS]
    cdef real mean_product[UNITS]
    while u < end:
        n = min(end - u, <Py_ssize_t>UNITS)
        mean, variance = parameters + layer.running_mean + u, parameters + layer.running_variance + u
        if gradient_of_units(layer, workspace, slabs, <const real*>scratch, kept, u, n, delta, dg, db, stop):
            return True
        if of_batch:
            move_averages(layer, slabs, kept + units * workspace.capacity + u, mean, variance, n,
                          gradient + layer.running_mean + u, gradient + layer.running_variance + u)
            mean = kept + units * workspace.capacity + u
            variance = mean + units
        inverse_deviations(variance, n, <real>layer.epsilon, factor)
        for j in range(n):
            factor[j] *= parameters[layer.weights + u + j]
            mean_delta[j] = <real>(db[j] / slabs.rows) if of_batch else 0
            mean_product[j] = <real>(dg[j] / slabs.rows) if of_batch else 0
            gradient[layer.weights + u + j] = <real>dg[j] + (gradient[layer.weights + u + j] if add else 0)
            gradient[layer.biases + u + j] = <real>db[j] + (gradient[layer.biases + u + j] if add else 0)
            if not of_batch:
                gradient[layer.running_mean + u + j] = gradient[layer.running_variance + u + j] = 0
        for s in range(slabs.n if go_on else 0):
            if stopped(stop):
                return True
            ld = padded(rows_of(slabs, s), parameters)
            at = s * slabs.stride + u * ld
            turn_delta(kept + at, <const real*>factor, <const real*>mean_delta, <const real*>mean_product, n,
                       rows_of(slabs, s), ld, delta + at)
        u += n
    return False


cdef inline void move_averages(const LayerSpec* layer, const Slabs* slabs, const real* batch, const real* mean,
                               const real* variance, Py_ssize_t n, real* mean_step, real* variance_step) noexcept nogil:
    """What a step takes off n running means and variances: a share of their distance from those of the minibatch.

    The variance has the divisor n - 1 there. Where several processes have a part of the minibatch each, their steps are
    added up, by rows. A mean that such a share would no longer move takes the whole way, which is a few roundings: a
    constant unit is to be 0 in prediction too.
    """
    cdef Py_ssize_t j
    cdef double share = slabs.share * layer.momentum, unbiased = <double>slabs.rows / (slabs.rows - 1)
    for j in range(n):
        mean_step[j] = <real>(share * (mean[j] - <double>batch[j]))
        if mean[j] - mean_step[j] == mean[j] and slabs.share == 1:
            mean_step[j] = mean[j] - batch[j]
        variance_step[j] = <real>(share * (variance[j] - unbiased * batch[layer.n_units + j]))
