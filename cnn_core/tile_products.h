/* Part of tile_body.h: matrix products, a tile of sums in registers at a time. */

/* I x J vectors of c = start or c (add) or 0, plus a b over nk. Of the last vector of a row only `part` elements are
 * loaded and stored, unless that is 0. H: it is half a vector, which `fill` asks to store as a whole one. F: nk lines
 * from `ahead` on are fetched to L2 on the way, one in each round, for many at once would hold up the loads.
 */
CNN_INLINE void CNN_(tile)(const int I, const int J, const int H, const int F, ptrdiff_t nk, const T *a, ptrdiff_t ai,
                           ptrdiff_t ak, const T *b, ptrdiff_t ldb, T *c, ptrdiff_t ldc, const T *start, int add,
                           ptrdiff_t part, int fill, const char *ahead)
{
    V sum[12][CNN_J], zero = {0};
    ptrdiff_t k;
    int i, j;
#if CNN_HALVES
    CNN_(half) last[12], none = {0};
    T *end = c + (J - 1) * CNN_L;
    if (H) CNN_UNROLL for (i = 0; i < I; i++) {
        if (start) last[i] = start[i] - none; /* which keeps -0 */
        else last[i] = add ? CNN_(load_half)(end + i * ldc, part) : none;
    }
#endif
    CNN_UNROLL for (i = 0; i < I; i++)
        CNN_UNROLL for (j = 0; j < J - H; j++) {
            if (start) sum[i][j] = start[i] - zero;
            else if (!add) sum[i][j] = zero;
            else if (part && j == J - 1) sum[i][j] = CNN_(load_part)(c + i * ldc + j * CNN_L, part);
            else sum[i][j] = LOAD(c + i * ldc + j * CNN_L);
        }
    for (k = 0; k < nk; k++) {
        V x[CNN_J];
#if CNN_HALVES
        CNN_(half) y;
        if (H) y = *(const CNN_(half) *)(b + k * ldb + (J - 1) * CNN_L);
#endif
        if (F) CNN_FETCH(ahead + k * CNN_LINE);
        CNN_UNROLL for (j = 0; j < J - H; j++) x[j] = LOAD(b + k * ldb + j * CNN_L);
        CNN_UNROLL for (i = 0; i < I; i++) {
            T s = a[i * ai + k * ak];
            CNN_UNROLL for (j = 0; j < J - H; j++) {
                sum[i][j] += x[j] * s;
                CNN_STAYS(sum[i][j]);
            }
#if CNN_HALVES
            if (H) last[i] += y * s;
#endif
        }
    }
    CNN_UNROLL for (i = 0; i < I; i++)
        CNN_UNROLL for (j = 0; j < J - H; j++) {
            if (part && j == J - 1) CNN_(store_part)(c + i * ldc + j * CNN_L, sum[i][j], part);
            else STORE(c + i * ldc + j * CNN_L, sum[i][j]);
        }
#if CNN_HALVES
    if (H) CNN_UNROLL for (i = 0; i < I; i++) {
        if (fill) STORE(end + i * ldc, CNN_(widen)(last[i]));
        else CNN_(store_half)(end + i * ldc, last[i], part);
    }
#endif
}

/* All ni rows of a column of tiles; what stands from `ahead` to `end` is fetched to L2, if the rows last that long. */
CNN_INLINE void CNN_(column)(const int I, const int J, const int H, ptrdiff_t ni, ptrdiff_t nk, const T *a,
                             ptrdiff_t ai, ptrdiff_t ak, const T *b, ptrdiff_t ldb, T *c, ptrdiff_t ldc,
                             const T *start, int add, ptrdiff_t part, int fill, const char *ahead, const char *end)
{
    ptrdiff_t i = 0;
#define ROWS(n, F) \
    CNN_(tile)(n, J, H, F, nk, a + i * ai, ai, ak, b, ldb, c + i * ldc, ldc, start ? start + i : NULL, add, part, \
               fill, ahead)
    for (; ahead < end && i + I <= ni; i += I, ahead += nk * CNN_LINE) ROWS(I, 1);
    for (; i + I <= ni; i += I) ROWS(I, 0);
    if (I > 6 && ni - i >= 6) { ROWS(6, 0); i += 6; }
    switch (ni - i) {
        case 1: ROWS(1, 0); break;
        case 2: ROWS(2, 0); break;
        case 3: ROWS(3, 0); break;
        case 4: ROWS(4, 0); break;
        case 5: ROWS(5, 0); break;
    }
#undef ROWS
}

/* c (ni, nj) = a b [+ c if add] [+ start (ni,) along the rows]; a(i, k) = a[i * ai + k * ak], b (nk, nj), c row-major.
 *
 * b must be readable up to a whole vector in every row; c is written up to that if `fill` says so: with sums of what b
 * has there, or 0. (So deltas, whose padding is 0, stay so.) Every element of c is one sum in the order of k, so cutting
 * the product along i or j changes no bit. Meanwhile n_ahead elements from `ahead` on are fetched to L2, where there are
 * enough tiles of the widest kind; they may be anywhere.
 */
CNN_UNUSED void CNN_(matmul)(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t nk, const T *a, ptrdiff_t ai, ptrdiff_t ak,
                              const T *b, ptrdiff_t ldb, T *c, ptrdiff_t ldc, const T *start, int add, int fill,
                              const T *ahead, ptrdiff_t n_ahead)
{
    const char *next = (const char *)ahead, *end = (const char *)(ahead + n_ahead);
    ptrdiff_t k = 0;
    do {
        ptrdiff_t depth = nk - k < CNN_DEPTH ? nk - k : CNN_DEPTH, j = 0, part;
#define COLUMN_AHEAD(I, J, H, part, next, end) \
    CNN_(column)(I, J, H, ni, depth, a + k * ak, ai, ak, b + k * ldb + j, ldb, c + j, ldc, start, add, part, fill, \
                 next, end)
#define COLUMN(I, J, H, part) COLUMN_AHEAD(I, J, H, part, NULL, NULL)
        for (; j + CNN_J * CNN_L <= nj; j += CNN_J * CNN_L) {
            COLUMN_AHEAD(6, CNN_J, 0, 0, next, end);
            end = next; /* all is on its way */
        }
        part = (nj - j) % CNN_L;
#if CNN_HALVES
        if (part && part <= CNN_L / 2 && CNN_HALF_PAYS) {
            switch ((nj - j) / CNN_L) {
                case 0: COLUMN(12, 1, 1, part); break;
                case 1: COLUMN(12, 2, 1, part); break;
                case 2: COLUMN(8, 3, 1, part); break;
                case 3: COLUMN(6, 4, 1, part); break;
            }
            j = nj;
        }
#endif
        if (fill) part = 0;
        switch ((nj - j + CNN_L - 1) / CNN_L) {
            case 1: if (part) COLUMN(CNN_WIDE ? 12 : 6, 1, 0, part); else COLUMN(CNN_WIDE ? 12 : 6, 1, 0, 0); break;
            case 2: if (part) COLUMN(CNN_WIDE ? 12 : 6, 2, 0, part); else COLUMN(CNN_WIDE ? 12 : 6, 2, 0, 0); break;
#if CNN_WIDE
            case 3: if (part) COLUMN(8, 3, 0, part); else COLUMN(8, 3, 0, 0); break;
            case 4: COLUMN(6, 4, 0, part); break;
#endif
        }
#undef COLUMN
#undef COLUMN_AHEAD
        k += CNN_DEPTH;
        start = NULL;
        add = 1;
    } while (k < nk);
}
