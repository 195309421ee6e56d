"""Philox4x32-10, a counter-based generator: a number depends on where it is used, never on who draws it or when.

Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
`shuffle` alone draws from a generator of NumPy's.
"""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from libc.math cimport sqrt, sqrtf

from cnn_core.types cimport real
from cnn_core.vecmath cimport loop, v_cos_turns, v_log, v_sin_turns

# The beginning of NumPy's `bitgen_t`, whose header not everybody who builds on this file has at hand.
cdef struct BitGenerator:
    void* state
    uint64_t (*next_uint64)(void*) noexcept nogil
    uint32_t (*next_uint32)(void*) noexcept nogil

cdef enum:
    LANES = 16  # counters at once: a vector of 512 bits


# What a dropout mask depends on, and nothing else; `row` is the slab's first row within the minibatch.
cdef struct Noise:
    bint training
    uint64_t seed
    uint64_t step
    int64_t row
    double factor   # on the rates of the layers


cdef inline Noise noise_of(bint training, uint64_t seed, uint64_t step) noexcept nogil:
    cdef Noise noise
    noise.training, noise.seed, noise.step, noise.row, noise.factor = training, seed, step, 0, 1
    return noise


cdef inline void philox_counter(uint64_t block, uint32_t stream, uint64_t step, int i, uint32_t* words) noexcept nogil:
    """Counter (block, stream, step) for lane i: the block's high bits are spread over the halves of the other two."""
    words[i] = <uint32_t>block
    words[LANES + i] = stream ^ <uint32_t>(block >> 32 << 16)
    words[2 * LANES + i] = <uint32_t>step
    words[3 * LANES + i] = <uint32_t>(step >> 32) ^ <uint32_t>(block >> 48 << 16)


cdef inline void philox_rounds(uint64_t key, uint32_t* words) noexcept nogil:
    """Each lane's counter becomes its four words."""
    cdef uint32_t k0 = <uint32_t>key, k1 = <uint32_t>(key >> 32)
    cdef uint32_t* c0 = words
    cdef uint32_t* c1 = words + LANES
    cdef uint32_t* c2 = words + 2 * LANES
    cdef uint32_t* c3 = words + 3 * LANES
    cdef uint64_t p0, p1
    cdef int i, _turn
    for _turn in range(10):
        for i in range(LANES):
            p0 = <uint64_t>0xD2511F53u * c0[i]
            p1 = <uint64_t>0xCD9E8D57u * c2[i]
            c0[i] = <uint32_t>(p1 >> 32) ^ c1[i] ^ k0
            c2[i] = <uint32_t>(p0 >> 32) ^ c3[i] ^ k1
            c1[i] = <uint32_t>p1
            c3[i] = <uint32_t>p0
        k0 += 0x9E3779B9u
        k1 += 0xBB67AE85u


cdef inline loop philox(uint64_t block, uint32_t stream, uint64_t step, uint64_t key, uint32_t* words) noexcept nogil:
    """Word j of counter (block + i, stream, step) at words[j * LANES + i]."""
    cdef int i
    for i in range(LANES):
        philox_counter(block + i, stream, step, i, words)
    philox_rounds(key, words)


cdef inline loop philox_units(const int32_t* units, uint64_t block, uint32_t stream, uint64_t step, uint64_t key,
                              uint32_t* words) noexcept nogil:
    """Word j of counter (unit * 2^32 + block, stream, step) of the i-th unit at words[j * LANES + i]."""
    cdef int i
    for i in range(LANES):
        philox_counter((<uint64_t>units[i] << 32) + block, stream, step, i, words)
    philox_rounds(key, words)


cdef inline loop mask_block(const uint32_t* words, uint32_t threshold, real keep, real* mask) noexcept nogil:
    """The mask of 4 * LANES elements from their words."""
    cdef int i
    for i in range(LANES):
        mask[4 * i] = keep if words[i] >= threshold else <real>0
        mask[4 * i + 1] = keep if words[LANES + i] >= threshold else <real>0
        mask[4 * i + 2] = keep if words[2 * LANES + i] >= threshold else <real>0
        mask[4 * i + 3] = keep if words[3 * LANES + i] >= threshold else <real>0


cdef inline void dropout_mask(uint64_t seed, uint64_t step, uint32_t stream, uint64_t first, double rate, real* mask,
                              Py_ssize_t n) noexcept nogil:
    """mask[i] = 0 with probability `rate`, else 1 / (1 - rate), from (seed, step, stream, first + i) alone.

    Element j = first + i takes word j % 4 of counter (j / 4, stream + high bits, step).
    """
    cdef uint32_t threshold = <uint32_t>(rate * 4294967296.0)
    cdef real keep = <real>(1 / (1 - rate))
    cdef uint32_t words[4 * LANES]
    cdef real edge[4 * LANES]
    cdef uint64_t block = first // 4
    cdef Py_ssize_t j = -<Py_ssize_t>(first % 4), i  # where the block's first element belongs; negative at the start
    while j < n:
        philox(block, stream, step, seed, words)
        if j >= 0 and j + 4 * LANES <= n:
            mask_block(words, threshold, keep, mask + j)
        else:
            mask_block(words, threshold, keep, edge)
            for i in range(max(-j, 0), min(4 * LANES, n - j)):
                mask[j + i] = edge[i]
        block += LANES
        j += 4 * LANES


cdef inline void dropout_values(Noise noise, int layer, const int32_t* units, Py_ssize_t row, double rate, real* x,
                                Py_ssize_t n) noexcept nogil:
    """x (n,) *= mask for n <= LANES units of row `row` of a slab: the numbers that `dropout_units` would give them."""
    cdef uint32_t threshold = <uint32_t>(rate * 4294967296.0)
    cdef real keep = <real>(1 / (1 - rate))
    cdef uint64_t at = noise.row + row
    cdef uint32_t words[4 * LANES]
    cdef int32_t lanes[LANES]
    cdef Py_ssize_t i
    for i in range(LANES):
        lanes[i] = units[i] if i < n else 0
    philox_units(lanes, at // 4, layer, noise.step, noise.seed, words)
    for i in range(n):
        x[i] *= keep if words[at % 4 * LANES + i] >= threshold else <real>0


cdef inline loop normal_block(const uint32_t* words, real* out) noexcept nogil:
    """4 * LANES standard normal numbers from their words, those of a counter by pairs (Box & Muller 1958)."""
    cdef real unit = <real>2.3283064365386963e-10, first, second, t
    cdef int i
    for i in range(LANES):
        first = <real>-2 * v_log((<real>words[i] + <real>0.5) * unit)
        second = <real>-2 * v_log((<real>words[2 * LANES + i] + <real>0.5) * unit)
        first = sqrtf(first) if real is float else sqrt(first)
        second = sqrtf(second) if real is float else sqrt(second)
        t = <real>words[LANES + i] * unit
        out[4 * i] = first * v_cos_turns(t)
        out[4 * i + 1] = first * v_sin_turns(t)
        t = <real>words[3 * LANES + i] * unit
        out[4 * i + 2] = second * v_cos_turns(t)
        out[4 * i + 3] = second * v_sin_turns(t)


cdef inline void normal_numbers(uint64_t seed, uint64_t step, uint32_t stream, uint64_t first, real* out,
                                Py_ssize_t n) noexcept nogil:
    """out[i] = a standard normal number, from (seed, step, stream, first + i) alone; counters as of `dropout_mask`."""
    cdef uint32_t words[4 * LANES]
    cdef real block[4 * LANES]
    cdef uint64_t at = first // 4
    cdef Py_ssize_t j = -<Py_ssize_t>(first % 4), i
    while j < n:
        philox(at, stream, step, seed, words)
        normal_block(words, block)
        for i in range(max(-j, 0), min(4 * LANES, n - j)):
            out[j + i] = block[i]
        at += LANES
        j += 4 * LANES


cdef inline loop uniforms(const uint32_t* words, double* u) noexcept nogil:
    """2 LANES numbers in [0, 1) of 53 bits from 4 LANES words: number i from words i and i + 2 LANES."""
    cdef int i
    for i in range(2 * LANES):
        u[i] = ((words[i] >> 5) * 67108864.0 + (words[i + 2 * LANES] >> 6)) * (1.0 / 9007199254740992.0)


cdef inline void permutation(uint64_t seed, uint64_t epoch, int64_t* out, int64_t n) noexcept nogil:
    """A random order of 0 .. n - 1, from (seed, epoch) alone (Fisher & Yates 1938).

    Its stream is none that a layer has.
    """
    cdef uint32_t words[4 * LANES]
    cdef double u[2 * LANES]
    cdef uint64_t block = 0
    cdef int64_t i, j, k, left = n - 1
    for i in range(n):
        out[i] = i
    while left > 0:
        philox(block, 0xFFFFFFFFu, epoch, seed, words)
        uniforms(words, u)
        for k in range(min(<int64_t>(2 * LANES), left)):
            j = <int64_t>(u[k] * (left + 1))
            out[left], out[j] = out[j], out[left]
            left -= 1
        block += LANES


cdef inline void shuffle(const BitGenerator* bits, int64_t* x, int64_t n) noexcept nogil:
    """What `RandomState.shuffle` does to x (n,), n <= 2^32, by the same numbers, which it leaves the generator after.

    Numbers that are too large are drawn again, as there; here without a branch, which would be guessed wrong too often.
    """
    cdef uint32_t drawn[256]
    cdef uint32_t mask = 1
    cdef int64_t last = n - 1, i, j, kept
    while mask < last:
        mask = 2 * mask + 1
    while last > 0:
        while last <= mask >> 1:
            mask >>= 1
        kept = min(last - (mask >> 1), <int64_t>256)  # so many need the same mask
        i = 0
        while i < kept:
            drawn[i] = bits.next_uint32(bits.state) & mask
            i += drawn[i] <= last - i
        for i in range(kept):
            j = drawn[i]
            x[last], x[j] = x[j], x[last]
            last -= 1
