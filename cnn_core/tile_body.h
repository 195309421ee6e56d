/* The functions of tile.h for elements CNN_T; CNN_(name) makes their names. */
#if CNN_VECTORS
#define CNN_L ((ptrdiff_t)(CNN_BYTES / sizeof(CNN_T)))
typedef CNN_T CNN_(vector) __attribute__((vector_size(CNN_BYTES), aligned(__alignof__(CNN_T)), may_alias));
#if CNN_HALVES
typedef CNN_T CNN_(half) __attribute__((vector_size(CNN_BYTES / 2), aligned(__alignof__(CNN_T)), may_alias));
#endif
#else
#define CNN_L ((ptrdiff_t)1)
typedef CNN_T CNN_(vector);
#endif
#define V CNN_(vector)
#define T CNN_T
#define LOAD(p) (*(const V *)(p))
#define STORE(p, v) (*(V *)(p) = (v))

/* Elements of a vector. */
CNN_INLINE ptrdiff_t CNN_(lanes)(void) { return CNN_L; }

/* The first n elements of a vector, 0 for the others, n <= CNN_L: nothing beyond them is read or written. */
CNN_INLINE V CNN_(load_part)(const T *p, ptrdiff_t n)
{
#if defined(CNN_MASK)
    return (V)CNN_MASKED_LOAD(p, n);
#else
    T t[CNN_BYTES_MAX / sizeof(T)] = {0};
    ptrdiff_t i;
    for (i = 0; i < n; i++) t[i] = p[i];
    return LOAD(t);
#endif
}

CNN_INLINE void CNN_(store_part)(T *p, V v, ptrdiff_t n)
{
#if defined(CNN_MASK)
    CNN_MASKED_STORE(p, n, v);
#else
    T t[CNN_BYTES_MAX / sizeof(T)];
    ptrdiff_t i;
    STORE(t, v);
    for (i = 0; i < n; i++) p[i] = t[i];
#endif
}

#if CNN_SHUFFLES
/* Every other element of a and b; in rounds of twice the step from 1 on, which exchange one bit of the vectors' numbers
 * for one of the elements', all is in its place in the end.
 */
#define PICK(a, b, step, odd) \
    ((step) * sizeof(T) < 16 ? __builtin_shufflevector(a, b, CNN_ELEMENTS(odd)) \
                             : __builtin_shufflevector(a, b, CNN_LANES(odd)))
#endif

#if CNN_HALVES
/* The first n elements of half a vector, and the way back. */
CNN_INLINE CNN_(half) CNN_(load_half)(const T *p, ptrdiff_t n) { return (CNN_(half))CNN_HALF_LOAD(p, n); }
CNN_INLINE void CNN_(store_half)(T *p, CNN_(half) v, ptrdiff_t n) { CNN_HALF_STORE(p, n, v); }
/* Half a vector and zeros behind it. */
CNN_INLINE V CNN_(widen)(CNN_(half) v) { return (V)CNN_WIDEN(v); }
#endif

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
        if (start) last[i] = none + start[i];
        else last[i] = add ? CNN_(load_half)(end + i * ldc, part) : none;
    }
#endif
    CNN_UNROLL for (i = 0; i < I; i++)
        CNN_UNROLL for (j = 0; j < J - H; j++) {
            if (start) sum[i][j] = zero + start[i];
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
CNN_UNUSED void CNN_(product)(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t nk, const T *a, ptrdiff_t ai, ptrdiff_t ak,
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

/* I x J sums, which stand side by side in c; `valid` of the I rows of a exist. */
CNN_INLINE void CNN_(dot_tile)(const int I, const int J, ptrdiff_t nk, const T *a, ptrdiff_t lda, ptrdiff_t valid,
                               const T *b, ptrdiff_t ldb, T *c, int add)
{
    V sum[CNN_SUMS], spare[CNN_SUMS], zero = {0};
    T t[CNN_SUMS + CNN_BYTES_MAX / sizeof(T)];
    const T *row[CNN_SUMS];
    ptrdiff_t k, n = (valid < I ? valid : I) * J;
    int i, j;
    CNN_UNROLL for (i = 0; i < I; i++) row[i] = a + (i < valid ? i : valid - 1) * lda;
    CNN_UNROLL for (i = 0; i < I * J; i++) sum[i] = zero;
    for (k = 0; k < nk; k += CNN_L) {
        V x[8];
        CNN_UNROLL for (j = 0; j < J; j++) x[j] = LOAD(b + j * ldb + k);
        CNN_UNROLL for (i = 0; i < I; i++) {
            V y = LOAD(row[i] + k);
            CNN_UNROLL for (j = 0; j < J; j++) sum[i * J + j] += x[j] * y;
        }
    }
    CNN_UNROLL for (i = 0; i < CNN_SUMS; i++) spare[i] = i < I * J ? sum[i] : zero;
    CNN_(totals)(spare, CNN_SUMS, t);
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

/* c (ni, nj) = a b' [+ c if add], a (ni, nk), b (nj, nk), nj <= 8, nk a multiple of the vector length: narrow layers. */
CNN_UNUSED void CNN_(dots)(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t nk, const T *a, ptrdiff_t lda, const T *b,
                           ptrdiff_t ldb, T *c, int add)
{
    ptrdiff_t i;
#define DOTS(J) \
    case J: \
        for (i = 0; i < ni; i += CNN_SUMS / J) \
            CNN_(dot_tile)(CNN_SUMS / J, J, nk, a + i * lda, lda, ni - i, b, ldb, c + i * J, add); \
        break;
    switch (nj) { DOTS(1) DOTS(2) DOTS(3) DOTS(4) DOTS(5) DOTS(6) DOTS(7) DOTS(8) }
#undef DOTS
}

/* out (n,) = sums of the rows of d (n, nk) [+ out if add], nk a multiple of the vector length. */
CNN_UNUSED void CNN_(row_sums)(ptrdiff_t n, ptrdiff_t nk, const T *d, ptrdiff_t ld, T *out, int add)
{
    ptrdiff_t i, k, l;
    for (i = 0; i < n; i += 16) {
        V sum[16], zero = {0};
        T t[16];
        ptrdiff_t here = n - i < 16 ? n - i : 16;
        for (l = 0; l < 16; l++) {
            sum[l] = zero;
            if (l < here) for (k = 0; k < nk; k += CNN_L) sum[l] += LOAD(d + (i + l) * ld + k);
        }
        CNN_(totals)(sum, 16, t);
        for (l = 0; l < here; l++) out[i + l] = add ? out[i + l] + t[l] : t[l];
    }
}

#if CNN_SHUFFLES
/* v becomes its transpose. */
CNN_INLINE void CNN_(transpose)(V *v)
{
    int i;
#define ROUND(step) \
    if ((step) < CNN_L) CNN_UNROLL for (i = 0; i < CNN_L / 2; i++) { \
        V *a = v + i / (step) * 2 * (step) + i % (step), *b = a + (step), even = PICK(*a, *b, step, 0); \
        *b = PICK(*a, *b, step, 1); \
        *a = even; \
    }
    ROUND(1) ROUND(2) ROUND(4) ROUND(8)
#undef ROUND
}

/* The sum of the L vectors of a block, in pairs. */
CNN_INLINE V CNN_(sum_of)(const V *v)
{
    V s[CNN_BYTES / sizeof(T)];
    int half, i;
    CNN_UNROLL for (i = 0; i < CNN_L; i++) s[i] = v[i];
    CNN_UNROLL for (half = CNN_L / 2; half > 0; half /= 2)
        CNN_UNROLL for (i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}
#endif

/* out[j * ld + r] = row r of x (any, n), in the order given or from `begin` on, for r < rows; 0 for rows <= r < ld. */
CNN_UNUSED void CNN_(gather)(ptrdiff_t rows, ptrdiff_t ld, ptrdiff_t n, const T *x, const int64_t *order,
                             ptrdiff_t begin, T *out)
{
    ptrdiff_t r, j, l;
    if (n == 1) { /* targets and weights, mostly */
        if (order) for (r = 0; r < rows; r++) out[r] = x[order[begin + r]];
        else memcpy(out, x + begin, rows * sizeof(T));
        for (r = rows; r < ld; r++) out[r] = 0;
        return;
    }
    for (r = 0; r < ld; r += CNN_L) {
        const T *row[CNN_BYTES_MAX / sizeof(T)];
        ptrdiff_t here = rows - r < CNN_L ? rows - r : CNN_L;
        j = 0;
#if CNN_SHUFFLES
        for (; n >= 3 && j < n; j += CNN_L) {
            V v[CNN_BYTES / sizeof(T)];
            ptrdiff_t width = n - j < CNN_L ? n - j : CNN_L, at;
            /* The rows' places are looked up again for every block: that is cheaper than to keep them. */
#define ROWS(index, load) \
    CNN_UNROLL for (l = 0; l < CNN_L; l++) { \
        at = index; \
        CNN_SCALAR(at); \
        v[l] = load; \
    }
#define ROW (x + at * n + j)
            if (here < CNN_L) {
                V some[CNN_BYTES / sizeof(T)] = {{0}};  /* in memory, unlike v */
                for (l = 0; l < here; l++) {
                    at = order ? order[begin + r + l] : begin + r + l;
                    some[l] = CNN_(load_part)(ROW, width);
                }
                CNN_UNROLL for (l = 0; l < CNN_L; l++) v[l] = some[l];
            } else if (width == CNN_L) {
                if (order) ROWS(order[begin + r + l], LOAD(ROW))
                else ROWS(begin + r + l, LOAD(ROW))
            } else if (order) ROWS(order[begin + r + l], CNN_(load_part)(ROW, width))
            else ROWS(begin + r + l, CNN_(load_part)(ROW, width))
#undef ROWS
#undef ROW
            CNN_(transpose)(v);
            if (width == CNN_L) CNN_UNROLL for (l = 0; l < CNN_L; l++) STORE(out + (j + l) * ld + r, v[l]);
            else CNN_UNROLL for (l = 0; l < CNN_L; l++) if (l < width) STORE(out + (j + l) * ld + r, v[l]);
        }
#endif
        if (j >= n) continue;
        for (l = 0; l < here; l++) row[l] = x + (order ? order[begin + r + l] : begin + r + l) * n;
        for (; j < n; j++) {
            /* Two loops: GCC 12 makes wrong vector code of one with a choice inside. */
            for (l = 0; l < here; l++) out[j * ld + r + l] = row[l][j];
            for (; l < CNN_L; l++) out[j * ld + r + l] = 0;
        }
    }
}

/* The way back: row r of y (any, n), in the order given or from `begin` on, = in[j * ld + r]. */
CNN_UNUSED void CNN_(scatter)(ptrdiff_t rows, ptrdiff_t ld, ptrdiff_t n, const T *in, const int64_t *order,
                              ptrdiff_t begin, T *y)
{
    ptrdiff_t r, j, l;
    for (r = 0; r < rows; r += CNN_L) {
        T *row[CNN_BYTES_MAX / sizeof(T)];
        ptrdiff_t here = rows - r < CNN_L ? rows - r : CNN_L;
        for (l = 0; l < here; l++) row[l] = y + (order ? order[begin + r + l] : begin + r + l) * n;
        j = 0;
#if CNN_SHUFFLES
        for (; n >= 3 && j < n; j += CNN_L) {
            V v[CNN_BYTES / sizeof(T)], zero = {0};
            ptrdiff_t width = n - j < CNN_L ? n - j : CNN_L;
            CNN_UNROLL for (l = 0; l < CNN_L; l++) v[l] = l < width ? LOAD(in + (j + l) * ld + r) : zero;
            CNN_(transpose)(v);
            CNN_UNROLL for (l = 0; l < CNN_L; l++)
                if (l < here) CNN_(store_part)(row[l] + j, v[l], width);
        }
#endif
        for (; j < n; j++)
            for (l = 0; l < here; l++) row[l][j] = in[j * ld + r + l];
    }
}

/* out (nk, ldt) = the transpose of d (n, nk), nk a multiple of the vector length; columns n .. ldt - 1 become 0.
 *
 * sums (n,), unless NULL, = the sums of the rows of d [+ sums if add], for next to nothing on the way.
 */
CNN_UNUSED void CNN_(turn)(ptrdiff_t n, ptrdiff_t nk, const T *d, ptrdiff_t ld, T *out, ptrdiff_t ldt, T *sums, int add)
{
    ptrdiff_t k, j, l;
#if !CNN_SHUFFLES
    if (sums) CNN_(row_sums)(n, nk, d, ld, sums, add);
#endif
    for (j = 0; j < ldt; j += CNN_L) {
#if CNN_SHUFFLES
        V sum = {0};
#endif
        for (k = 0; k < nk; k += CNN_L) {
#if CNN_SHUFFLES
            V v[CNN_BYTES / sizeof(T)], last[CNN_BYTES / sizeof(T)], zero = {0};
            const T *from = d + j * ld + k;
            ptrdiff_t stride = ld;
            if (j + CNN_L > n) { /* the last units, and zeros */
                for (l = 0; l < CNN_L; l++) last[l] = j + l < n ? LOAD(from + l * ld) : zero;
                from = (const T *)last;
                stride = CNN_L;
            }
            CNN_UNROLL for (l = 0; l < CNN_L; l++) v[l] = LOAD(from + l * stride);
            CNN_(transpose)(v);
            CNN_UNROLL for (l = 0; l < CNN_L; l++) STORE(out + (k + l) * ldt + j, v[l]);
            sum += CNN_(sum_of)(v);
#else
            ptrdiff_t i;
            for (i = 0; i < CNN_L; i++)
                for (l = 0; l < CNN_L; l++) out[(k + i) * ldt + j + l] = j + l < n ? d[(j + l) * ld + k + i] : 0;
#endif
        }
#if CNN_SHUFFLES
        if (sums && j < n) {
            ptrdiff_t width = n - j < CNN_L ? n - j : CNN_L;
            if (add) sum += CNN_(load_part)(sums + j, width);
            CNN_(store_part)(sums + j, sum, width);
        }
#endif
    }
}

#undef V
#undef T
#undef LOAD
#undef STORE
#undef PICK
#undef CNN_L
