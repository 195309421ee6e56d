"""Batch normalisation (Ioffe & Szegedy 2015): a = f(g (x - mean) / sqrt(variance + epsilon) + b), channel by channel.

A unit is a channel of an image of one pixel. In a step mean and variance are those of all rows of the minibatch, whose
slabs must all be here, and of all pixels, the variance with the divisor n; else they are the running ones. Each channel
is one thread's, and its sums run over the slabs in their order. Some channels of a pixel, CELL numbers of a slab at
most, are worked on at a time. Slabs of images have GROUP rows as a rule: their loops have that for a constant.
Kept for the way back: z where f needs it, and in the first slab mean and variance.
"""
from libc.math cimport sqrt, sqrtf
from libc.stdint cimport int32_t
from libc.string cimport memset

from cnn_core.activations cimport activation_backward, activation_forward, activation_keeps_input
from cnn_core.slabs cimport Slabs, rows_of
from cnn_core.team cimport stopped
from cnn_core.tile cimport padded, row_sums
from cnn_core.types cimport BATCH_NORM, GROUP, LayerSpec, WorkspaceSpec, channels_of, real
from cnn_core.vecmath cimport loop

cdef enum:
    CELL = 1024     # numbers that are worked on at a time: their sums stand on the stack
    CHANNELS = 64   # of a cell, at most
    PIXELS = 32     # whose squared distances are taken while they are in cache


# Some rows of some channels of a slab: all that have room in a cell. Its numbers lie `at` behind those of the pixel.
cdef struct Cell:
    Py_ssize_t at
    Py_ssize_t size
    Py_ssize_t span         # of a channel
    Py_ssize_t rows         # of which so many are no padding


cdef inline bint over_rows(const LayerSpec* layer, bint training, Py_ssize_t rows) noexcept nogil:
    """Whether a layer needs all rows of the minibatch at once. One number has no variance, a frozen layer its own one.
    """
    return layer.kind == BATCH_NORM and training and layer.momentum > 0 and rows * layer.pixels > 1


cdef inline Py_ssize_t channels_at_once(const Slabs* slabs, Py_ssize_t left, const real* kind) noexcept nogil:
    """How many of the channels that are left have room in a cell."""
    return min(left, max(CELL // padded(rows_of(slabs, 0), kind), <Py_ssize_t>1), <Py_ssize_t>CHANNELS)


cdef inline Cell cell_of(Py_ssize_t at, Py_ssize_t n, Py_ssize_t rows, Py_ssize_t ld) noexcept nogil:
    """The cell of n channels that begins there: all of their rows, or of one channel some."""
    cdef Cell cell
    cell.at, cell.size = at, min(n * ld - at, <Py_ssize_t>CELL)
    cell.span = cell.size // n
    cell.rows = min(rows - at, cell.span)
    return cell


cdef inline loop inverse_deviations(const real* variance, Py_ssize_t n, real epsilon, real* inverse) noexcept nogil:
    """inverse (n,) = 1 / sqrt(variance + epsilon)."""
    cdef Py_ssize_t u
    for u in range(n):
        inverse[u] = <real>1 / (sqrtf(variance[u] + epsilon) if real is float else sqrt(variance[u] + epsilon))


cdef inline void distance_rows(const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span, bint first,
                               real* sums) noexcept nogil:
    cdef Py_ssize_t j, r
    cdef real shift, d
    for j in range(n):
        shift = mean[j]
        for r in range(span):
            d = x[j * span + r] - shift
            sums[j * span + r] = d if first else sums[j * span + r] + d


cdef inline loop distance_cell(const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span, bint first,
                               real* sums) noexcept nogil:
    """sums (n, span) += x - mean, or but that if first."""
    if first:
        distance_rows(x, mean, n, span, True, sums)
    elif span == GROUP:
        distance_rows(x, mean, n, GROUP, False, sums)
    else:
        distance_rows(x, mean, n, span, False, sums)


cdef inline void square_rows(const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span, bint first,
                             real* sums) noexcept nogil:
    cdef Py_ssize_t j, r
    cdef real shift, d
    for j in range(n):
        shift = mean[j]
        for r in range(span):
            d = x[j * span + r] - shift
            sums[j * span + r] = d * d if first else sums[j * span + r] + d * d


cdef inline loop square_cell(const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span, bint first,
                             real* sums) noexcept nogil:
    """sums (n, span) += (x - mean)^2, or but that if first."""
    if first:
        square_rows(x, mean, n, span, True, sums)
    elif span == GROUP:
        square_rows(x, mean, n, GROUP, False, sums)
    else:
        square_rows(x, mean, n, span, False, sums)


cdef inline void normalise_rows(const real* x, const real* mean, const real* factor, const real* bias, Py_ssize_t n,
                                Py_ssize_t span, real* out) noexcept nogil:
    cdef Py_ssize_t j, r
    cdef real shift, slope, term
    for j in range(n):
        shift, slope, term = mean[j], factor[j], bias[j]
        for r in range(span):
            out[j * span + r] = (x[j * span + r] - shift) * slope + term


cdef inline loop normalise_cell(const real* x, const real* mean, const real* factor, const real* bias, Py_ssize_t n,
                                Py_ssize_t span, real* out) noexcept nogil:
    """out (n, span) = factor (x - mean) + bias."""
    if span == GROUP:
        normalise_rows(x, mean, factor, bias, n, GROUP, out)
    else:
        normalise_rows(x, mean, factor, bias, n, span, out)


cdef inline void slope_rows(const real* delta, const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span,
                            bint first, real* sums, real* products) noexcept nogil:
    cdef Py_ssize_t j, r
    cdef real shift, d
    for j in range(n):
        shift = mean[j]
        for r in range(span):
            d = delta[j * span + r]
            products[j * span + r] = d * (x[j * span + r] - shift) + (0 if first else products[j * span + r])
            sums[j * span + r] = d + (0 if first else sums[j * span + r])


cdef inline loop slope_cell(const real* delta, const real* x, const real* mean, Py_ssize_t n, Py_ssize_t span,
                            bint first, real* sums, real* products) noexcept nogil:
    """sums (n, span) += delta, products += delta (x - mean), or but that if first."""
    if first:
        slope_rows(delta, x, mean, n, span, True, sums, products)
    elif span == GROUP:
        slope_rows(delta, x, mean, n, GROUP, False, sums, products)
    else:
        slope_rows(delta, x, mean, n, span, False, sums, products)


cdef inline void turn_rows(const real* x, const real* mean, const real* factor, const real* mean_delta,
                           const real* slope, Py_ssize_t n, Py_ssize_t span, real* delta) noexcept nogil:
    cdef Py_ssize_t j, r
    cdef real shift, scale, part, along
    for j in range(n):
        shift, scale, part, along = mean[j], factor[j], mean_delta[j], slope[j]
        for r in range(span):
            delta[j * span + r] = scale * (delta[j * span + r] - part) - along * (x[j * span + r] - shift)


cdef inline loop turn_cell(const real* x, const real* mean, const real* factor, const real* mean_delta,
                           const real* slope, Py_ssize_t n, Py_ssize_t span, real* delta) noexcept nogil:
    """delta (n, span) = factor (delta - mean_delta) - slope (x - mean)."""
    if span == GROUP:
        turn_rows(x, mean, factor, mean_delta, slope, n, GROUP, delta)
    else:
        turn_rows(x, mean, factor, mean_delta, slope, n, span, delta)


cdef inline void clear_padding(const Cell* cell, Py_ssize_t n, real* x) noexcept nogil:
    """x (n, span) = 0 beyond the last row."""
    cdef Py_ssize_t j
    for j in range(n if cell.rows < cell.span else 0):
        memset(x + j * cell.span + cell.rows, 0, (cell.span - cell.rows) * sizeof(real))


cdef inline void sums_of_cell(const Cell* cell, Py_ssize_t n, real* sums, real* out) noexcept nogil:
    """out (n,) = sums of the rows that are no padding."""
    clear_padding(cell, n, sums)
    row_sums(n, cell.span, <const real*>sums, cell.span, out, False)


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
