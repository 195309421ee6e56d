"""Pooling on a slab: the largest number, or the mean, of each channel in windows of an image, without what is outside.

A pixel's channels are one block of (channels, ld) numbers, and a window's points (taps) are such blocks, so every loop
runs over whole blocks. Max pooling keeps for the way back which tap each output is, as a number as wide as the output:
integers of another width cost vectors more than they save. Of equals it is the first, row by row; NaN goes through.
Behind a ReLU no tap is kept where the largest is 0: delta then needs no pass by ReLU's slope (`gated`).
"""
from libc.math cimport NAN
from libc.string cimport memset

from cnn_core.tile cimport lanes
from cnn_core.types cimport MAX_POOL, LayerSpec, WindowSpec, WorkspaceSpec, real
from cnn_core.vecmath cimport loop


# The taps of one window that are inside the image, by their rows and columns; they are counted row by row.
cdef struct Taps:
    int first_y
    int end_y
    int first_x
    int end_x


cdef inline Taps taps_of(const WindowSpec* window, int y, int x) noexcept nogil:
    """Those of output pixel (y, x): one at least, for padding is half a window at most."""
    cdef Taps taps
    y = y * window.stride_y - window.top
    x = x * window.stride_x - window.left
    taps.first_y, taps.end_y = max(y, 0), min(y + window.kernel_height, window.height)
    taps.first_x, taps.end_x = max(x, 0), min(x + window.kernel_width, window.width)
    return taps


cdef inline real share_of(const Taps* taps, const real* kind) noexcept nogil:
    """1 / number of taps."""
    return <real>(1.0 / (<double>(taps.end_y - taps.first_y) * (taps.end_x - taps.first_x)))


cdef inline loop max_of_four(const real* a, const real* b, const real* c, const real* d, Py_ssize_t n,
                             real* out) noexcept nogil:
    """out = the largest of a, b, c and d, n elements."""
    cdef Py_ssize_t k
    cdef real x, most
    for k in range(n):
        most = a[k]
        x = b[k]
        most = x if (x > most) | (x != x) else most
        x = c[k]
        most = x if (x > most) | (x != x) else most
        x = d[k]
        out[k] = x if (x > most) | (x != x) else most


cdef inline loop max_with(const real* a, Py_ssize_t n, real* out) noexcept nogil:
    """out = the larger of out and a, n elements."""
    cdef Py_ssize_t k
    cdef real x, most
    for k in range(n):
        x, most = a[k], out[k]
        out[k] = x if (x > most) | (x != x) else most


cdef inline loop first_of_four(const real* a, const real* b, const real* c, const real* d, const real* taps,
                               real floor, Py_ssize_t n, real* out, real* kept) noexcept nogil:
    """out = the largest of a, b, c and d, n elements; kept = which of four taps it is, -1 up to `floor`."""
    cdef Py_ssize_t k
    cdef real x, most, tap
    cdef real tap_a = taps[0], tap_b = taps[1], tap_c = taps[2], tap_d = taps[3]
    for k in range(n):
        most = a[k]
        x = b[k]
        tap = tap_b if (x > most) | (x != x) else tap_a
        most = x if (x > most) | (x != x) else most
        x = c[k]
        tap = tap_c if (x > most) | (x != x) else tap
        most = x if (x > most) | (x != x) else most
        x = d[k]
        tap = tap_d if (x > most) | (x != x) else tap
        most = x if (x > most) | (x != x) else most
        kept[k] = <real>-1 if most <= floor else tap
        out[k] = most


cdef inline loop first_with(const real* a, real tap, Py_ssize_t n, real* out, real* kept) noexcept nogil:
    """out = the larger of out and a, n elements; kept becomes the tap of a where that is larger."""
    cdef Py_ssize_t k
    cdef real x, most, before
    for k in range(n):
        x, most, before = a[k], out[k], kept[k]
        kept[k] = tap if (x > most) | (x != x) else before
        out[k] = x if (x > most) | (x != x) else most


cdef inline loop take_tap(const real* kept, const real* delta, real tap, Py_ssize_t n, real* out) noexcept nogil:
    """out = delta where it is that tap's, else 0; n elements."""
    cdef Py_ssize_t k
    cdef real d
    for k in range(n):
        d = delta[k]
        out[k] = d if kept[k] == tap else 0


cdef inline loop add_tap(const real* kept, const real* delta, real tap, Py_ssize_t n, real* out) noexcept nogil:
    """out += delta where it is that tap's, n elements."""
    cdef Py_ssize_t k
    cdef real d
    for k in range(n):
        d = delta[k]
        out[k] += d if kept[k] == tap else 0


cdef inline loop take_share(const real* a, real share, Py_ssize_t n, real* out) noexcept nogil:
    """out = share a, n elements."""
    cdef Py_ssize_t k
    for k in range(n):
        out[k] = share * a[k]


cdef inline loop add_share(const real* a, real share, Py_ssize_t n, real* out) noexcept nogil:
    """out += share a, n elements."""
    cdef Py_ssize_t k
    for k in range(n):
        out[k] += share * a[k]


cdef inline void max_tap(const real* kept, const real* delta, real tap, Py_ssize_t n, bint alone,
                         real* out) noexcept nogil:
    if alone:
        take_tap(kept, delta, tap, n, out)
    else:
        add_tap(kept, delta, tap, n, out)


cdef inline void mean_tap(const real* a, real share, Py_ssize_t n, bint alone, real* out) noexcept nogil:
    if alone:
        take_share(a, share, n, out)
    else:
        add_share(a, share, n, out)


cdef inline void max_window(const WindowSpec* window, const Taps* taps, const real* a, Py_ssize_t block,
                            Py_ssize_t length, real floor, real* out, real* kept) noexcept nogil:
    """out (length,) = the largest of a window of a, whose pixels are `block` apart; kept, unless NULL, the taps.

    Four at once: 2 x 2 is usual.
    """
    cdef const real* four[4]
    cdef real numbers[4]
    cdef const real* tap
    cdef int y, x, n = 0
    for y in range(taps.first_y, taps.end_y):
        for x in range(taps.first_x, taps.end_x):
            tap = a + (<Py_ssize_t>y * window.width + x) * block
            if n == 0:  # where there are fewer than four, the first one stands for the others
                four[0] = four[1] = four[2] = four[3] = tap
                numbers[0] = numbers[1] = numbers[2] = numbers[3] = 0
            elif n < 4:
                four[n], numbers[n] = tap, <real>n
            elif kept == NULL:
                max_with(tap, length, out)
            else:
                first_with(tap, <real>n, length, out, kept)
            n += 1
            if n == 4 or n < 4 and y == taps.end_y - 1 and x == taps.end_x - 1:
                if kept == NULL:
                    max_of_four(four[0], four[1], four[2], four[3], length, out)
                else:
                    first_of_four(four[0], four[1], four[2], four[3], <const real*>numbers, floor, length, out,
                                  kept)


cdef inline void mean_window(const WindowSpec* window, const Taps* taps, const real* a, Py_ssize_t block,
                             real* out) noexcept nogil:
    """out (block,) = the mean of a window of the image a."""
    cdef real share = share_of(taps, a)
    cdef const real* tap
    cdef int y, x
    for y in range(taps.first_y, taps.end_y):
        for x in range(taps.first_x, taps.end_x):
            tap = a + (<Py_ssize_t>y * window.width + x) * block
            mean_tap(tap, share, block, y == taps.first_y and x == taps.first_x, out)


cdef inline void pool_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* a, real* scratch,
                              Py_ssize_t ld) noexcept nogil:
    """output (n_units, ld) = the largest, or the mean, of each window of a (n_inputs, ld)."""
    pool_windows(layer, a, ld, 0, layer.window.out_height, scratch + layer.output * workspace.capacity,
                 scratch + layer.saved * workspace.capacity if layer.saved >= 0 else NULL)


cdef inline void pool_windows(const LayerSpec* layer, const real* a, Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end,
                              real* output, real* kept) noexcept nogil:
    """Lines first .. end - 1 of output (n_units, ld) from a (n_inputs, ld), and which taps it is in kept, unless NULL.

    Where ld is 1, blocks may be shorter than a vector: then whole vectors are worked on, and the next windows of these
    lines write over what is too much.
    """
    cdef const WindowSpec* window = &layer.window
    cdef Py_ssize_t block = window.channels * ld, line = window.out_width * block, at = first * line, whole = lanes(a)
    cdef Py_ssize_t last
    cdef real floor = 0 if layer.gated else <real>NAN  # which nothing is up to
    cdef Taps taps
    cdef int y, x
    for y in range(<int>first, <int>end):
        for x in range(window.out_width):
            taps = taps_of(window, y, x)
            if layer.kind == MAX_POOL:
                last = ((taps.end_y - 1) * <Py_ssize_t>window.width + taps.end_x - 1) * block
                max_window(window, &taps, a, block,
                           whole if ld == 1 and block < whole and at + whole <= end * line
                           and last + whole <= layer.n_inputs else block, floor,
                           output + at, kept + at if kept != NULL else NULL)
            else:
                mean_window(window, &taps, a, block, output + at)
            at += block


cdef inline bint side_by_side(const WindowSpec* window) noexcept nogil:
    """Whether no two windows share a tap."""
    return window.stride_y >= window.kernel_height and window.stride_x >= window.kernel_width


cdef inline bint covers(const WindowSpec* window) noexcept nogil:
    """Whether every pixel is in a window of those that stand side by side."""
    return (window.stride_y <= window.kernel_height and window.stride_x <= window.kernel_width
            and <Py_ssize_t>window.out_height * window.stride_y - window.top >= window.height
            and <Py_ssize_t>window.out_width * window.stride_x - window.left >= window.width)


cdef inline void pool_backward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* scratch,
                               const real* delta, Py_ssize_t ld, real* below) noexcept nogil:
    """below (n_inputs, ld) = dL/d(input) from delta, dL/d(output). Windows that share pixels add to them one by one."""
    cdef const WindowSpec* window = &layer.window
    cdef Py_ssize_t block = window.channels * ld, at = 0, place
    cdef const real* kept = scratch + layer.saved * workspace.capacity
    cdef bint alone = side_by_side(window)
    cdef real share
    cdef Taps taps
    cdef int y, x, v, u, tap
    if not alone or not covers(window):
        memset(below, 0, layer.n_inputs * ld * sizeof(real))
    for y in range(window.out_height):
        for x in range(window.out_width):
            taps = taps_of(window, y, x)
            share, tap = share_of(&taps, delta), 0
            for v in range(taps.first_y, taps.end_y):
                for u in range(taps.first_x, taps.end_x):
                    place = (<Py_ssize_t>v * window.width + u) * block
                    if layer.kind == MAX_POOL:
                        max_tap(kept + at, delta + at, <real>tap, block, alone, below + place)
                    else:
                        mean_tap(delta + at, share, block, alone, below + place)
                    tap += 1
            at += block
