/* The functions of tile.h for elements CNN_T; CNN_(name) makes their names. */
#if CNN_VECTORS
#define CNN_L ((ptrdiff_t)(CNN_BYTES / sizeof(CNN_T)))
typedef CNN_T CNN_(vector) __attribute__((vector_size(CNN_BYTES), aligned(__alignof__(CNN_T)), may_alias));
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

CNN_INLINE V CNN_(load_part)(const T *p, ptrdiff_t n)
{
    T t[CNN_BYTES_MAX / sizeof(T)] = {0};
    ptrdiff_t i;
    for (i = 0; i < n; i++) t[i] = p[i];
    return LOAD(t);
}

CNN_INLINE void CNN_(store_part)(T *p, V v, ptrdiff_t n)
{
    T t[CNN_BYTES_MAX / sizeof(T)];
    ptrdiff_t i;
    STORE(t, v);
    for (i = 0; i < n; i++) p[i] = t[i];
}

/* I x J vectors of c = start or c (add) or 0, plus a b over nk; the last vector has `part` elements unless that is 0. */
CNN_INLINE void CNN_(tile)(const int I, const int J, ptrdiff_t nk, const T *a, ptrdiff_t ai, ptrdiff_t ak, const T *b,
                           ptrdiff_t ldb, T *c, ptrdiff_t ldc, const T *start, int add, ptrdiff_t part)
{
    V sum[12][CNN_J], zero = {0};
    ptrdiff_t k;
    int i, j;
    CNN_UNROLL for (i = 0; i < I; i++)
        CNN_UNROLL for (j = 0; j < J; j++) {
            if (start) sum[i][j] = zero + start[i];
            else if (!add) sum[i][j] = zero;
            else if (part && j == J - 1) sum[i][j] = CNN_(load_part)(c + i * ldc + j * CNN_L, part);
            else sum[i][j] = LOAD(c + i * ldc + j * CNN_L);
        }
    for (k = 0; k < nk; k++) {
        V x[CNN_J];
        CNN_UNROLL for (j = 0; j < J; j++) x[j] = LOAD(b + k * ldb + j * CNN_L);
        CNN_UNROLL for (i = 0; i < I; i++) {
            T s = a[i * ai + k * ak];
            CNN_UNROLL for (j = 0; j < J; j++) sum[i][j] += x[j] * s;
        }
    }
    CNN_UNROLL for (i = 0; i < I; i++)
        CNN_UNROLL for (j = 0; j < J; j++) {
            if (part && j == J - 1) CNN_(store_part)(c + i * ldc + j * CNN_L, sum[i][j], part);
            else STORE(c + i * ldc + j * CNN_L, sum[i][j]);
        }
}

/* All ni rows of a column of tiles. */
CNN_INLINE void CNN_(column)(const int I, const int J, ptrdiff_t ni, ptrdiff_t nk, const T *a, ptrdiff_t ai,
                             ptrdiff_t ak, const T *b, ptrdiff_t ldb, T *c, ptrdiff_t ldc, const T *start, int add,
                             ptrdiff_t part)
{
    ptrdiff_t i = 0;
#define ROWS(n) CNN_(tile)(n, J, nk, a + i * ai, ai, ak, b, ldb, c + i * ldc, ldc, start ? start + i : NULL, add, part)
    for (; i + I <= ni; i += I) ROWS(I);
    if (I > 6) for (; i + 6 <= ni; i += 6) ROWS(6);
    for (; i + 3 <= ni; i += 3) ROWS(3);
    for (; i < ni; i++) ROWS(1);
#undef ROWS
}

/* c (ni, nj) = a b [+ c if add] [+ start (ni,) along the rows]; a(i, k) = a[i * ai + k * ak], b (nk, nj), c row-major.
 *
 * b must be readable up to a whole vector in every row. Every element of c is one sum in the order of k, so cutting the
 * product along i or j changes no bit.
 */
CNN_UNUSED void CNN_(product)(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t nk, const T *a, ptrdiff_t ai, ptrdiff_t ak,
                              const T *b, ptrdiff_t ldb, T *c, ptrdiff_t ldc, const T *start, int add)
{
    ptrdiff_t k = 0;
    do {
        ptrdiff_t depth = nk - k < CNN_DEPTH ? nk - k : CNN_DEPTH, j = 0, part;
#define COLUMN(I, J, part) \
    CNN_(column)(I, J, ni, depth, a + k * ak, ai, ak, b + k * ldb + j, ldb, c + j, ldc, start, add, part)
        for (; j + CNN_J * CNN_L <= nj; j += CNN_J * CNN_L) COLUMN(6, CNN_J, 0);
        part = (nj - j) % CNN_L;
        switch ((nj - j + CNN_L - 1) / CNN_L) {
            case 1: if (part) COLUMN(CNN_WIDE ? 12 : 6, 1, part); else COLUMN(CNN_WIDE ? 12 : 6, 1, 0); break;
            case 2: if (part) COLUMN(CNN_WIDE ? 12 : 6, 2, part); else COLUMN(CNN_WIDE ? 12 : 6, 2, 0); break;
#if CNN_WIDE
            case 3: if (part) COLUMN(8, 3, part); else COLUMN(8, 3, 0); break;
            case 4: COLUMN(6, 4, part); break;
#endif
        }
#undef COLUMN
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
    int half;
    CNN_UNROLL for (l = n; l % CNN_L; l++) v[l] = zero;
    /* Each round adds the halves of two vectors and lays the sums side by side. */
    CNN_UNROLL for (g = 0; g < n; g += CNN_L) {
        CNN_UNROLL for (half = CNN_L / 2; half > 0; half /= 2)
            CNN_UNROLL for (l = 0; l < half; l++)
                v[g + l] = __builtin_shufflevector(v[g + l], v[g + l + half], CNN_LOW)
                         + __builtin_shufflevector(v[g + l], v[g + l + half], CNN_HIGH);
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

CNN_INLINE void CNN_(dot_tile)(const int I, const int J, ptrdiff_t nk, const T *a, ptrdiff_t lda, const T *b,
                               ptrdiff_t ldb, T *c, ptrdiff_t ldc, int add)
{
    V sum[16], zero = {0};
    T t[16];
    ptrdiff_t k;
    int i, j;
    CNN_UNROLL for (i = 0; i < I * J; i++) sum[i] = zero;
    for (k = 0; k < nk; k += CNN_L) {
        V x[4];
        CNN_UNROLL for (j = 0; j < J; j++) x[j] = LOAD(b + j * ldb + k);
        CNN_UNROLL for (i = 0; i < I; i++) {
            V y = LOAD(a + i * lda + k);
            CNN_UNROLL for (j = 0; j < J; j++) sum[i * J + j] += x[j] * y;
        }
    }
    CNN_(totals)(sum, I * J, t);
    CNN_UNROLL for (i = 0; i < I; i++)
        CNN_UNROLL for (j = 0; j < J; j++) c[i * ldc + j] = add ? c[i * ldc + j] + t[i * J + j] : t[i * J + j];
}

/* c (ni, nj) = a b' [+ c if add], a (ni, nk), b (nj, nk), nk a multiple of the vector length: for narrow layers. */
CNN_UNUSED void CNN_(dots)(ptrdiff_t ni, ptrdiff_t nj, ptrdiff_t nk, const T *a, ptrdiff_t lda, const T *b,
                           ptrdiff_t ldb, T *c, ptrdiff_t ldc, int add)
{
    ptrdiff_t i, j = 0;
#define DOTS(I, J) CNN_(dot_tile)(I, J, nk, a + i * lda, lda, b + j * ldb, ldb, c + i * ldc + j, ldc, add)
#define DOT_ROWS(J) { for (i = 0; i + 4 <= ni; i += 4) DOTS(4, J); for (; i < ni; i++) DOTS(1, J); }
    for (; j + 4 <= nj; j += 4) DOT_ROWS(4)
    switch (nj - j) {
        case 1: DOT_ROWS(1) break;
        case 2: DOT_ROWS(2) break;
        case 3: DOT_ROWS(3) break;
    }
#undef DOT_ROWS
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
/* v becomes its transpose: after log2(L) perfect shuffles of the whole block every element stands in its place. */
CNN_INLINE void CNN_(transpose)(V *v)
{
    V t[CNN_BYTES / sizeof(T)];
    int step, i;
    CNN_UNROLL for (step = 1; step < CNN_L; step *= 2) {
        CNN_UNROLL for (i = 0; i < CNN_L / 2; i++) {
            t[2 * i] = __builtin_shufflevector(v[i], v[i + CNN_L / 2], CNN_LOW);
            t[2 * i + 1] = __builtin_shufflevector(v[i], v[i + CNN_L / 2], CNN_HIGH);
        }
        CNN_UNROLL for (i = 0; i < CNN_L; i++) v[i] = t[i];
    }
}
#endif

/* out[j * ld + r] = row r of x (any, n), in the order given or from `begin` on, for r < rows; 0 for rows <= r < ld.
 *
 * `size` is the number of elements of x: what lies beyond is never read.
 */
CNN_UNUSED void CNN_(gather)(ptrdiff_t rows, ptrdiff_t ld, ptrdiff_t n, const T *x, ptrdiff_t size,
                             const int64_t *order, ptrdiff_t begin, T *out)
{
    ptrdiff_t r, j, l;
    for (r = 0; r < ld; r += CNN_L) {
        const T *row[CNN_BYTES_MAX / sizeof(T)];
        ptrdiff_t here = rows - r < CNN_L ? rows - r : CNN_L;
        for (l = 0; l < here; l++) row[l] = x + (order ? order[begin + r + l] : begin + r + l) * n;
        j = 0;
#if CNN_SHUFFLES
        for (; n >= 3 && j < n; j += CNN_L) {
            V v[CNN_BYTES / sizeof(T)], zero = {0};
            ptrdiff_t width = n - j < CNN_L ? n - j : CNN_L;
            for (l = 0; l < CNN_L; l++) {
                if (l >= here) v[l] = zero;
                else if (row[l] + j + CNN_L <= x + size) v[l] = LOAD(row[l] + j);
                else v[l] = CNN_(load_part)(row[l] + j, width);
            }
            CNN_(transpose)(v);
            if (width == CNN_L) CNN_UNROLL for (l = 0; l < CNN_L; l++) STORE(out + (j + l) * ld + r, v[l]);
            else for (l = 0; l < width; l++) STORE(out + (j + l) * ld + r, v[l]);
        }
#endif
        for (; j < n; j++)
            for (l = 0; l < CNN_L; l++) out[j * ld + r + l] = l < here ? row[l][j] : 0;
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
            for (l = 0; l < CNN_L; l++) v[l] = l < width ? LOAD(in + (j + l) * ld + r) : zero;
            CNN_(transpose)(v);
            if (width == CNN_L) for (l = 0; l < here; l++) STORE(row[l] + j, v[l]);
            else for (l = 0; l < here; l++) CNN_(store_part)(row[l] + j, v[l], width);
        }
#endif
        for (; j < n; j++)
            for (l = 0; l < here; l++) row[l][j] = in[j * ld + r + l];
    }
}

/* out (nk, ldt) = the transpose of d (n, nk), nk a multiple of the vector length; columns n .. ldt - 1 become 0. */
CNN_UNUSED void CNN_(turn)(ptrdiff_t n, ptrdiff_t nk, const T *d, ptrdiff_t ld, T *out, ptrdiff_t ldt)
{
    ptrdiff_t k, j, l;
    for (j = 0; j < ldt; j += CNN_L)
        for (k = 0; k < nk; k += CNN_L) {
#if CNN_SHUFFLES
            V v[CNN_BYTES / sizeof(T)], zero = {0};
            if (j + CNN_L <= n) CNN_UNROLL for (l = 0; l < CNN_L; l++) v[l] = LOAD(d + (j + l) * ld + k);
            else for (l = 0; l < CNN_L; l++) v[l] = j + l < n ? LOAD(d + (j + l) * ld + k) : zero;
            CNN_(transpose)(v);
            CNN_UNROLL for (l = 0; l < CNN_L; l++) STORE(out + (k + l) * ldt + j, v[l]);
#else
            ptrdiff_t i;
            for (i = 0; i < CNN_L; i++)
                for (l = 0; l < CNN_L; l++) out[(k + i) * ldt + j + l] = j + l < n ? d[(j + l) * ld + k + i] : 0;
#endif
        }
}

#undef V
#undef T
#undef LOAD
#undef STORE
#undef CNN_L
