"""Convolutions of each channel by itself, with one filter each: no channel is summed with another.

A pixel's channels are one block of (channels, ld) numbers and a point of the kernel multiplies each by a weight of its
own, so loops run over whole blocks. A general convolution by groups would do each channel for itself, one product of
vectors for each of its points. An output is the same sum in the same order.
"""
from libc.stdint cimport int32_t
from libc.string cimport memset

from cnn_core.axis cimport Axis, alike, axis_of, read_at
from cnn_core.team cimport stopped
from cnn_core.tile cimport Tap, Walk, lanes, point_dots, points_product, totals_of_nine
from cnn_core.types cimport WindowSpec, real

cdef enum:
    TAPS = 64       # points of the kernel that are summed in registers
    DOTS = 9        # gradients that are, of a channel
    CHANNELS = 8    # which share a walk over the pixels
    WIDEST = 16     # elements of a vector, at most


cdef inline bint is_depthwise(const WindowSpec* window) noexcept nogil:
    return window.groups == window.channels and window.out_channels == window.channels


cdef inline void depthwise_slide(const WindowSpec* window, bint back, const real* weights, const real* start,
                                 const real* x, real* z, Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end,
                                 const int32_t* stop) noexcept nogil:
    """What `slide` of convolution.pxd computes."""
    cdef Axis down = axis_of(window.height, window.out_height, window.kernel_height, window.stride_y,
                             window.dilation_y, window.top, back)
    cdef Axis along = axis_of(window.width, window.out_width, window.kernel_width, window.stride_x, window.dilation_x,
                              window.left, back)
    cdef Py_ssize_t pixel = window.channels * ld, y, phase, at, n
    # From one pixel to the next that is read by the same points.
    cdef Py_ssize_t apart = along.stride if back else 1, x_step = pixel * (1 if back else along.stride)
    for y in range(first, end):
        if stopped(stop):
            return
        for phase in range(min(apart, along.n)):
            at = phase
            while at < along.n:
                n = alike(&along, at)
                sum_points(&down, &along, window.channels, weights, start, x, x_step, ld,
                           z + (y * along.n + at) * pixel, pixel * apart, y, at, n)
                at += n * apart


cdef inline void sum_points(const Axis* down, const Axis* along, Py_ssize_t channels, const real* weights,
                            const real* start, const real* x, Py_ssize_t x_step, Py_ssize_t ld, real* z,
                            Py_ssize_t z_step, Py_ssize_t y, Py_ssize_t at, Py_ssize_t pixels) noexcept nogil:
    """z of `pixels` pixels of line y from `at` on, which the same points of the kernel read."""
    cdef Tap taps[TAPS]
    cdef Py_ssize_t n = 0, i, j, line, column
    cdef bint add = False
    for i in range(down.kernel):
        line = read_at(down, y, i)
        for j in range(along.kernel if line >= 0 else 0):
            column = read_at(along, at, j)
            if column < 0:
                continue
            if n == TAPS:
                points_product(channels, pixels, taps, n, weights, x, x_step, ld, z, z_step,
                               <const real*>NULL if add else start, add)
                n, add = 0, True
            taps[n].a, taps[n].b = (i * along.kernel + j) * channels, (line * along.size + column) * channels * ld
            n += 1
    points_product(channels, pixels, taps, n, weights, x, x_step, ld, z, z_step, <const real*>NULL if add else start,
                   add)


cdef inline void depthwise_gradient(const WindowSpec* window, const real* a, const real* delta, Py_ssize_t ld,
                                    Py_ssize_t first, Py_ssize_t end, real* dw, const int32_t* stop) noexcept nogil:
    """dW (points, channels) += sums over all pixels of lines first .. end - 1 of the deltas of z, along the rows."""
    cdef Axis down = axis_of(window.height, window.out_height, window.kernel_height, window.stride_y,
                             window.dilation_y, window.top, False)
    cdef Axis along = axis_of(window.width, window.out_width, window.kernel_width, window.stride_x, window.dilation_x,
                              window.left, False)
    cdef Py_ssize_t channels = window.channels, points = down.kernel * along.kernel, c = 0, t, i, k, many
    cdef real sums[CHANNELS * DOTS * WIDEST]
    cdef real out[DOTS]
    while c < channels:
        many, t = min(channels - c, <Py_ssize_t>CHANNELS), 0
        while t < points:
            if stopped(stop):
                return
            memset(sums, 0, many * DOTS * lanes(a) * sizeof(real))
            walk_points(&down, &along, t, min(t + DOTS, points), channels, many, a + c * ld, delta + c * ld, ld, first,
                        end, sums)
            for i in range(many):
                totals_of_nine(<const real*>sums + i * DOTS * lanes(a), out)
                for k in range(min(points - t, <Py_ssize_t>DOTS)):
                    dw[(t + k) * channels + c + i] += out[k]
            t += DOTS
        c += many


cdef inline void walk_points(const Axis* down, const Axis* along, Py_ssize_t t, Py_ssize_t last, Py_ssize_t channels,
                             Py_ssize_t many, const real* a, const real* delta, Py_ssize_t ld, Py_ssize_t first,
                             Py_ssize_t end, real* sums) noexcept nogil:
    """sums (many, DOTS vectors) += what points t .. last - 1 of the kernel give, for some neighbouring channels.

    Lines and pixels that the same points read are walked over in one go.
    """
    cdef Py_ssize_t from_[DOTS]
    cdef Py_ssize_t to[DOTS]
    cdef Py_ssize_t pixel = channels * ld, y = first, x, k, n, line, column
    cdef Walk walk
    walk.a_line, walk.a_pixel = down.stride * along.size * pixel, along.stride * pixel
    walk.b_line, walk.b_pixel = along.n * pixel, pixel
    while y < end:
        walk.lines, x = min(alike(down, y), end - y), 0
        while x < along.n:
            walk.pixels, n = alike(along, x), 0
            for k in range(t, last):
                line, column = read_at(down, y, k // along.kernel), read_at(along, x, k % along.kernel)
                if line >= 0 and column >= 0:
                    from_[n], to[n] = (line * along.size + column) * pixel, k - t
                    n += 1
            point_dots(many, from_, to, n, a, delta + (y * along.n + x) * pixel, ld, &walk, sums)
            x += walk.pixels
        y += walk.lines
