/* Non-zeros of a row times rows of a matrix, in vector registers; float and double from one body. */
#ifndef CNN_SPARSE_H
#define CNN_SPARSE_H
#include "tile.h"

/* The line of this address, and the one behind it, will be read soon. Without the empty statement GCC finds that this
 * function, and any that does nothing but call it, has no effect, and leaves it out.
 */
CNN_INLINE void cnn_prefetch(const void *p)
{
#if CNN_VECTORS
    __builtin_prefetch(p);
    __builtin_prefetch((const char *)p + 64);
    __asm__ volatile("" : : "r"(p));
#endif
}

#define CNN_T float
#define CNN_(name) cnn_##name##f
#include "sparse_body.h"
#undef CNN_T
#undef CNN_
#define CNN_T double
#define CNN_(name) cnn_##name
#include "sparse_body.h"
#undef CNN_T
#undef CNN_
#endif
