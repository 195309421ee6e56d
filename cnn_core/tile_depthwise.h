/* Part of tile_body.h: convolutions of each channel by itself (depthwise.pxd). What a point of the kernel gives a pixel
 * is one product of vectors, so all points are summed in registers, for some pixels at once.
 */

/* A vector of each of P pixels of z = start or z (add) or 0, plus the products of n points of the kernel. */
CNN_INLINE void CNN_(points_tile)(const int P, const cnn_tap_t *taps, ptrdiff_t n, const T *w, const T *x,
                                  ptrdiff_t x_step, T *z, ptrdiff_t z_step, const T *start, int add)
{
    V sum[4], zero = {0};
    int p;
    CNN_UNROLL for (p = 0; p < P; p++) {
        if (start) sum[p] = *start - zero; /* which keeps -0 */
        else if (add) sum[p] = LOAD(z + p * z_step);
        else sum[p] = zero;
    }
    for (; n > 0; n--, taps++) {
        const T *from = x + taps->b;
        T s = w[taps->a];
        CNN_UNROLL for (p = 0; p < P; p++) sum[p] += LOAD(from + p * x_step) * s;
    }
    CNN_UNROLL for (p = 0; p < P; p++) STORE(z + p * z_step, sum[p]);
}

/* The same of one image that is stored by itself: the vectors run along the channels, the last `part` of them, if not 0. */
CNN_INLINE void CNN_(channels_tile)(const int P, const cnn_tap_t *taps, ptrdiff_t n, const T *w, const T *x,
                                    ptrdiff_t x_step, T *z, ptrdiff_t z_step, const T *start, int add, ptrdiff_t part)
{
#define GET(p) (part ? CNN_(load_part)(p, part) : LOAD(p))
    V sum[4], zero = {0};
    int p;
    CNN_UNROLL for (p = 0; p < P; p++) {
        if (start) sum[p] = GET(start);
        else if (add) sum[p] = GET(z + p * z_step);
        else sum[p] = zero;
    }
    for (; n > 0; n--, taps++) {
        const T *from = x + taps->b;
        V s = GET(w + taps->a);
        CNN_UNROLL for (p = 0; p < P; p++) sum[p] += GET(from + p * x_step) * s;
    }
    CNN_UNROLL for (p = 0; p < P; p++) {
        if (part) CNN_(store_part)(z + p * z_step, sum[p], part);
        else STORE(z + p * z_step, sum[p]);
    }
#undef GET
}

/* z (channels, ld) of `pixels` neighbours = start (channels,), z (add) or 0, plus what n points of the kernel give: the
 * weights w[taps[k].a + channel] times x at taps[k].b. Steps lead from pixel to pixel. Some channels of all pixels come
 * before the next ones, so that L1 still has what neighbours read. ld is 1 where an image is stored by itself.
 */
CNN_UNUSED void CNN_(points)(ptrdiff_t channels, ptrdiff_t pixels, const cnn_tap_t *taps, ptrdiff_t n, const T *w,
                             const T *x, ptrdiff_t x_step, ptrdiff_t ld, T *z, ptrdiff_t z_step, const T *start,
                             int add)
{
    enum { BLOCK = 16 };
    ptrdiff_t first, end, p = 0, c, k;
#define RUN(P) \
    for (; p + P <= pixels; p += P) \
        for (c = 0; c < channels; c += CNN_L) \
            if (channels - c < CNN_L) CHANNELS(P, channels - c) else CHANNELS(P, 0)
#define CHANNELS(P, part) \
    CNN_(channels_tile)(P, taps, n, w + c, x + p * x_step + c, x_step, z + p * z_step + c, z_step, \
                        start ? start + c : NULL, add, part);
    if (ld == 1) {
        RUN(4) RUN(1)
        return;
    }
#undef CHANNELS
#undef RUN
#define RUN(P) \
    for (; p + P <= pixels; p += P) \
        for (c = first; c < end; c++) \
            for (k = c * ld; k < (c + 1) * ld; k += CNN_L) \
                CNN_(points_tile)(P, taps, n, w + c, x + p * x_step + k, x_step, z + p * z_step + k, z_step, \
                                  start ? start + c : NULL, add);
    for (first = 0; first < channels; first = end) {
        end = channels - first > BLOCK ? first + BLOCK : channels;
        p = 0;
        RUN(4) RUN(2) RUN(1)
    }
#undef RUN
}

/* N vectors of sums += the products of d and x at from[i], over all pixels of a walk (a: x, b: d) and all rows. */
CNN_INLINE void CNN_(point_dots_tile)(const int N, const ptrdiff_t *from, const T *x, const T *d, ptrdiff_t ld,
                                      const cnn_walk_t *walk, const ptrdiff_t *to, T *sums)
{
    V sum[9];
    const T *at[9];
    ptrdiff_t y, p, k;
    int i;
    CNN_UNROLL for (i = 0; i < N; i++) {
        sum[i] = LOAD(sums + to[i] * CNN_L);
        at[i] = x + from[i];
    }
    for (y = 0; y < walk->lines; y++)
        for (p = 0; p < walk->pixels; p++) {
            const T *delta = d + y * walk->b_line + p * walk->b_pixel;
            ptrdiff_t step = y * walk->a_line + p * walk->a_pixel;
            for (k = 0; k < ld; k += CNN_L) {
                V v = LOAD(delta + k);
                CNN_UNROLL for (i = 0; i < N; i++) sum[i] += LOAD(at[i] + step + k) * v;
            }
        }
    CNN_UNROLL for (i = 0; i < N; i++) STORE(sums + to[i] * CNN_L, sum[i]);
}

/* sums (channels, 9 vectors) += the products of d (channels, ld) and of x at from[i], in sum to[i], for n <= 9 points. */
CNN_UNUSED void CNN_(point_dots)(ptrdiff_t channels, const ptrdiff_t *from, const ptrdiff_t *to, ptrdiff_t n, const T *x,
                                 const T *d, ptrdiff_t ld, const cnn_walk_t *walk, T *sums)
{
    ptrdiff_t c, i, rest;
    for (c = 0; c < channels; c++, x += ld, d += ld, sums += 9 * CNN_L)
        for (i = 0; i < n; i += rest) {
            rest = n - i > 6 && n - i < 9 ? 6 : n - i == 5 ? 4 : n - i;
#define DOTS(N) case N: CNN_(point_dots_tile)(N, from + i, x, d, ld, walk, to + i, sums); break;
            switch (rest) { DOTS(1) DOTS(2) DOTS(3) DOTS(4) DOTS(6) DOTS(9) }
#undef DOTS
        }
}

/* out[i] = the sum of the elements of vector i of 9. */
CNN_UNUSED void CNN_(totals_of_nine)(const T *sums, T *out)
{
    V v[16], zero = {0};
    T t[16];
    int i;
    for (i = 0; i < 16; i++) v[i] = i < 9 ? LOAD(sums + i * CNN_L) : zero;
    CNN_(totals)(v, 16, t);
    for (i = 0; i < 9; i++) out[i] = t[i];
}
