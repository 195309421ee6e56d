/* Part of tile_body.h: what Winograd's convolution turns squares of pixels and kernels into, and back (winograd.pxd). */

/* The sum over k of w[k] halves of n vectors. */
CNN_INLINE V CNN_(halves)(const int n, const signed char *w, const V *a, const int step)
{
    V sum = {0};
    int k, any = 0;
    CNN_UNROLL for (k = 0; k < n; k++) {
        V x = a[k * step];
        if (w[k] == 0) continue;
        if (w[k] == 1 || w[k] == -1) x *= (T)0.5;
        if (w[k] < 0) x = -x;
        if (any) sum += x;
        else sum = x;
        any = 1;
    }
    return sum;
}

/* b (m, m) = t a t' for `terms` squares a (n, n), t (m, n) in halves; where they lie is told by `from` and `to`.
 *
 * Squares are of whole vectors. What of a is not inside counts as 0 (`all`: all of it is); what of two by two outputs is
 * not is not written. They begin with start[k], unless that is NULL.
 */
CNN_INLINE void CNN_(turn)(const int m, const int n, const int all, const signed char *t, const T *a,
                           const cnn_square_t *from, T *b, const cnn_square_t *to, ptrdiff_t terms, const T *start)
{
    const ptrdiff_t line = from->line, pixel = from->pixel, b_line = to->line, b_pixel = to->pixel;
    const unsigned inside = from->inside, wanted = to->inside;
    ptrdiff_t k;
    int i, j;
    for (k = 0; k < terms; k++, a += from->term, b += to->term) {
        V x[16], y[16], zero = {0};
        CNN_UNROLL for (i = 0; i < n; i++)
            CNN_UNROLL for (j = 0; j < n; j++)
                x[i * 4 + j] = all || inside >> (i * 4 + j) & 1 ? LOAD(a + i * line + j * pixel) : zero;
        CNN_UNROLL for (i = 0; i < m; i++)
            CNN_UNROLL for (j = 0; j < n; j++) y[i * 4 + j] = CNN_(halves)(n, t + i * n, x + j, 4);
        CNN_UNROLL for (i = 0; i < m; i++)
            CNN_UNROLL for (j = 0; j < m; j++) {
                V z = CNN_(halves)(n, t + j * n, y + i * 4, 1);
                T *at = b + i * b_line + j * b_pixel;
                if (start) z += start[k];
                if (m > 2) STORE(at, z);
                else if (wanted >> (i * 4 + j) & 1) STORE(at, z);
            }
    }
}

CNN_UNUSED void CNN_(squares)(int kind, const T *a, const cnn_square_t *from, T *b, const cnn_square_t *to,
                              ptrdiff_t terms, const T *start)
{
    static const signed char inputs[] = {2, 0, -2, 0, 0, 2, 2, 0, 0, -2, 2, 0, 0, 2, 0, -2};
    static const signed char outputs[] = {2, 2, 2, 0, 0, 2, -2, -2};
    static const signed char weights[] = {2, 0, 0, 1, 1, 1, 1, -1, 1, 0, 0, 2};
    switch (kind) {
        case CNN_INPUTS:
            if (from->inside == 0xffff) CNN_(turn)(4, 4, 1, inputs, a, from, b, to, terms, NULL);
            else CNN_(turn)(4, 4, 0, inputs, a, from, b, to, terms, NULL);
            break;
        case CNN_OUTPUTS: CNN_(turn)(2, 4, 1, outputs, a, from, b, to, terms, start); break;
        case CNN_WEIGHTS: CNN_(turn)(4, 3, 1, weights, a, from, b, to, terms, NULL); break;
    }
}
