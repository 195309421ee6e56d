/* Part of tile_body.h: sums along the rows of a slab, and the products of narrow layers, which are such sums. */

/* out[g] = the sum of the elements of v[g], for n vectors (n <= 16); v has room for a multiple of the vector length. */
CNN_INLINE void CNN_(totals)(V *v, const int n, T *out)
{
    int g, l;
#if CNN_SHUFFLES
    V zero = {0};
    int step;
    CNN_UNROLL for (l = n; l % CNN_L; l++) v[l] = zero;
    /* Each round adds neighbouring elements, or lanes, of two vectors and lays the sums side by side. */
    CNN_UNROLL for (g = 0; g < n; g += CNN_L) {
        CNN_UNROLL for (step = 1; step < CNN_L; step *= 2)
            CNN_UNROLL for (l = g; l < g + CNN_L; l += 2 * step)
                v[l] = PICK(v[l], v[l + step], step, 0) + PICK(v[l], v[l + step], step, 1);
        STORE(out + g, v[g]);
    }
#else
    for (g = 0; g < n; g++) {
        T t[CNN_BYTES_MAX / sizeof(T)];
        STORE(t, v[g]);
        out[g] = 0;
        for (l = 0; l < CNN_L; l++) out[g] += t[l];
    }
#endif
}

/* I x J sums, rows of c ldc apart; `valid` of the I rows of a exist. W: over the pixels of a walk, which a step of a
 * small dense layer has no time to look for.
 */
CNN_INLINE void CNN_(dot_tile)(const int I, const int J, const int W, ptrdiff_t nk, const T *a, ptrdiff_t lda,
                               ptrdiff_t valid, const T *b, ptrdiff_t ldb, const cnn_walk_t *walk, T *c, ptrdiff_t ldc,
                               int add)
{
    V sum[CNN_SUMS], spare[CNN_SUMS], zero = {0};
    T t[CNN_SUMS + CNN_BYTES_MAX / sizeof(T)];
    const T *row[CNN_SUMS];
    ptrdiff_t k, x, y, n = (valid < I ? valid : I) * J;
    int i, j;
    CNN_UNROLL for (i = 0; i < I; i++) row[i] = a + (i < valid ? i : valid - 1) * lda;
    CNN_UNROLL for (i = 0; i < I * J; i++) sum[i] = zero;
    for (y = 0; y < (W ? walk->lines : 1); y++)
        for (x = 0; x < (W ? walk->pixels : 1); x++) {
            const T *d = W ? b + y * walk->b_line + x * walk->b_pixel : b;
            ptrdiff_t at = W ? y * walk->a_line + x * walk->a_pixel : 0;
            for (k = 0; k < nk; k += CNN_L) {
                V v[8];
                CNN_UNROLL for (j = 0; j < J; j++) v[j] = LOAD(d + j * ldb + k);
                CNN_UNROLL for (i = 0; i < I; i++) {
                    V w = LOAD(row[i] + at + k);
                    CNN_UNROLL for (j = 0; j < J; j++) sum[i * J + j] += v[j] * w;
                }
            }
        }
    CNN_UNROLL for (i = 0; i < CNN_SUMS; i++) spare[i] = i < I * J ? sum[i] : zero;
    CNN_(totals)(spare, CNN_SUMS, t);
    if (ldc > J) {
        for (i = 0; i < n / J; i++)
            for (j = 0; j < J; j++) c[i * ldc + j] = add ? c[i * ldc + j] + t[i * J + j] : t[i * J + j];
        return;
    }
    for (k = 0; k < n; k += CNN_L) {
        V v = LOAD(t + k);
        if (n - k >= CNN_L) {
            if (add) v += LOAD(c + k);
            STORE(c + k, v);
        } else {
            if (add) v += CNN_(load_part)(c + k, n - k);
            CNN_(store_part)(c + k, v, n - k);
        }
    }
}

/* Two functions, for a compiler with all tiles in one has no registers left for the addresses. */
#define DOTS(J, SIDE, W) \
    case J: \
        for (i = 0; i < ni; i += CNN_SUMS / SIDE) \
            for (j = 0; j < J; j += SIDE) \
                CNN_(dot_tile)(CNN_SUMS / SIDE, SIDE, W, nk, a + i * lda, lda, ni - i, b + j * ldb, ldb, walk, \
                               c + i * J + j, J, add); \
        break;
#if CNN_WIDE /* square tiles load the least */
#define SIX_AND_EIGHT(W) DOTS(6, 3, W) DOTS(8, 4, W)
#else
#define SIX_AND_EIGHT(W) DOTS(6, 6, W) DOTS(8, 8, W)
#endif
#define UP_TO_EIGHT(W) \
    DOTS(1, 1, W) DOTS(2, 2, W) DOTS(3, 3, W) DOTS(4, 4, W) DOTS(5, 5, W) DOTS(7, 7, W) SIX_AND_EIGHT(W)

/* c (ni, nj) = a b' [+ c if add], a (ni, nk), b (nj, nk), nj <= 8, nk a multiple of the vector length: narrow layers. */
CNN_UNUSED void CNN_(matmul_narrow)(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t nk, const T *a, ptrdiff_t lda, const T *b,
                                    ptrdiff_t ldb, T *c, int add)
{
    const cnn_walk_t *walk = NULL;
    ptrdiff_t i, j;
    switch (nj) { UP_TO_EIGHT(0) }
}

/* The same of sums that go on over all pixels of a walk. */
CNN_UNUSED void CNN_(narrow_of_pixels)(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t nk, const T *a, ptrdiff_t lda, const T *b,
                                       ptrdiff_t ldb, const cnn_walk_t *walk, T *c, int add)
{
    ptrdiff_t i, j;
    switch (nj) { UP_TO_EIGHT(1) }
}
#undef UP_TO_EIGHT
#undef SIX_AND_EIGHT
#undef DOTS

/* out (n,) = sums of the rows of d (n, nk), or with a (n, nk) of d a, [+ out if add]; nk is whole vectors. */
CNN_INLINE void CNN_(sums_of_rows)(ptrdiff_t n, ptrdiff_t nk, const T *d, const T *a, ptrdiff_t ld, T *out, int add)
{
    ptrdiff_t i, k, l, row;
    for (i = 0; i < n; i += 16) {
        V sum[16], zero = {0};
        T t[16];
        ptrdiff_t here = n - i < 16 ? n - i : 16;
        for (l = 0; l < 16; l++) {
            sum[l] = zero;
            row = (i + l) * ld;
            if (l < here && a == NULL) for (k = row; k < row + nk; k += CNN_L) sum[l] += LOAD(d + k);
            if (l < here && a != NULL) for (k = row; k < row + nk; k += CNN_L) sum[l] += LOAD(d + k) * LOAD(a + k);
        }
        CNN_(totals)(sum, 16, t);
        for (l = 0; l < here; l++) out[i + l] = add ? out[i + l] + t[l] : t[l];
    }
}

CNN_UNUSED void CNN_(row_sums)(ptrdiff_t n, ptrdiff_t nk, const T *d, ptrdiff_t ld, T *out, int add)
{
    CNN_(sums_of_rows)(n, nk, d, NULL, ld, out, add);
}

CNN_UNUSED void CNN_(row_dots)(ptrdiff_t n, ptrdiff_t nk, const T *d, const T *a, ptrdiff_t ld, T *out, int add)
{
    CNN_(sums_of_rows)(n, nk, d, a, ld, out, add);
}
