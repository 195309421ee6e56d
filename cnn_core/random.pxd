"""Philox4x32-10, a counter-based generator: a number depends on where it is used, never on who draws it or when.

Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""
from libc.stdint cimport uint32_t, uint64_t

from cnn_core.types cimport real


cdef inline void philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key, uint32_t* out) noexcept nogil:
    """The four words of counter (c0, c1, c2, c3)."""
    cdef uint32_t k0 = <uint32_t>key, k1 = <uint32_t>(key >> 32)
    cdef uint64_t p0, p1
    cdef int _round
    for _round in range(10):
        p0 = <uint64_t>0xD2511F53u * c0
        p1 = <uint64_t>0xCD9E8D57u * c2
        c0 = <uint32_t>(p1 >> 32) ^ c1 ^ k0
        c2 = <uint32_t>(p0 >> 32) ^ c3 ^ k1
        c1 = <uint32_t>p1
        c3 = <uint32_t>p0
        k0 += 0x9E3779B9u
        k1 += 0xBB67AE85u
    out[0] = c0
    out[1] = c1
    out[2] = c2
    out[3] = c3


cdef inline void dropout_mask(uint64_t seed, uint64_t step, uint32_t stream, uint64_t first, double rate, real* mask,
                              Py_ssize_t n) noexcept nogil:
    """mask[i] = 0 with probability `rate`, else 1 / (1 - rate), from (seed, step, stream, first + i) alone.

    Element j = first + i takes word j % 4 of counter (j / 4, stream + high bits, step).
    """
    cdef uint32_t threshold = <uint32_t>(rate * 4294967296.0)
    cdef real keep = <real>(1 / (1 - rate))
    cdef uint32_t words[64]
    cdef uint64_t block = first // 4, last = (first + n + 3) // 4
    cdef Py_ssize_t i, j, b, lanes
    while block < last:
        lanes = min(<Py_ssize_t>(last - block), 16)
        for b in range(lanes):
            philox(<uint32_t>(block + b), stream ^ <uint32_t>((block + b) >> 32 << 16), <uint32_t>step,
                   <uint32_t>(step >> 32), seed, words + 4 * b)
        j = <Py_ssize_t>(4 * block - first)  # where the block's first word belongs; negative at the start
        for i in range(-j if j < 0 else 0, min(4 * lanes, n - j)):
            mask[j + i] = keep if words[i] >= threshold else <real>0
        block += lanes
