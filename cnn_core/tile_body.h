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

#include "tile_products.h"
#include "tile_sums.h"
#include "tile_taps.h"
#include "tile_depthwise.h"
#include "tile_winograd.h"
#include "tile_rows.h"

#undef V
#undef T
#undef LOAD
#undef STORE
#undef PICK
#undef CNN_L
