/* The functions of sparse.h for elements CNN_T; CNN_(name) makes their names.
 *
 * Rows of the matrix are cut into tiles of some vectors, which stay in registers while the non-zeros go by; what is left
 * is a part of a vector, by a mask in the last tile, or short vectors of 16 bytes and single elements: nothing beyond
 * the row is read or written. Every element is one sum in the order of the non-zeros, so where a row is cut changes no
 * bit.
 */
#define T CNN_T
#if CNN_VECTORS
#define CNN_L ((ptrdiff_t)(CNN_BYTES / sizeof(T)))
#define CNN_S ((ptrdiff_t)(16 / sizeof(T)))
typedef T CNN_(short_vector) __attribute__((vector_size(16), aligned(__alignof__(T)), may_alias));
#else
#define CNN_L ((ptrdiff_t)1)
#define CNN_S ((ptrdiff_t)1)
typedef T CNN_(short_vector);
#endif
#define LOAD(V, p) (*(const V *)(p))
#define STORE(V, p, v) (*(V *)(p) = (v))

/* J vectors of y = start + x[0] w[index[0]] + x[1] w[index[1]] + ..., of w[index[k]] += x[k] d, and of a staircase, whose
 * vectors are at most four: there are twice as many sums.
 */
#define CNN_TILE(name, V, L, LOAD, STORE) \
    CNN_INLINE void CNN_(add_rows_##name)(const int J, ptrdiff_t part, ptrdiff_t count, const T *x, \
                                          const int32_t *index, const T *w, const T *sums, ptrdiff_t ldw, \
                                          const T *start, T *y) \
    { \
        V sum[8], zero = {0}; \
        ptrdiff_t k; \
        int j; \
        CNN_UNROLL for (j = 0; j < J; j++) sum[j] = start ? LOAD(V, start + j * L) : zero; \
        for (k = 0; k < count; k++) { \
            const T *row = w + index[k] * ldw; \
            T s = x[k]; \
            if (sums) { \
                CNN_UNROLL for (j = 0; j < J; j++) sum[j] += LOAD(V, sums + index[k] * ldw + j * L); \
            } \
            CNN_UNROLL for (j = 0; j < J; j++) sum[j] += LOAD(V, row + j * L) * s; \
        } \
        CNN_UNROLL for (j = 0; j < J; j++) STORE(V, y + j * L, sum[j]); \
    } \
    CNN_INLINE void CNN_(add_to_rows_##name)(const int J, ptrdiff_t part, ptrdiff_t count, const T *x, \
                                             const int32_t *index, const T *d, T *w, ptrdiff_t ldw) \
    { \
        V delta[8]; \
        ptrdiff_t k; \
        int j; \
        CNN_UNROLL for (j = 0; j < J; j++) delta[j] = LOAD(V, d + j * L); \
        for (k = 0; k < count; k++) { \
            T *row = w + index[k] * ldw; \
            T s = x[k]; \
            CNN_UNROLL for (j = 0; j < J; j++) STORE(V, row + j * L, LOAD(V, row + j * L) + delta[j] * s); \
        } \
    } \
    CNN_INLINE void CNN_(stair_weights_##name)(const int J, ptrdiff_t part, ptrdiff_t height, const int32_t *starts, \
                                               const int32_t *index, const T *z, const T *d, ptrdiff_t ldd, int add, \
                                               T *dw, ptrdiff_t ldw) \
    { \
        V above[4], sum[4], zero = {0}; \
        ptrdiff_t i, k; \
        int j; \
        CNN_UNROLL for (j = 0; j < J; j++) above[j] = zero; \
        for (i = height - 1; i >= 0; i--) { \
            T *row = dw + i * ldw; \
            CNN_UNROLL for (j = 0; j < J; j++) { \
                sum[j] = above[j]; \
                if (add) sum[j] += LOAD(V, row + j * L); \
            } \
            for (k = starts[i]; k < starts[i + 1]; k++) { \
                const T *delta = d + index[k] * ldd; \
                T s = z[k]; \
                CNN_UNROLL for (j = 0; j < J; j++) { \
                    V one = LOAD(V, delta + j * L); \
                    sum[j] += one * s; \
                    above[j] += one; \
                } \
            } \
            CNN_UNROLL for (j = 0; j < J; j++) STORE(V, row + j * L, sum[j]); \
        } \
    }
CNN_TILE(vectors, CNN_(vector), CNN_L, LOAD, STORE)
#if defined(CNN_MASK)
/* The same, but of the last vector only `part` elements. */
#define PART_LOAD(V, p) (j == J - 1 ? (V)CNN_(load_part)(p, part) : LOAD(V, p))
#define PART_STORE(V, p, v) \
    do { \
        if (j == J - 1) CNN_(store_part)(p, v, part); \
        else STORE(V, p, v); \
    } while (0)
CNN_TILE(parts, CNN_(vector), CNN_L, PART_LOAD, PART_STORE)
#undef PART_LOAD
#undef PART_STORE
#else
CNN_TILE(shorts, CNN_(short_vector), CNN_S, LOAD, STORE)
CNN_TILE(ones, T, 1, LOAD, STORE)
#endif
#undef CNN_TILE

/* All n elements, from j on, 8 or 4 vectors at a time; TILE is given the kind and the number of vectors. */
#define CNN_ONE_OF_4(TILE, kind) \
    case 1: TILE(kind, 1); break; \
    case 2: TILE(kind, 2); break; \
    case 3: TILE(kind, 3); break; \
    case 4: TILE(kind, 4); break;
#define CNN_ONE_OF_8(TILE, kind) \
    CNN_ONE_OF_4(TILE, kind) \
    case 5: TILE(kind, 5); break; \
    case 6: TILE(kind, 6); break; \
    case 7: TILE(kind, 7); break; \
    case 8: TILE(kind, 8); break;
#if defined(CNN_MASK)
#define CNN_REST(ONE_OF, TILE) \
    if (part) \
        switch ((n - j) / CNN_L + 1) { ONE_OF(TILE, parts) } \
    else \
        switch ((n - j) / CNN_L) { ONE_OF(TILE, vectors) }
#else
#define CNN_REST(ONE_OF, TILE) \
    switch ((n - j) / CNN_L) { ONE_OF(TILE, vectors) } \
    for (j = n - part; j + CNN_S <= n; j += CNN_S) TILE(shorts, 1); \
    for (; j < n; j++) TILE(ones, 1)
#endif
#define CNN_TILES(most, TILE) \
    for (; j + most * CNN_L <= n; j += most * CNN_L) TILE(vectors, most); \
    CNN_REST(CNN_ONE_OF_##most, TILE)

/* y (n,) = start (NULL: 0) + x[0] w[index[0]] + x[1] w[index[1]] + ..., in this order, for `count` rows of w (any, ldw).
 */
CNN_UNUSED void CNN_(add_rows)(ptrdiff_t count, const T *x, const int32_t *index, const T *w, ptrdiff_t ldw,
                               ptrdiff_t n, const T *start, T *y)
{
    ptrdiff_t j = 0, part = n % CNN_L;
#define TILE(kind, J) CNN_(add_rows_##kind)(J, part, count, x, index, w + j, NULL, ldw, start ? start + j : NULL, y + j)
    CNN_TILES(8, TILE);
#undef TILE
}

/* y (n,) = start (NULL: 0) + sums[index[0]] + x[0] w[index[0]] + sums[index[1]] + ..., in this order; both (any, ldw).
 */
CNN_UNUSED void CNN_(add_stairs)(ptrdiff_t count, const T *x, const int32_t *index, const T *w, const T *sums,
                                 ptrdiff_t ldw, ptrdiff_t n, const T *start, T *y)
{
    ptrdiff_t j = 0, part = n % CNN_L;
#define TILE(kind, J) \
    CNN_(add_rows_##kind)(J, part, count, x, index, w + j, sums + j, ldw, start ? start + j : NULL, y + j)
    CNN_TILES(8, TILE);
#undef TILE
}

/* w[index[k]] (n,) += x[k] d for `count` rows of w (any, ldw), in this order. */
CNN_UNUSED void CNN_(add_to_rows)(ptrdiff_t count, const T *x, const int32_t *index, const T *d, ptrdiff_t n, T *w,
                                  ptrdiff_t ldw)
{
    ptrdiff_t j = 0, part = n % CNN_L;
#define TILE(kind, J) CNN_(add_to_rows_##kind)(J, part, count, x, index, d + j, w + j, ldw)
    CNN_TILES(8, TILE);
#undef TILE
}

/* dw[i] (n,) = z[k] d[index[k]] for all k from starts[i] to starts[i + 1] - 1, + d[index[k]] for all k from there on, (+
 * dw[i] if add), for i < height; dw (height, ldw), d (any, ldd).
 */
CNN_UNUSED void CNN_(stair_weights)(ptrdiff_t height, const int32_t *starts, const int32_t *index, const T *z,
                                    const T *d, ptrdiff_t ldd, ptrdiff_t n, int add, T *dw, ptrdiff_t ldw)
{
    ptrdiff_t j = 0, part = n % CNN_L;
#define TILE(kind, J) CNN_(stair_weights_##kind)(J, part, height, starts, index, z, d + j, ldd, add, dw + j, ldw)
    CNN_TILES(4, TILE);
#undef TILE
}

#undef CNN_TILES
#undef CNN_REST
#undef CNN_ONE_OF_4
#undef CNN_ONE_OF_8
#undef T
#undef LOAD
#undef STORE
#undef CNN_L
#undef CNN_S
