"""Prediction of rows that are stored each by itself: vectors run along the units of a layer, and none is left empty.

So are a few rows predicted, and images of which a slab has no room in caches. A team shares out units, lines of pixels
or pixels of all rows, layer by layer. The bits are those of a slab where the compiler has vector types: an output is
one sum in the order of the inputs, from the bias on, and functions are taken of whole vectors.
"""
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from cnn_core.activations cimport IDENTITY, activation_forward
from cnn_core.add cimport add_units
from cnn_core.axis cimport Axis, alike, axis_of, read_at
from cnn_core.batch_norm cimport inverse_deviations
from cnn_core.depthwise cimport depthwise_slide, is_depthwise
from cnn_core.few_dense cimport Place, few_dense
from cnn_core.layer cimport left_out
from cnn_core.links cimport link_rows
from cnn_core.losses cimport loss_link
from cnn_core.norm_cells cimport CHANNELS
from cnn_core.pool cimport pool_windows
from cnn_core.team cimport barrier, stopped
from cnn_core.tile cimport add_pixels, lanes, padded
from cnn_core.types cimport (ADD, AVERAGE_POOL, BATCH_NORM, CONVOLUTION, DENSE, MAX_POOL, LayerSpec,
                             WindowSpec, channels_of, real)
from cnn_core.vecmath cimport loop
from cnn_core.winograd cimport few_room, few_weights, turn_weights, winograd_few

cdef enum:
    FEW = 8         # rows up to which they are stored by rows
    PANEL = 64      # units of a dense layer that are worth a thread
    NEAR = 8192     # units between two looks at `stop`, of which caches have all when a function is taken of them


cdef inline bint by_rows(const LayerSpec* layers, int n_layers) noexcept nogil:
    """Whether a few rows can be predicted stored by rows: other kinds than these have no function for that."""
    cdef int i, kind
    for i in range(n_layers):
        kind = layers[i].kind
        if not (left_out(kind, False) or kind == DENSE or kind == CONVOLUTION or kind == MAX_POOL
                or kind == AVERAGE_POOL or kind == ADD or kind == BATCH_NORM):
            return False
    return True


cdef inline void few_points(const WindowSpec* window, const Axis* down, const Axis* along, const real* w,
                            const real* start, const real* x, Py_ssize_t line, Py_ssize_t at, Py_ssize_t pixels,
                            real* y) noexcept nogil:
    """y (pixels, filters) = the sums, from `start` or 0, of `pixels` pixels of a line that have the same points inside.
    """
    cdef Py_ssize_t groups = window.groups, terms = window.channels // groups, filters = window.out_channels // groups
    cdef Py_ssize_t first = 0, many = 0, i, j, k, g, p, from_
    cdef const real* begin = NULL
    cdef bint joined = groups == 1 and along.dilation == 1  # points of a line whose channels stand one after another
    if read_at(down, line, 0) >= 0 and read_at(down, line, down.kernel - 1) >= 0:
        many = down.kernel
    for i in range(down.kernel if many == 0 else 0):
        if read_at(down, line, i) >= 0:
            first = i if many == 0 else first
            many += 1
    # One call for all points of an image's inside takes `start` itself.
    if start != NULL and joined and many > 0 and read_at(along, at, 0) >= 0:
        begin = start
    else:
        memset(y, 0, pixels * window.out_channels * sizeof(real))
        for p in range(pixels if start != NULL else 0):
            memcpy(y + p * window.out_channels, start, window.out_channels * sizeof(real))
    i = first
    while i < first + many:
        j = 0
        while j < along.kernel:
            k = j + 1
            if read_at(along, at, j) >= 0:
                if joined and read_at(along, at, along.kernel - 1) >= 0:
                    k = along.kernel
                while joined and k < along.kernel and read_at(along, at, k) >= 0:
                    k += 1
                from_ = (read_at(down, line, i) * along.size + read_at(along, at, j)) * window.channels
                for g in range(groups):
                    add_pixels(pixels, filters, many if joined else 1, (k - j) * terms, x + from_ + g * terms,
                               along.stride * window.channels, down.dilation * along.size * window.channels,
                               w + (i * along.kernel + j) * terms * window.out_channels + g * filters,
                               window.out_channels, along.kernel * terms * window.out_channels, begin,
                               y + g * filters, window.out_channels)
            j = k
        i += many if joined else 1


cdef inline void few_convolution(const LayerSpec* layer, const real* parameters, const real* x, real* y,
                                 const real* turned, real* room, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """Lines first .. end - 1 of y (n_units) = Σ x W + b for one image x; `turned` are Winograd's weights."""
    cdef const WindowSpec* window = &layer.window
    cdef Axis down = axis_of(window.height, window.out_height, window.kernel_height, window.stride_y,
                             window.dilation_y, window.top, False)
    cdef Axis along = axis_of(window.width, window.out_width, window.kernel_width, window.stride_x, window.dilation_x,
                              window.left, False)
    cdef Py_ssize_t n = window.out_channels, line, at, pixels
    cdef const real* start = parameters + layer.biases if layer.biases >= 0 else NULL
    if layer.winograd:
        winograd_few(window, turned, x, y, room, first, end)
        for at in range(first * along.n, end * along.n if start != NULL else 0):
            add_units(<const real*>y + at * n, start, n, y + at * n)
        return
    if is_depthwise(window):
        depthwise_slide(window, False, parameters + layer.weights, start, x, y, 1, first, end, <const int32_t*>NULL)
        return
    at = 0
    while at < along.n:
        pixels = alike(&along, at)
        for line in range(first, end):
            few_points(window, &down, &along, parameters + layer.weights, start, x, line, at, pixels,
                       y + (line * along.n + at) * n)
        at += pixels


cdef inline loop normalise_channels(const real* x, const real* mean, const real* factor, const real* bias,
                                    Py_ssize_t n, real* out) noexcept nogil:
    """out (n,) = factor (x - mean) + bias."""
    cdef Py_ssize_t j
    for j in range(n):
        out[j] = (x[j] - mean[j]) * factor[j] + bias[j]


cdef inline void few_norm(const LayerSpec* layer, const real* parameters, const real* x, real* y, Py_ssize_t first,
                          Py_ssize_t end) noexcept nogil:
    """Pixels first .. end - 1 of y (n_units) = g (x - mean) / sqrt(variance + epsilon) + b, by running averages."""
    cdef Py_ssize_t channels = channels_of(layer), u = 0, n, p, j
    cdef real factor[CHANNELS]
    while u < channels:
        n = min(channels - u, <Py_ssize_t>CHANNELS)
        inverse_deviations(parameters + layer.running_variance + u, n, <real>layer.epsilon, factor)
        for j in range(n):
            factor[j] *= parameters[layer.weights + u + j]
        for p in range(first, end):
            normalise_channels(x + p * channels + u, parameters + layer.running_mean + u, <const real*>factor,
                               parameters + layer.biases + u, n, y + p * channels + u)
        u += n


cdef inline Py_ssize_t parts_of_row(const LayerSpec* layer) noexcept nogil:
    """What of a row's outputs is computed by itself: lines of an image, two at a time or one, pixels, or units.

    Rows of dense layers are not cut so, but could feed as many threads.
    """
    if layer.kind == CONVOLUTION and layer.winograd:
        return (<Py_ssize_t>layer.window.out_height + 1) // 2
    if layer.kind == CONVOLUTION or layer.kind == MAX_POOL or layer.kind == AVERAGE_POOL:
        return layer.window.out_height
    if layer.kind == DENSE:  # whole panels of them, or a thread has little to do
        return (<Py_ssize_t>layer.n_units + PANEL - 1) // PANEL
    return layer.pixels if layer.kind == BATCH_NORM else layer.n_units


cdef inline Py_ssize_t units_of_part(const LayerSpec* layer) noexcept nogil:
    """Of each part, but for the last one of an image."""
    if layer.kind == CONVOLUTION and layer.winograd:
        return layer.n_units // layer.window.out_height * 2
    return layer.n_units // parts_of_row(layer)


cdef inline void few_parts(const LayerSpec* layer, const real* parameters, const real* x, const real* b, real* y,
                           const real* turned, real* room, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """Parts first .. end - 1 of one row of a layer that is not dense, without its function; b: the other input of Add.
    """
    if layer.kind == CONVOLUTION and layer.winograd:
        few_convolution(layer, parameters, x, y, turned, room, 2 * first,
                        min(2 * end, <Py_ssize_t>layer.window.out_height))
    elif layer.kind == CONVOLUTION:
        few_convolution(layer, parameters, x, y, turned, room, first, end)
    elif layer.kind == BATCH_NORM:
        few_norm(layer, parameters, x, y, first, end)
    elif layer.kind == ADD:
        add_units(x + first, b + first, end - first, y + first)
    else:
        pool_windows(layer, x, 1, first, end, y, <real*>NULL)


cdef inline void few_layer(const LayerSpec* layer, const real* parameters, const real* x, Py_ssize_t ldx,
                           const real* b, Py_ssize_t ldb, Py_ssize_t rows, real* y, real* turned, real* room,
                           const Place* place) noexcept nogil:
    """This thread's parts of y (rows, n_units padded) for a layer that is not dense.

    Its function is taken of some parts at a time, where they are whole vectors, and else behind them all.
    """
    cdef Py_ssize_t ldy = padded(layer.n_units, parameters), parts = parts_of_row(layer), all = rows * parts, r, end
    cdef int thread = place.thread, n_threads = place.n_threads
    cdef Py_ssize_t item = all * thread // n_threads, last = all * (thread + 1) // n_threads, begin
    cdef Py_ssize_t step = lanes(parameters), units = units_of_part(layer), at_once = max(1, NEAR // units)
    cdef real* z
    cdef bint has_function = layer.kind == CONVOLUTION or layer.kind == BATCH_NORM, by_parts = units % step == 0
    if layer.kind == CONVOLUTION and layer.winograd:
        turn_weights(&layer.window, parameters + layer.weights, turned, thread, n_threads)
        barrier(place.gate, n_threads)
    while item < last and not stopped(place.stop):
        r = item // parts
        begin = item - r * parts
        end = min(min(last - r * parts, parts), begin + at_once)
        few_parts(layer, parameters, x + r * ldx, b + r * ldb if b != NULL else NULL, y + r * ldy, <const real*>turned,
                  room, begin, end)
        if end == parts:
            memset(y + r * ldy + layer.n_units, 0, (ldy - layer.n_units) * sizeof(real))
        if has_function and by_parts:
            z = y + r * ldy + begin * units
            activation_forward(layer.activation, <const real*>z, z,
                               min(end * units, ldy) - begin * units, <real>layer.alpha)
        item = r * parts + end
    if has_function and not by_parts:
        if layer.activation != IDENTITY:
            barrier(place.gate, n_threads)  # vectors of it go over the ends of parts
        all = rows * ldy // step
        begin, end = all * thread // n_threads * step, all * (thread + 1) // n_threads * step
        activation_forward(layer.activation, <const real*>(y + begin), y + begin, end - begin, <real>layer.alpha)


cdef inline Py_ssize_t widest(const LayerSpec* layers, int n_layers, const real* kind) noexcept nogil:
    """Units of the widest layer, in whole vectors; `kind` only tells their type."""
    cdef Py_ssize_t most = 0
    cdef int i
    for i in range(n_layers):
        most = max(most, <Py_ssize_t>layers[i].n_units)
    return padded(most, kind)


cdef inline bint is_chain(const LayerSpec* layers, int n_layers) noexcept nogil:
    """Whether each layer reads the one below alone, so that two buffers take turns; else each has its own."""
    cdef int i
    for i in range(n_layers):
        if layers[i].kind == ADD:
            return False
    return True


cdef inline Py_ssize_t buffer_of(const LayerSpec* layers, int i, Py_ssize_t rows, const real* kind) noexcept nogil:
    """Where layer i writes its rows, in elements of scratch memory, if not in one of two."""
    cdef Py_ssize_t at = 0
    cdef int j
    for j in range(i):
        if left_out(layers[j].kind, False):
            continue
        at += rows * padded(layers[j].n_units, kind)
    return at


cdef inline Py_ssize_t few_scratch(const LayerSpec* layers, int n_layers, Py_ssize_t rows, int n_threads,
                                   const real* kind) noexcept nogil:
    """Elements of scratch memory that `predict_few` needs; `kind` only tells their type."""
    return (few_buffers(layers, n_layers, rows, kind) + most_of(layers, n_layers, True)
            + n_threads * most_of(layers, n_layers, False))


cdef inline Py_ssize_t most_of(const LayerSpec* layers, int n_layers, bint weights) noexcept nogil:
    """Elements of turned weights, or of what a thread works in besides, that convolutions need one after another."""
    cdef Py_ssize_t most = 0
    cdef int i
    for i in range(n_layers):
        most = max(most, few_weights(&layers[i]) if weights else few_room(&layers[i]))
    return most


cdef inline Py_ssize_t few_buffers(const LayerSpec* layers, int n_layers, Py_ssize_t rows,
                                   const real* kind) noexcept nogil:
    """Elements of the layers' outputs; what a convolution works in stands behind them."""
    cdef Py_ssize_t wide = widest(layers, n_layers, kind)
    if is_chain(layers, n_layers):
        return 2 * rows * wide
    return buffer_of(layers, n_layers, rows, kind) + rows * wide


cdef inline const real* few_input(const LayerSpec* layers, int i, Py_ssize_t rows, const real* x, const real* scratch,
                                  Py_ssize_t* ld) noexcept nogil:
    """The rows, ld apart, that layer i reads, where all layers have buffers of their own."""
    i -= 1
    while i >= 0 and left_out(layers[i].kind, False):
        i -= 1
    ld[0] = layers[0].n_inputs if i < 0 else padded(layers[i].n_units, x)
    return x if i < 0 else scratch + buffer_of(layers, i, rows, x)


cdef inline void predict_few(const LayerSpec* layers, int n_layers, const real* parameters, const real* x,
                             Py_ssize_t rows, int loss, real* scratch, real* out, const Place* place) noexcept nogil:
    """out (rows, n_outputs) from x (rows, n_inputs), both without padding; raw for loss -1, else with that loss's link.

    All threads of a team work on it, and share `scratch`. `out` is written last, by the first one, so it may be x.
    Where it is ended, `out` is of no use.
    """
    cdef Py_ssize_t n = layers[n_layers - 1].n_units, wide = widest(layers, n_layers, x), ldx = layers[0].n_inputs
    cdef Py_ssize_t ldy = 0, ldb = 0, r
    cdef bint chain = is_chain(layers, n_layers)
    cdef const real* a = x
    cdef const real* b
    cdef real* y = scratch
    cdef real* turned = NULL
    cdef real* room = NULL
    cdef int i
    for i in range(n_layers):
        if left_out(layers[i].kind, False):
            continue
        ldy = padded(layers[i].n_units, x)
        if layers[i].kind == DENSE:
            few_dense(&layers[i], parameters, a, ldx, rows, y, place)
        else:
            b = NULL
            if turned == NULL:
                turned = scratch + few_buffers(layers, n_layers, rows, x)
                room = turned + most_of(layers, n_layers, True) + place.thread * most_of(layers, n_layers, False)
            if layers[i].kind == ADD:
                b = few_input(layers, layers[i].source, rows, x, <const real*>scratch, &ldb)
            few_layer(&layers[i], parameters, a, ldx, b, ldb, rows, y, turned, room, place)
        a, ldx = y, ldy
        y = y + rows * ldy if not chain else scratch if y > scratch else scratch + rows * wide
        barrier(place.gate, place.n_threads)
    if place.thread > 0:
        return
    if loss >= 0:
        link_rows(loss_link(loss), <real*>a, y, rows, n, ldx)
    for r in range(rows):
        memcpy(out + r * n, a + r * ldx, n * sizeof(real))
