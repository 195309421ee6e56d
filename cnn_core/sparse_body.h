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

/* J vectors of y = start + x[0] w[index[0]] + x[1] w[index[1]] + ..., and of w[index[k]] += x[k] d. */
#define CNN_TILE(name, V, L, LOAD, STORE) \
    CNN_INLINE void CNN_(add_rows_##name)(const int J, ptrdiff_t part, ptrdiff_t count, const T *x, \
                                          const int32_t *index, const T *w, ptrdiff_t ldw, const T *start, T *y) \
    { \
        V sum[8], zero = {0}; \
        ptrdiff_t k; \
        int j; \
        CNN_UNROLL for (j = 0; j < J; j++) sum[j] = start ? LOAD(V, start + j * L) : zero; \
        for (k = 0; k < count; k++) { \
            const T *row = w + index[k] * ldw; \
            T s = x[k]; \
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

/* All n elements, from j on; TILE is given the kind and the number of vectors. */
#define CNN_ONE_OF(TILE, kind, n) \
    switch (n) { \
        case 1: TILE(kind, 1); break; \
        case 2: TILE(kind, 2); break; \
        case 3: TILE(kind, 3); break; \
        case 4: TILE(kind, 4); break; \
        case 5: TILE(kind, 5); break; \
        case 6: TILE(kind, 6); break; \
        case 7: TILE(kind, 7); break; \
        case 8: TILE(kind, 8); break; \
    }
#if defined(CNN_MASK)
#define CNN_REST(TILE) \
    if (part) CNN_ONE_OF(TILE, parts, (n - j) / CNN_L + 1) \
    else CNN_ONE_OF(TILE, vectors, (n - j) / CNN_L)
#else
#define CNN_REST(TILE) \
    CNN_ONE_OF(TILE, vectors, (n - j) / CNN_L) \
    for (j = n - part; j + CNN_S <= n; j += CNN_S) TILE(shorts, 1); \
    for (; j < n; j++) TILE(ones, 1)
#endif
#define CNN_TILES(TILE) \
    for (; j + 8 * CNN_L <= n; j += 8 * CNN_L) TILE(vectors, 8); \
    CNN_REST(TILE)

/* y (n,) = start (NULL: 0) + x[0] w[index[0]] + x[1] w[index[1]] + ..., in this order, for `count` rows of w (any, ldw).
 */
CNN_UNUSED void CNN_(add_rows)(ptrdiff_t count, const T *x, const int32_t *index, const T *w, ptrdiff_t ldw,
                               ptrdiff_t n, const T *start, T *y)
{
    ptrdiff_t j = 0, part = n % CNN_L;
#define TILE(kind, J) CNN_(add_rows_##kind)(J, part, count, x, index, w + j, ldw, start ? start + j : NULL, y + j)
    CNN_TILES(TILE);
#undef TILE
}

/* w[index[k]] (n,) += x[k] d for `count` rows of w (any, ldw), in this order. */
CNN_UNUSED void CNN_(add_to_rows)(ptrdiff_t count, const T *x, const int32_t *index, const T *d, ptrdiff_t n, T *w,
                                  ptrdiff_t ldw)
{
    ptrdiff_t j = 0, part = n % CNN_L;
#define TILE(kind, J) CNN_(add_to_rows_##kind)(J, part, count, x, index, d + j, w + j, ldw)
    CNN_TILES(TILE);
#undef TILE
}

#undef CNN_TILES
#undef CNN_REST
#undef CNN_ONE_OF
#undef T
#undef LOAD
#undef STORE
#undef CNN_L
#undef CNN_S
