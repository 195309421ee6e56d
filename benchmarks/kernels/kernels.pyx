"""Times the kernels of the installed `cnn_core` in C: each function returns the best seconds per call.

The arrays stay in cache, as they do within a training step. Compiled by run.py, which also says what is measured.
"""
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcpy

from cnn_core cimport activations, losses, optimizers, random, tile
from cnn_core.products cimport matmul
from cnn_core.types cimport LossSpec, OptimizerSpec, real

cdef extern from "timing.h":
    double bench_now() noexcept nogil
    void bench_fence() noexcept nogil
    double bench_fma_float(long n) noexcept nogil
    double bench_fma_double(long n) noexcept nogil


# Repeats a kernel in batches, each long enough for the clock, until the time is up; keeps the best batch.
cdef struct Timer:
    double end
    double began
    double best
    Py_ssize_t repeats


cdef Timer timer(double seconds) noexcept nogil:
    cdef Timer t
    t.best, t.repeats, t.began = 1e30, 0, bench_now()
    t.end = t.began + seconds
    return t


cdef bint more(Timer* t) noexcept nogil:
    """Ends a batch and says whether to run another, of t.repeats calls."""
    cdef double now = bench_now(), batch = now - t.began
    if t.repeats == 0:
        t.repeats = 1
    elif batch < 1e-4:
        t.repeats *= 2
    else:
        t.best = min(t.best, batch / t.repeats)
    t.began = bench_now()
    return now < t.end or t.best > 1e29


def now():
    """The clock of `begin` and `end` below."""
    return bench_now()


def fma_rate(bint double_precision, double begin, double end):
    """FLOP/s of this thread from begin to end: multiply-adds in the instruction set of this build, nothing else."""
    cdef double flops = 0, began, time = bench_now()
    with nogil:
        while time < begin:
            time = bench_now()
        began = time
        while time < end:
            flops += bench_fma_double(1000) if double_precision else bench_fma_float(1000)
            time = bench_now()
    return flops / (time - began)


def copy_rate(float[::1] target, const float[::1] source, double begin, double end):
    """Bytes read and written a second by this thread from begin to end, copying from array to array."""
    cdef double moved = 0, began, time = bench_now()
    with nogil:
        while time < begin:
            time = bench_now()
        began = time
        while time < end:
            memcpy(&target[0], &source[0], source.shape[0] * sizeof(float))
            moved += 2.0 * source.shape[0] * sizeof(float)
            time = bench_now()
    return moved / (time - began)


cdef enum Product:
    FORWARD
    WEIGHTS
    INPUTS


def layer_product(int kind, bint by_blas, Py_ssize_t rows, real[:, ::1] w, real[:, ::1] a, real[:, ::1] d,
                  real[::1] spare, double seconds):
    """One of a dense layer's products, as dense.pxd makes it, by BLAS or by the tiles of the core.

    FORWARD d = w' a, WEIGHTS w = a d', INPUTS a = w d, for w (inputs, units), slabs a (inputs, ld) and d (units, ld)
    of so many rows.
    """
    cdef Py_ssize_t m = w.shape[0], n = w.shape[1], ld = a.shape[1], transposed
    cdef const real* ww = &w[0, 0]
    cdef const real* aa = &a[0, 0]
    cdef const real* dd = &d[0, 0]
    cdef const real* none = NULL
    cdef Timer t = timer(seconds)
    transposed = tile.padded(n, ww)
    while more(&t):
        for _ in range(t.repeats):
            if kind == FORWARD:
                matmul(by_blas, n, rows, m, ww, 1, n, aa, ld, &d[0, 0], ld, none, False, True, none, 0)
            elif kind == WEIGHTS and n <= 8 and n < tile.lanes(ww) and not by_blas:
                tile.matmul_narrow(m, n, ld, aa, ld, dd, ld, &w[0, 0], False)
            elif kind == WEIGHTS:
                tile.transpose(n, ld, dd, ld, &spare[0], transposed, <real*>NULL, False)
                matmul(by_blas, m, n, rows, aa, ld, 1, <const real*>&spare[0], transposed, &w[0, 0], n, none, False,
                       False, none, 0)
            else:
                matmul(by_blas, m, rows, n, ww, n, 1, dd, ld, &a[0, 0], ld, none, False, True, none, 0)
    return t.best


def activation_forward(int kind, const real[::1] z, real[::1] a, double seconds):
    cdef real alpha = <real>activations.activation_default_alpha(kind)
    cdef Timer t = timer(seconds)
    while more(&t):
        for _ in range(t.repeats):
            activations.activation_forward(kind, &z[0], &a[0], z.shape[0], alpha)
            bench_fence()
    return t.best


def activation_backward(int kind, const real[::1] z, real[::1] a, real[::1] delta, double seconds):
    """delta should be 0: it is multiplied again and again, and any other number would end among the denormals."""
    cdef real alpha = <real>activations.activation_default_alpha(kind)
    cdef const real* saved = &z[0]
    cdef Timer t
    if not activations.activation_keeps_input(kind):
        activations.activation_forward(kind, &z[0], &a[0], z.shape[0], alpha)
        saved = &a[0]
    t = timer(seconds)
    while more(&t):
        for _ in range(t.repeats):
            activations.activation_backward(kind, saved, &delta[0], z.shape[0], alpha)
            bench_fence()
    return t.best


def loss_block(const LossSpec[::1] spec, const real[:, ::1] outputs, const real[:, ::1] targets,
               const int32_t[::1] classes, real[:, ::1] value, real[:, ::1] delta, double seconds):
    """Slabs by features: (outputs, rows), rows being whole vectors."""
    cdef const real* target = NULL
    cdef const int32_t* labels = NULL
    cdef Timer t
    if classes is None:
        target = &targets[0, 0]
    else:
        labels = &classes[0]
    t = timer(seconds)
    while more(&t):
        for _ in range(t.repeats):
            losses.loss_block(&spec[0], &outputs[0, 0], target, labels, <const real*>NULL, 1.0, &value[0, 0],
                              &delta[0, 0], outputs.shape[1], outputs.shape[1])
            bench_fence()
    return t.best


def optimizer_update(const OptimizerSpec[::1] spec, real[::1] theta, real[::1] gradient, real[::1] state,
                     double[::1] scalars, double seconds):
    cdef optimizers.OptimizerStep now = optimizers.optimizer_begin(&spec[0], 1, 1e-6, &scalars[0])
    cdef Timer t = timer(seconds)
    while more(&t):
        for _ in range(t.repeats):
            optimizers.optimizer_update(&spec[0], &now, 1.0, 1.0, &theta[0], &gradient[0], &state[0], theta.shape[0],
                                        theta.shape[0])
            bench_fence()
    return t.best


def dropout_mask(real[::1] mask, double seconds):
    cdef uint64_t step = 0
    cdef Timer t = timer(seconds)
    while more(&t):
        for _ in range(t.repeats):
            step += 1
            random.dropout_mask(1, step, 0, 0, 0.5, &mask[0], mask.shape[0])
            bench_fence()
    return t.best
