/* Matrix products of slabs in vector registers, and the turning of rows into columns; float and double from one body.
 *
 * A slab is stored by features: element (unit, row) at unit * ld + row, ld a multiple of the vector length, so that
 * vectors run along the rows and every width of layer fills them. Where the compiler has no vector types (MSVC) a
 * "vector" is one element: slow, but the same mathematics.
 */
#ifndef CNN_TILE_H
#define CNN_TILE_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if (defined(__GNUC__) || defined(__clang__)) && !defined(CNN_PLAIN)
#define CNN_VECTORS 1
#define CNN_INLINE static inline __attribute__((always_inline, unused))
#define CNN_UNUSED static __attribute__((unused))
/* Makes a sum stay in its register: GCC 12 has some move to another and back in each round of a loop, and moves of 64
 * bytes take the place of multiply-adds on Intel's processors.
 */
#if defined(__x86_64__)
#define CNN_STAYS(v) __asm__("" : "+v"(v))
#else
#define CNN_STAYS(v)
#endif
/* Fetches a line of cache to L2. */
#define CNN_FETCH(p) __builtin_prefetch(p, 0, 2)
/* Keeps the compiler from computing several such numbers in a vector, from which each must then be fetched. */
#define CNN_SCALAR(x) __asm__("" : "+r"(x))
#if defined(__clang__)
#define CNN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CNN_UNROLL _Pragma("GCC unroll 16")
#endif
#if defined(__AVX512F__)
#define CNN_BYTES 64
#elif defined(__AVX__)
#define CNN_BYTES 32
#else
#define CNN_BYTES 16
#endif
#else
#define CNN_VECTORS 0
#define CNN_INLINE static __inline
#define CNN_UNUSED static
#define CNN_UNROLL
#define CNN_STAYS(v)
#define CNN_FETCH(p)
#define CNN_SCALAR(x)
#endif
#define CNN_LINE 64

/* A point of a convolution's kernel: where its terms stand in the panel of weights and in the slab, and how many. */
typedef struct { ptrdiff_t a, b, terms; } cnn_tap_t;
/* Pixels of an image, over which sums go on: lines of them, and what leads from one to the next in both operands. */
typedef struct { ptrdiff_t lines, pixels, a_line, a_pixel, b_line, b_pixel; } cnn_walk_t;
/* Squares of vectors, one for each term: steps to the next line, pixel and term, and bit 4 i + j: (i, j) is there. */
typedef struct { ptrdiff_t line, pixel, term; unsigned inside; } cnn_square_t;
enum { CNN_INPUTS, CNN_OUTPUTS, CNN_WEIGHTS };

/* The widest tile that leaves registers for the operands: rows of the broadcast operand by vectors of the other. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define CNN_WIDE 1
#define CNN_J 4
#else
#define CNN_WIDE 0
#define CNN_J 2
#endif
/* Sums over the rows that a tile of narrow layers keeps in registers. */
#if CNN_WIDE
#define CNN_SUMS 16
#else
#define CNN_SUMS 8
#endif
/* Depth of the sum that is run at a time: CNN_J vectors of so many rows stay in L1. */
#ifndef CNN_DEPTH
#define CNN_DEPTH 128
#endif

/* Every other element, even or odd, of two vectors: of each lane of 16 bytes by itself, or every other lane. Shuffles
 * within lanes, and of whole lanes, are twice as fast as others.
 */
#if CNN_VECTORS && (defined(__clang__) || __GNUC__ >= 12)
#define CNN_SHUFFLES 1
#else
#define CNN_SHUFFLES 0
#endif
#define CNN_ELEMENTS_F4(odd) odd, odd + 2, odd + 4, odd + 6
#define CNN_FOUR_F8(o) o, o + 2, o + 8, o + 10
#define CNN_FOUR_F16(o) o, o + 2, o + 16, o + 18
#define CNN_ELEMENTS_F8(odd) CNN_FOUR_F8(odd), CNN_FOUR_F8(odd + 4)
#define CNN_ELEMENTS_F16(odd) \
    CNN_FOUR_F16(odd), CNN_FOUR_F16(odd + 4), CNN_FOUR_F16(odd + 8), CNN_FOUR_F16(odd + 12)
#define CNN_ELEMENTS_D2(odd) odd, odd + 2
#define CNN_ELEMENTS_D4(odd) odd, odd + 4, odd + 2, odd + 6
#define CNN_ELEMENTS_D8(odd) odd, odd + 8, odd + 2, odd + 10, odd + 4, odd + 12, odd + 6, odd + 14
#define CNN_TWO_LANES_F(o) o, o + 1, o + 2, o + 3, o + 8, o + 9, o + 10, o + 11
#define CNN_LANES_F8(odd) CNN_TWO_LANES_F(4 * odd)
#define CNN_LANES_F16(odd) CNN_TWO_LANES_F(4 * odd), CNN_TWO_LANES_F(4 * odd + 16)
#define CNN_TWO_LANES_D(o) o, o + 1, o + 4, o + 5
#define CNN_LANES_D4(odd) CNN_TWO_LANES_D(2 * odd)
#define CNN_LANES_D8(odd) CNN_TWO_LANES_D(2 * odd), CNN_TWO_LANES_D(2 * odd + 8)
/* Parts of vectors by masks, where there are any; and half a vector where it costs half as much as a whole one: Zen 4
 * has units of 32 bytes, while Intel's processors take as long as for a whole one, or longer.
 */
#if CNN_VECTORS && defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define CNN_MASK(n) ((1u << (n)) - 1u)
#define CNN_HALVES 1
#ifndef CNN_HALF_PAYS
#define CNN_HALF_PAYS __builtin_cpu_is("amd")
#endif
#else
#define CNN_HALVES 0
#endif
/* Where a vector is put down element by element; large enough for all. */
#define CNN_BYTES_MAX 64

#define CNN_T float
#define CNN_(name) cnn_##name##f
#if defined(CNN_MASK)
#define CNN_MASKED_LOAD(p, n) _mm512_maskz_loadu_ps((__mmask16)CNN_MASK(n), p)
#define CNN_MASKED_STORE(p, n, v) _mm512_mask_storeu_ps(p, (__mmask16)CNN_MASK(n), (__m512)(v))
#define CNN_HALF_LOAD(p, n) _mm256_maskz_loadu_ps((__mmask8)CNN_MASK(n), p)
#define CNN_HALF_STORE(p, n, v) _mm256_mask_storeu_ps(p, (__mmask8)CNN_MASK(n), (__m256)(v))
#define CNN_WIDEN(v) _mm512_zextps256_ps512((__m256)(v))
#endif
#if defined(CNN_BYTES) && CNN_BYTES == 64
#define CNN_ELEMENTS CNN_ELEMENTS_F16
#define CNN_LANES CNN_LANES_F16
#elif defined(CNN_BYTES) && CNN_BYTES == 32
#define CNN_ELEMENTS CNN_ELEMENTS_F8
#define CNN_LANES CNN_LANES_F8
#else
#define CNN_ELEMENTS CNN_ELEMENTS_F4
#define CNN_LANES CNN_ELEMENTS /* there is one lane */
#endif
#include "tile_body.h"
#undef CNN_T
#undef CNN_
#undef CNN_ELEMENTS
#undef CNN_LANES
#undef CNN_MASKED_LOAD
#undef CNN_MASKED_STORE
#undef CNN_HALF_LOAD
#undef CNN_HALF_STORE
#undef CNN_WIDEN
#define CNN_T double
#define CNN_(name) cnn_##name
#if defined(CNN_MASK)
#define CNN_MASKED_LOAD(p, n) _mm512_maskz_loadu_pd((__mmask8)CNN_MASK(n), p)
#define CNN_MASKED_STORE(p, n, v) _mm512_mask_storeu_pd(p, (__mmask8)CNN_MASK(n), (__m512d)(v))
#define CNN_HALF_LOAD(p, n) _mm256_maskz_loadu_pd((__mmask8)CNN_MASK(n), p)
#define CNN_HALF_STORE(p, n, v) _mm256_mask_storeu_pd(p, (__mmask8)CNN_MASK(n), (__m256d)(v))
#define CNN_WIDEN(v) _mm512_zextpd256_pd512((__m256d)(v))
#endif
#if defined(CNN_BYTES) && CNN_BYTES == 64
#define CNN_ELEMENTS CNN_ELEMENTS_D8
#define CNN_LANES CNN_LANES_D8
#elif defined(CNN_BYTES) && CNN_BYTES == 32
#define CNN_ELEMENTS CNN_ELEMENTS_D4
#define CNN_LANES CNN_LANES_D4
#else
#define CNN_ELEMENTS CNN_ELEMENTS_D2
#define CNN_LANES CNN_ELEMENTS
#endif
#include "tile_body.h"
#undef CNN_T
#undef CNN_
#endif
