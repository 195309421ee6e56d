"""Images that are moved, covered and disturbed when a training step takes them, by (seed, step, row) alone.

Numbers come from Philox; the row is that within the minibatch, so threads, chunks and processes have no say.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from cnn_core.dense_rows cimport DenseRows, from_bytes
from cnn_core.random cimport LANES, Noise, normal_numbers, philox
from cnn_core.types cimport AugmentSpec, CUTOUT, EDGE, FLIP, NOISE, SHIFT, ZEROS, real

cdef enum:
    MOST = 16   # changes of a row


# What is done to each row, an image (height, width, channels).
cdef struct Augment:
    const AugmentSpec* specs
    int n                           # 0: nothing
    Py_ssize_t height
    Py_ssize_t width
    Py_ssize_t channels


cdef inline uint32_t stream_of(int k) noexcept nogil:
    """The stream of a row's k-th change: no layer has such a number."""
    return 0xFF00u + <uint32_t>k


cdef inline int64_t drawn(uint32_t word, int64_t n) noexcept nogil:
    """One of 0 .. n - 1."""
    return <int64_t>(<uint64_t>word * <uint64_t>n >> 32)


cdef inline int64_t source_of(const Augment* a, const uint32_t* words, int64_t at, int64_t size,
                              int axis) noexcept nogil:
    """Where along an axis, 0 or 1, the pixel stands that comes to `at`; -1: it comes from outside, and is zero."""
    cdef const AugmentSpec* spec
    cdef int k
    for k in range(a.n - 1, -1, -1):  # the last move is undone first
        spec = &a.specs[k]
        if spec.kind == FLIP and spec.size[axis] and words[(4 * k + axis) * LANES] >> 31:
            at = size - 1 - at
        elif spec.kind == SHIFT:
            at -= drawn(words[(4 * k + axis) * LANES], 2 * spec.size[axis] + 1) - spec.size[axis]
            if at < 0 or at >= size:
                if spec.outside == ZEROS:
                    return -1
                elif spec.outside == EDGE:
                    at = 0 if at < 0 else size - 1
                else:
                    at = -at if at < 0 else 2 * (size - 1) - at
    return at


cdef inline void move_image(const Augment* a, const uint32_t* words, const real* image, int32_t* columns,
                            real* out) noexcept nogil:
    """out = the image, shifted and flipped; `columns` has room for the width."""
    cdef Py_ssize_t channels = a.channels, line = a.width * channels, x, y, c
    cdef int64_t at
    cdef const real* source
    for x in range(a.width):
        columns[x] = <int32_t>source_of(a, words, x, a.width, 1)
    for y in range(a.height):
        at = source_of(a, words, y, a.height, 0)
        if at < 0:
            memset(out, 0, line * sizeof(real))
        elif channels == 1:
            source = image + at * line
            for x in range(a.width):
                out[x] = source[columns[x]] if columns[x] >= 0 else <real>0
        else:
            source = image + at * line
            for x in range(a.width):
                for c in range(channels):
                    out[x * channels + c] = source[columns[x] * channels + c] if columns[x] >= 0 else <real>0
        out += line


cdef inline void cover(const Augment* a, const AugmentSpec* spec, const uint32_t* words, real* image) noexcept nogil:
    """Zeros in a rectangle whose middle may be any pixel."""
    cdef int64_t top = drawn(words[0], a.height) - spec.size[0] // 2
    cdef int64_t left = drawn(words[LANES], a.width) - spec.size[1] // 2
    cdef int64_t bottom = min(top + spec.size[0], <int64_t>a.height), right = min(left + spec.size[1], <int64_t>a.width)
    cdef int64_t y
    top, left = max(top, <int64_t>0), max(left, <int64_t>0)
    for y in range(top, bottom):
        memset(image + (y * a.width + left) * a.channels, 0, (right - left) * a.channels * sizeof(real))


cdef inline void disturb(Noise noise, int k, double stddev, int64_t row, Py_ssize_t n, real* room,
                         real* image) noexcept nogil:
    """Adds normal numbers, drawn to `room`."""
    cdef Py_ssize_t i
    normal_numbers(noise.seed, noise.step, stream_of(k), <uint64_t>(row * ((n + 3) // 4 * 4)), room, n)
    for i in range(n):
        image[i] += <real>stddev * room[i]


cdef inline void augmented_rows(const Augment* a, DenseRows x, Py_ssize_t rows, Py_ssize_t n, const int64_t* places,
                                Py_ssize_t first, Noise noise, real* out, real* room) noexcept nogil:
    """out (rows, n) = rows places[first] .. of x (NULL: from `first` on), changed; `room` has 2 n elements."""
    cdef uint32_t words[MOST * 4 * LANES]
    cdef const uint32_t* own
    cdef const real* image
    cdef Py_ssize_t r, at
    cdef int k
    for r in range(rows):
        if r % LANES == 0:
            for k in range(a.n):
                philox(<uint64_t>(noise.row + r), stream_of(k), noise.step, noise.seed, words + 4 * k * LANES)
        own, at = words + r % LANES, places[first + r] if places != NULL else first + r
        image = <const real*>x.at + at * n
        if x.bytes:
            from_bytes(<const uint8_t*>x.at + at * n, n, room)
            image = room
        move_image(a, own, image, <int32_t*>(room + n), out)
        for k in range(a.n):
            if a.specs[k].kind == CUTOUT:
                cover(a, &a.specs[k], own + 4 * k * LANES, out)
        for k in range(a.n):
            if a.specs[k].kind == NOISE:
                disturb(noise, k, a.specs[k].stddev, noise.row + r, n, room, out)
        out += n
