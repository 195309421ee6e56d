/* Part of tile_body.h: rows to slabs and back, and transposes. */

#if CNN_SHUFFLES
/* v becomes its transpose. */
CNN_INLINE void CNN_(transpose_block)(V *v)
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
#define LOAD_ROWS(index, load) \
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
                if (order) LOAD_ROWS(order[begin + r + l], LOAD(ROW))
                else LOAD_ROWS(begin + r + l, LOAD(ROW))
            } else if (order) LOAD_ROWS(order[begin + r + l], CNN_(load_part)(ROW, width))
            else LOAD_ROWS(begin + r + l, CNN_(load_part)(ROW, width))
#undef LOAD_ROWS
#undef ROW
            CNN_(transpose_block)(v);
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

/* The same of bytes, which stand for so many 255ths: by blocks of WIDTH columns, which are turned into numbers first. */
CNN_UNUSED void CNN_(gather_bytes)(ptrdiff_t rows, ptrdiff_t ld, ptrdiff_t n, const uint8_t *x, const int64_t *order,
                                   ptrdiff_t begin, T *out)
{
    enum { WIDTH = 64 };
    const T unit = (T)(1.0 / 255);
    T t[CNN_BYTES_MAX / sizeof(T)][WIDTH];
    ptrdiff_t r, j, l, i;
    for (r = 0; r < ld; r += CNN_L) for (j = 0; j < n; j += WIDTH) {
        ptrdiff_t width = n - j < WIDTH ? n - j : WIDTH;
        for (l = 0; l < CNN_L; l++) {
            const uint8_t *row = r + l < rows ? x + (order ? order[begin + r + l] : begin + r + l) * n + j : NULL;
            if (row && width == WIDTH) {
                for (i = 0; i < WIDTH; i++) t[l][i] = row[i] * unit;
                continue;
            }
            for (i = 0; i < WIDTH; i++) t[l][i] = 0;
            if (row) for (i = 0; i < width; i++) t[l][i] = row[i] * unit;
        }
        for (i = 0; i < width; i += CNN_L) {
            T *to = out + (j + i) * ld + r;
#if CNN_SHUFFLES
            V v[CNN_BYTES / sizeof(T)];
            CNN_UNROLL for (l = 0; l < CNN_L; l++) v[l] = LOAD(t[l] + i);
            CNN_(transpose_block)(v);
            CNN_UNROLL for (l = 0; l < CNN_L; l++) if (l < width - i) STORE(to + l * ld, v[l]);
#else
            ptrdiff_t k;
            for (k = 0; k < CNN_L && k < width - i; k++) for (l = 0; l < CNN_L; l++) to[k * ld + l] = t[l][i + k];
#endif
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
            CNN_(transpose_block)(v);
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
CNN_UNUSED void CNN_(transpose)(ptrdiff_t n, ptrdiff_t nk, const T *d, ptrdiff_t ld, T *out, ptrdiff_t ldt, T *sums, int add)
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
            CNN_(transpose_block)(v);
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
