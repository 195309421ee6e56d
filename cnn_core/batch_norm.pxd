"""Batch normalisation (Ioffe & Szegedy 2015): a = f(g (x - mean) / sqrt(variance + epsilon) + b), channel by channel.

A unit is a channel of an image of one pixel. In a step mean and variance are those of all rows of the minibatch, whose
slabs must all be here, and of all pixels, the variance with the divisor n; else they are the running ones. Each channel
is one thread's, and its sums run over the slabs in their order. Some channels of a pixel, CELL numbers of a slab at
most, are worked on at a time (norm_cells.pxd).
Kept for the way back: z where f needs it, and in the first slab mean and variance.
"""
from libc.math cimport sqrt, sqrtf
from libc.stdint cimport int32_t

from cnn_core.activations cimport activation_backward, activation_forward, activation_keeps_input
from cnn_core.norm_cells cimport (CELL, CHANNELS, PIXELS, Cell, cell_of, clear_padding, distance_cell, normalise_cell,
                                  slope_cell, square_cell, sums_of_cell, turn_cell)
from cnn_core.slabs cimport Slabs, rows_of
from cnn_core.team cimport stopped
from cnn_core.tile cimport padded
from cnn_core.types cimport BATCH_NORM, LayerSpec, WorkspaceSpec, channels_of, real
from cnn_core.vecmath cimport loop


cdef inline bint over_rows(const LayerSpec* layer, bint training, Py_ssize_t rows) noexcept nogil:
    """Whether a layer needs all rows of the minibatch at once. One number has no variance, a frozen layer its own one.
    """
    return layer.kind == BATCH_NORM and training and layer.momentum > 0 and rows * layer.pixels > 1


cdef inline Py_ssize_t channels_at_once(const Slabs* slabs, Py_ssize_t left, const real* kind) noexcept nogil:
    """How many of the channels that are left have room in a cell."""
    return min(left, max(CELL // padded(rows_of(slabs, 0), kind), <Py_ssize_t>1), <Py_ssize_t>CHANNELS)


cdef inline loop inverse_deviations(const real* variance, Py_ssize_t n, real epsilon, real* inverse) noexcept nogil:
    """inverse (n,) = 1 / sqrt(variance + epsilon)."""
    cdef Py_ssize_t u
    for u in range(n):
        inverse[u] = <real>1 / (sqrtf(variance[u] + epsilon) if real is float else sqrt(variance[u] + epsilon))


cdef inline void cell_moments(const Cell* cell, const real* x, Py_ssize_t step, Py_ssize_t pixels, Py_ssize_t n,
                              const real* centre, double* mean, double* squares) noexcept nogil:
    """mean (n,) and summed squared distances from it of a cell, over pixels that are `step` elements apart.

    The mean is a distance from the centre: numbers far from 0 would lose digits in a sum.
    """
    cdef real sums[CELL]
    cdef real part[CHANNELS]
    cdef real means[CHANNELS]
    cdef Py_ssize_t p, j
    for p in range(pixels):
        distance_cell(x + p * step, centre, n, cell.span, p == 0, sums)
    sums_of_cell(cell, n, sums, part)
    for j in range(n):
        mean[j] = centre[j] + part[j] / <double>(pixels * cell.rows)
        means[j] = <real>mean[j]
    for p in range(pixels):
        square_cell(x + p * step, <const real*>means, n, cell.span, p == 0, sums)
    sums_of_cell(cell, n, sums, part)
    for j in range(n):
        squares[j] = part[j]


cdef inline bint moments(const LayerSpec* layer, const Slabs* slabs, const real* a, Py_ssize_t u, Py_ssize_t n,
                         real* mean, real* variance, const int32_t* stop) noexcept nogil:
    """mean and variance (n,) of channels u .. u + n - 1 over all rows and pixels; whether it was given up.

    a (n_units, ld) is that of the first slab. Each cell has its own, put together by Chan, Golub & LeVeque (1979).
    """
    cdef double means[CHANNELS]
    cdef double squares[CHANNELS]
    cdef double mean_here[CHANNELS]
    cdef double squares_here[CHANNELS]
    cdef real centre[CHANNELS]
    cdef Py_ssize_t s, j, ld, at, p, pixels
    cdef double count = 0, here, d
    cdef Cell cell
    for j in range(n):
        centre[j] = a[(u + j) * padded(rows_of(slabs, 0), a)]
        means[j] = squares[j] = 0
    for s in range(slabs.n):
        ld, at = padded(rows_of(slabs, s), a), 0
        while at < n * ld:
            cell = cell_of(at, n, rows_of(slabs, s), ld)
            p = 0
            while p < layer.pixels:
                if stopped(stop):
                    return True
                pixels = min(layer.pixels - p, <Py_ssize_t>PIXELS)
                cell_moments(&cell, a + s * slabs.stride + (p * channels_of(layer) + u) * ld + at,
                             channels_of(layer) * ld, pixels, n, <const real*>centre, mean_here, squares_here)
                here = pixels * cell.rows
                for j in range(n):
                    d = mean_here[j] - means[j]
                    means[j] += d * (here / (count + here))
                    squares[j] += squares_here[j] + d * d * (count * here / (count + here))
                count += here
                p += pixels
            at += cell.size
    for j in range(n):
        mean[j], variance[j] = <real>means[j], <real>(squares[j] / count)
    return False


cdef inline real* batch_moments(const LayerSpec* layer, const WorkspaceSpec* workspace, real* scratch) noexcept nogil:
    """Where mean and variance of the minibatch are kept, those of all channels each."""
    cdef int z_units = layer.n_units if activation_keeps_input(layer.activation) else 0
    return scratch + (layer.saved + z_units) * workspace.capacity


cdef inline bint batch_norm_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const Slabs* slabs,
                                    const real* parameters, const real* a, real* scratch, Py_ssize_t first,
                                    Py_ssize_t end, bint of_batch, const int32_t* stop) noexcept nogil:
    """Outputs of channels first .. end - 1 for all slabs, from the input a of the first; whether it was given up."""
    cdef Py_ssize_t u = first, n, s, channels = channels_of(layer)
    cdef real* batch = batch_moments(layer, workspace, scratch)
    cdef const real* mean
    cdef const real* variance
    while u < end:
        n = channels_at_once(slabs, end - u, parameters)
        mean, variance = parameters + layer.running_mean + u, parameters + layer.running_variance + u
        if of_batch:
            if moments(layer, slabs, a, u, n, batch + u, batch + channels + u, stop):
                return True
            mean, variance = batch + u, batch + channels + u
        for s in range(slabs.n):
            if stopped(stop):
                return True
            normalise_slab(layer, workspace, parameters, a + s * slabs.stride, scratch + s * slabs.stride, u, n, mean,
                           variance, rows_of(slabs, s))
        u += n
    return False


cdef inline void normalise_slab(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                const real* a, real* own, Py_ssize_t u, Py_ssize_t n, const real* mean,
                                const real* variance, Py_ssize_t rows) noexcept nogil:
    """Outputs of channels u .. u + n - 1 of one slab."""
    cdef real* output = own + layer.output * workspace.capacity
    cdef real* z = output
    cdef real factor[CHANNELS]
    cdef Py_ssize_t ld = padded(rows, parameters), at = 0, p, j, k
    cdef Cell cell
    if layer.saved >= 0 and activation_keeps_input(layer.activation):
        z = own + layer.saved * workspace.capacity
    inverse_deviations(variance, n, <real>layer.epsilon, factor)
    for j in range(n):
        factor[j] *= parameters[layer.weights + u + j]
    while at < n * ld:
        cell = cell_of(at, n, rows, ld)
        for p in range(layer.pixels):
            k = (p * channels_of(layer) + u) * ld + at
            normalise_cell(a + k, mean, <const real*>factor, parameters + layer.biases + u, n, cell.span, z + k)
            activation_forward(layer.activation, <const real*>(z + k), output + k, cell.size, <real>layer.alpha)
        at += cell.size


cdef inline bint sums_of_delta(const LayerSpec* layer, const WorkspaceSpec* workspace, const Slabs* slabs,
                               const real* a, const real* scratch, Py_ssize_t u, Py_ssize_t n, const real* mean,
                               real* delta, double* products, double* sums, const int32_t* stop) noexcept nogil:
    """delta of each slab becomes that of z; sums of it and of it times (x - mean), for channels u .. u + n - 1 (n,).

    Whether it was given up.
    """
    cdef const real* slope = scratch + layer.output * workspace.capacity
    cdef real own_sums[CELL]
    cdef real own_products[CELL]
    cdef real part[CHANNELS]
    cdef Py_ssize_t s, j, ld, at, p, k
    cdef Cell cell
    if activation_keeps_input(layer.activation):
        slope = scratch + layer.saved * workspace.capacity
    for j in range(n):
        sums[j] = products[j] = 0
    for s in range(slabs.n):
        if stopped(stop):
            return True
        ld, at = padded(rows_of(slabs, s), scratch), 0
        while at < n * ld:
            cell = cell_of(at, n, rows_of(slabs, s), ld)
            for p in range(layer.pixels):
                k = s * slabs.stride + (p * channels_of(layer) + u) * ld + at
                activation_backward(layer.activation, slope + k, delta + k, cell.size, <real>layer.alpha)
                slope_cell(<const real*>(delta + k), a + k, mean, n, cell.span, p == 0, own_sums,
                           own_products)
            sums_of_cell(&cell, n, own_sums, part)
            for j in range(n):
                sums[j] += part[j]
            sums_of_cell(&cell, n, own_products, part)
            for j in range(n):
                products[j] += part[j]
            at += cell.size
    return False


cdef inline bint batch_norm_backward(const LayerSpec* layer, const WorkspaceSpec* workspace, const Slabs* slabs,
                                     const real* parameters, const real* a, real* scratch, real* delta,
                                     Py_ssize_t first, Py_ssize_t end, bint of_batch, bint go_on, real* gradient,
                                     bint add, const int32_t* stop) noexcept nogil:
    """The gradient of channels first .. end - 1 (+ gradient if add) and, to `go_on`, dL/d(input) of all slabs in delta.

    Input `a` and `delta` are those of the first slab. What stands for the gradient of running averages is what a step
    takes off them. Whether it was given up.
    """
    cdef Py_ssize_t u = first, n, s, j
    cdef double numbers = <double>slabs.rows * layer.pixels
    cdef real* batch = batch_moments(layer, workspace, scratch)
    cdef const real* mean
    cdef const real* variance
    cdef double dg[CHANNELS]
    cdef double db[CHANNELS]
    cdef real factor[CHANNELS]
    cdef real mean_delta[CHANNELS]
    cdef real slope[CHANNELS]
    cdef real* dw = gradient + layer.weights
    while u < end:
        n = channels_at_once(slabs, end - u, parameters)
        mean, variance = parameters + layer.running_mean + u, parameters + layer.running_variance + u
        if of_batch:
            move_averages(layer, slabs, numbers, batch + u, batch + channels_of(layer) + u, mean, variance, n,
                          gradient + layer.running_mean + u, gradient + layer.running_variance + u)
            mean, variance = batch + u, batch + channels_of(layer) + u
        if sums_of_delta(layer, workspace, slabs, a, <const real*>scratch, u, n, mean, delta, dg, db, stop):
            return True
        inverse_deviations(variance, n, <real>layer.epsilon, factor)
        for j in range(n):
            dg[j] *= factor[j]
            slope[j] = <real>(parameters[layer.weights + u + j] * dg[j] * factor[j] * factor[j] / numbers)
            mean_delta[j] = <real>(db[j] / numbers)
            factor[j] *= parameters[layer.weights + u + j]
            dw[u + j] = <real>dg[j] + (dw[u + j] if add else 0)
            gradient[layer.biases + u + j] = <real>db[j] + (gradient[layer.biases + u + j] if add else 0)
            if not of_batch:
                mean_delta[j] = slope[j] = 0
                gradient[layer.running_mean + u + j] = gradient[layer.running_variance + u + j] = 0
        for s in range(slabs.n if go_on else 0):
            if stopped(stop):
                return True
            turn_slab(layer, a + s * slabs.stride, u, n, mean, <const real*>factor, <const real*>mean_delta,
                      <const real*>slope, rows_of(slabs, s), delta + s * slabs.stride)
        u += n
    return False


cdef inline void turn_slab(const LayerSpec* layer, const real* a, Py_ssize_t u, Py_ssize_t n, const real* mean,
                           const real* factor, const real* mean_delta, const real* slope, Py_ssize_t rows,
                           real* delta) noexcept nogil:
    """delta of z becomes dL/d(input) for channels u .. u + n - 1 of one slab; beyond the last row it stays 0."""
    cdef Py_ssize_t ld = padded(rows, a), at = 0, p, k
    cdef Cell cell
    while at < n * ld:
        cell = cell_of(at, n, rows, ld)
        for p in range(layer.pixels):
            k = (p * channels_of(layer) + u) * ld + at
            turn_cell(a + k, mean, factor, mean_delta, slope, n, cell.span, delta + k)
            clear_padding(&cell, n, delta + k)
        at += cell.size


cdef inline void move_averages(const LayerSpec* layer, const Slabs* slabs, double numbers, const real* batch_mean,
                               const real* batch_variance, const real* mean, const real* variance, Py_ssize_t n,
                               real* mean_step, real* variance_step) noexcept nogil:
    """What a step takes off n running means and variances: a share of their distance from those of the minibatch.

    The variance has the divisor n - 1 there, of so many numbers. Where several processes have a part of the minibatch
    each, their steps are added up, by rows. A mean that such a share would no longer move takes the whole way, which is
    a few roundings: a constant unit is to be 0 in prediction too.
    """
    cdef Py_ssize_t j
    cdef double share = slabs.share * layer.momentum, unbiased = numbers / (numbers - 1)
    for j in range(n):
        mean_step[j] = <real>(share * (mean[j] - <double>batch_mean[j]))
        if mean[j] - mean_step[j] == mean[j] and slabs.share == 1:
            mean_step[j] = mean[j] - batch_mean[j]
        variance_step[j] = <real>(share * (variance[j] - unbiased * batch_variance[j]))
