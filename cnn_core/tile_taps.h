/* Part of tile_body.h: products of a convolution (see convolution.pxd). Their sums run over pixels or points of a kernel,
 * each a product of its own, and stay in registers over all of them.
 */

/* I x J vectors of c = start or c (add) or 0, plus the products of n taps. Panel a has I numbers for each term. The J
 * vectors of a term begin at from[j], those of c at to[j]; rows of b and c are ld apart. `valid` of the I rows exist.
 */
CNN_INLINE void CNN_(taps_tile)(const int I, const int J, ptrdiff_t valid, const cnn_tap_t *taps, ptrdiff_t n,
                                const T *a, const T *b, const ptrdiff_t *from, ptrdiff_t ld, T *c, const ptrdiff_t *to,
                                const T *start, int add)
{
    V sum[8][4], zero = {0};
    int i, j;
    CNN_UNROLL for (i = 0; i < I; i++)
        CNN_UNROLL for (j = 0; j < J; j++) {
            if (start) sum[i][j] = start[i] - zero;
            else if (add && i < valid) sum[i][j] = LOAD(c + i * ld + to[j]);
            else sum[i][j] = zero;
        }
    for (; n > 0; n--, taps++) {
        const T *w = a + taps->a, *x[4];
        ptrdiff_t k = taps->terms;
        CNN_UNROLL for (j = 0; j < J; j++) x[j] = b + taps->b + from[j];
        for (; k > 0; k--) {
            V v[4];
            CNN_UNROLL for (j = 0; j < J; j++) {
                v[j] = LOAD(x[j]);
                x[j] += ld;
            }
            CNN_UNROLL for (i = 0; i < I; i++) {
                T s = w[i];
                CNN_UNROLL for (j = 0; j < J; j++) {
                    sum[i][j] += v[j] * s;
                    CNN_STAYS(sum[i][j]);
                }
            }
            w += I;
        }
    }
    CNN_UNROLL for (i = 0; i < I; i++)
        if (i < valid) CNN_UNROLL for (j = 0; j < J; j++) STORE(c + i * ld + to[j], sum[i][j]);
}

/* `pixels` neighbours that have the same taps: `valid` rows of c from the panel a of I numbers for each term, whole
 * vectors of ld. Steps lead from pixel to pixel. Vectors of several pixels share a tile, so none is empty.
 */
CNN_UNUSED void CNN_(taps)(int I, ptrdiff_t valid, const cnn_tap_t *taps, ptrdiff_t n, const T *a, const T *b,
                           ptrdiff_t b_step, ptrdiff_t ld, T *c, ptrdiff_t c_step, ptrdiff_t pixels, const T *start,
                           int add)
{
    ptrdiff_t v = 0, each = ld / CNN_L, all = pixels * each, from[4], to[4];
    int j;
#define RUN(I, J) \
    for (; v + J <= all; v += J) { \
        for (j = 0; j < J; j++) { \
            ptrdiff_t pixel = (v + j) / each, part = (v + j) % each * CNN_L; \
            from[j] = pixel * b_step + part; \
            to[j] = pixel * c_step + part; \
        } \
        CNN_(taps_tile)(I, J, valid, taps, n, a, b, from, ld, c, to, start, add); \
    }
    switch (I) {
#if CNN_WIDE
        case 8: RUN(8, 3) RUN(8, 2) RUN(8, 1) break;
        case 6: RUN(6, 4) RUN(6, 2) RUN(6, 1) break;
        case 4: RUN(4, 4) RUN(4, 2) RUN(4, 1) break;
        case 1: RUN(1, 4) RUN(1, 1) break;
#else
        case 6: RUN(6, 2) RUN(6, 1) break;
        case 4: RUN(4, 2) RUN(4, 1) break;
        case 1: RUN(1, 4) RUN(1, 1) break;
#endif
    }
#undef RUN
}

#if CNN_HALVES
/* What pixels_tile does, for half a vector. */
CNN_INLINE void CNN_(half_pixels_tile)(const int I, ptrdiff_t pixels, ptrdiff_t rows, const T *a, ptrdiff_t ld,
                                       ptrdiff_t a_step, const T *b, ptrdiff_t ldb, ptrdiff_t b_step, const T *start,
                                       T *c, ptrdiff_t ldc, ptrdiff_t part)
{
    CNN_(half) sum[12];
    ptrdiff_t r;
    int i;
    CNN_UNROLL for (i = 0; i < I; i++) sum[i] = CNN_(load_half)(start ? start : c + i * ldc, part);
    for (; pixels > 0; pixels--, a += a_step, b += b_step) {
        const T *x = a, *y = b;
        for (r = 0; r < rows; r++, x++, y += ldb) {
            CNN_(half) v = *(const CNN_(half) *)y;
            CNN_UNROLL for (i = 0; i < I; i++) sum[i] += v * x[i * ld];
        }
    }
    CNN_UNROLL for (i = 0; i < I; i++) CNN_(store_half)(c + i * ldc, sum[i], part);
}
#endif

/* I x J vectors of c = start or c, plus the products of a, I rows ld apart, and b, (rows, ldb), of `pixels` neighbours. */
CNN_INLINE void CNN_(pixels_tile)(const int I, const int J, ptrdiff_t pixels, ptrdiff_t rows, const T *a, ptrdiff_t ld,
                                  ptrdiff_t a_step, const T *b, ptrdiff_t ldb, ptrdiff_t b_step, const T *start,
                                  T *c, ptrdiff_t ldc, ptrdiff_t part)
{
    V sum[12][CNN_J];
    ptrdiff_t r;
    int i, j;
    CNN_UNROLL for (i = 0; i < I; i++)
        CNN_UNROLL for (j = 0; j < J; j++) {
            const T *from = (start ? start : c + i * ldc) + j * CNN_L;
            sum[i][j] = part && j == J - 1 ? CNN_(load_part)(from, part) : LOAD(from);
        }
    for (; pixels > 0; pixels--, a += a_step, b += b_step) {
        const T *x = a, *y = b;
        for (r = 0; r < rows; r++, x++, y += ldb) {
            V v[CNN_J];
            CNN_UNROLL for (j = 0; j < J; j++) v[j] = LOAD(y + j * CNN_L);
            CNN_UNROLL for (i = 0; i < I; i++) {
                T s = x[i * ld];
                CNN_UNROLL for (j = 0; j < J; j++) {
                    sum[i][j] += v[j] * s;
                    CNN_STAYS(sum[i][j]);
                }
            }
        }
    }
    CNN_UNROLL for (i = 0; i < I; i++)
        CNN_UNROLL for (j = 0; j < J; j++) {
            if (part && j == J - 1) CNN_(store_part)(c + i * ldc + j * CNN_L, sum[i][j], part);
            else STORE(c + i * ldc + j * CNN_L, sum[i][j]);
        }
}

/* c (ni, nj) = start (nj,) or c, plus the sum over `pixels` neighbours of a b: a (ni, rows), rows ld apart, b (rows, nj),
 * readable up to whole vectors.
 */
CNN_UNUSED void CNN_(add_pixels)(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t pixels, ptrdiff_t rows, const T *a, ptrdiff_t ld,
                                 ptrdiff_t a_step, const T *b, ptrdiff_t ldb, ptrdiff_t b_step, const T *start, T *c,
                                 ptrdiff_t ldc)
{
    ptrdiff_t i, j, left, rest;
#define TILE(I, J) \
    CNN_(pixels_tile)(I, J, pixels, rows, a + i * ld, ld, a_step, b + j, ldb, b_step, start ? start + j : NULL, \
                      c + i * ldc + j, ldc, left % CNN_L)
#define HALF_TILE(I, J) \
    CNN_(half_pixels_tile)(I, pixels, rows, a + i * ld, ld, a_step, b + j, ldb, b_step, start ? start + j : NULL, \
                           c + i * ldc + j, ldc, left)
/* What is left of the rows is cut into tiles that are there already: each is some hundred instructions. */
#define COLUMN(TILE, I, J) \
    { \
        for (i = 0; i + I <= ni; i += I) TILE(I, J); \
        for (; i < ni; i += rest) { \
            rest = ni - i > 8 ? 6 : ni - i > 6 ? 4 : ni - i == 5 ? 3 : ni - i; \
            switch (rest) { \
                case 1: TILE(1, J); break; \
                case 2: TILE(2, J); break; \
                case 3: TILE(3, J); break; \
                case 4: TILE(4, J); break; \
                case 6: if (I > 6) TILE(6, J); break; \
            } \
        } \
    }
    for (j = 0; j < nj; j += CNN_J * CNN_L) {
        left = nj - j < CNN_J * CNN_L ? nj - j : CNN_J * CNN_L;
#if CNN_HALVES
        if (left <= CNN_L / 2 && CNN_HALF_PAYS) {
            COLUMN(HALF_TILE, 12, 1)
            continue;
        }
#endif
        switch ((left + CNN_L - 1) / CNN_L) {
            case 1: COLUMN(TILE, (CNN_WIDE ? 12 : 6), 1) break;
            case 2: COLUMN(TILE, (CNN_WIDE ? 12 : 6), 2) break;
#if CNN_WIDE
            case 3: COLUMN(TILE, 8, 3) break;
            case 4: COLUMN(TILE, 6, 4) break;
#endif
        }
    }
#undef COLUMN
#undef TILE
#undef HALF_TILE
}

/* out (n,) = sums of the rows of d over all pixels, each (n, ld), `step` apart [+ out if add]. */
CNN_UNUSED void CNN_(sums_of_pixels)(ptrdiff_t n, ptrdiff_t pixels, ptrdiff_t ld, const T *d, ptrdiff_t step, T *out,
                                     int add)
{
    ptrdiff_t i, k, l, p;
    for (i = 0; i < n; i += 16) {
        V sum[16], zero = {0};
        T t[16];
        ptrdiff_t here = n - i < 16 ? n - i : 16;
        for (l = 0; l < 16; l++) sum[l] = zero;
        for (p = 0; p < pixels; p++)
            for (l = 0; l < here; l++) {
                const T *row = d + p * step + (i + l) * ld;
                V s = sum[l];
                for (k = 0; k < ld; k += CNN_L) s += LOAD(row + k);
                sum[l] = s;
            }
        CNN_(totals)(sum, 16, t);
        for (l = 0; l < here; l++) out[i + l] = add ? out[i + l] + t[l] : t[l];
    }
}
