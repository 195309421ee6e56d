"""The convolution on a slab, a = f(Σ x W + b): a sum over the points of a kernel and the channels at each.

Images lie by (y, x, channel) with the rows innermost, so the channels of a pixel are one matrix (channels, ld), and
each point of the kernel adds a product of its weights with such a matrix (`taps_product`). Points outside the image
are left out. The way back to the input is the same with the kernel's points in the other direction: so both are
`slide`, told by an `Axis` for each direction which pixels a point reads. An output is one sum in the order of points,
then channels.
"""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from cnn_core.activations cimport activation_backward, activation_forward
from cnn_core.axis cimport Axis, alike, axis_of, read_at
from cnn_core.depthwise cimport depthwise_gradient, depthwise_slide, is_depthwise
from cnn_core.team cimport stopped
from cnn_core.tile cimport (Tap, Walk, add_pixels, lanes, narrow_of_pixels, padded, panel_of, sums_of_pixels,
                            taps_product, transpose)
from cnn_core.types cimport CONVOLUTION, GROUP, LayerSpec, WindowSpec, WorkspaceSpec, real
from cnn_core.winograd cimport winograd_slide

cdef enum:
    PANEL = 8       # outputs whose weights stand side by side, at most
    DEPTH = 1024    # terms of their sums that do so at a time: 32 kB in float32, which L1 holds
    TAPS = 64       # points of the kernel that are summed in registers
    SUMS = 16       # gradients that are summed in registers


cdef inline void pack(const real* weights, Py_ssize_t by_output, Py_ssize_t by_term, Py_ssize_t valid, int panel,
                      Py_ssize_t terms, real* packed) noexcept nogil:
    """packed (terms, panel) = weights of `valid` outputs, and zeros behind them."""
    cdef Py_ssize_t k, i
    for k in range(terms):
        for i in range(valid):
            packed[k * panel + i] = weights[i * by_output + k * by_term]
        for i in range(valid, panel):
            packed[k * panel + i] = 0


cdef inline void slide(const WindowSpec* window, bint back, const real* weights, const real* start, const real* x,
                       real* z, Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end, const int32_t* stop) noexcept nogil:
    """Lines first .. end - 1 of z = the sums over the kernel's points of x, from `start` (of an output) or 0.

    back: z are the inputs of the convolution and x the deltas of its outputs.
    """
    cdef Py_ssize_t groups = window.groups, filters = window.out_channels // groups
    cdef Py_ssize_t channels = window.channels // groups, points = window.kernel_height * window.kernel_width
    cdef Py_ssize_t outputs = channels if back else filters, terms = filters if back else channels
    cdef Py_ssize_t by_output = window.out_channels if back else 1, by_term = 1 if back else window.out_channels
    cdef Py_ssize_t at_once = max(1, DEPTH // terms), depth = min(terms, <Py_ssize_t>DEPTH), g, u, t, k, i, valid
    cdef int panel
    cdef real packed[PANEL * DEPTH]
    cdef real begin[PANEL]
    cdef const real* own
    if is_depthwise(window):
        depthwise_slide(window, back, weights, start, x, z, ld, first, end, stop)
        return
    for g in range(groups):
        u = 0
        while u < outputs:
            panel = panel_of(outputs - u)
            valid = min(outputs - u, <Py_ssize_t>panel)
            for i in range(panel):
                begin[i] = start[g * outputs + u + i] if start != NULL and i < valid else 0
            t = 0
            while t < points:  # as many points of the kernel, or channels of one of them, as the panel has room for
                k = 0
                while k < terms:
                    own = weights + g * filters + u * by_output + k * by_term
                    for i in range(t, min(t + at_once, points)):
                        pack(own + i * channels * window.out_channels, by_output, by_term, valid, panel,
                             min(terms - k, depth), packed + (i - t) * depth * panel)
                    if slide_panel(window, back, <const real*>packed, panel, valid, t, min(t + at_once, points),
                                   min(terms - k, depth), x + (g * terms + k) * ld, z + (g * outputs + u) * ld,
                                   begin, t > 0 or k > 0, ld, first, end, stop):
                        return
                    k += depth
                t += at_once
            u += panel


cdef inline bint slide_panel(const WindowSpec* window, bint back, const real* packed, int panel, Py_ssize_t valid,
                             Py_ssize_t t, Py_ssize_t last, Py_ssize_t terms, const real* x, real* z,
                             const real* start, bint add, Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end,
                             const int32_t* stop) noexcept nogil:
    """Adds points t .. last - 1 of the kernel to `valid` outputs of lines first .. end - 1; whether it was given up."""
    cdef Axis down = axis_of(window.height, window.out_height, window.kernel_height, window.stride_y,
                             window.dilation_y, window.top, back)
    cdef Axis along = axis_of(window.width, window.out_width, window.kernel_width, window.stride_x, window.dilation_x,
                              window.left, back)
    cdef Py_ssize_t x_pixel = (window.out_channels if back else window.channels) * ld
    cdef Py_ssize_t z_pixel = (window.channels if back else window.out_channels) * ld
    # From one pixel to the next that is read by the same points.
    cdef Py_ssize_t apart = along.stride if back else 1, x_step = x_pixel * (1 if back else along.stride)
    cdef Py_ssize_t y, phase, at, n
    for y in range(first, end):
        if stopped(stop):
            return True
        for phase in range(min(apart, along.n)):
            at = phase
            while at < along.n:
                n = alike(&along, at)
                sum_run(&down, &along, packed, panel, valid, t, last, terms, x, z + (y * along.n + at) * z_pixel, start,
                        add, ld, y, at, n, x_pixel, x_step, z_pixel * apart)
                at += n * apart
    return False


cdef inline void sum_run(const Axis* down, const Axis* along, const real* packed, int panel, Py_ssize_t valid,
                         Py_ssize_t t, Py_ssize_t last, Py_ssize_t terms, const real* x, real* z, const real* start,
                         bint add, Py_ssize_t ld, Py_ssize_t y, Py_ssize_t at, Py_ssize_t pixels, Py_ssize_t x_pixel,
                         Py_ssize_t x_step, Py_ssize_t z_step) noexcept nogil:
    """Points t .. last - 1 of the kernel for `pixels` pixels of line y from `at` on, with the same ones inside."""
    cdef Tap taps[TAPS]
    cdef Py_ssize_t n = 0, row = t // along.kernel, i = t, line, column, a, b, end
    while i < last:  # row by row of the kernel: where the line is outside, all of them are
        line, end = read_at(down, y, row), min(last, (row + 1) * along.kernel)
        for i in range(i if line >= 0 else end, end):
            column = read_at(along, at, i - row * along.kernel)
            if column < 0:
                continue
            a, b = (i - t) * terms * panel, (line * along.size + column) * x_pixel
            if n > 0 and taps[n - 1].a + taps[n - 1].terms * panel == a and taps[n - 1].b + taps[n - 1].terms * ld == b:
                taps[n - 1].terms += terms  # neighbours whose channels stand one after another
                continue
            if n == TAPS:
                taps_product(panel, valid, taps, n, packed, x, x_step, ld, z, z_step, pixels,
                             <const real*>NULL if add else start, add)
                n, add = 0, True
            taps[n].a, taps[n].b, taps[n].terms = a, b, terms
            n += 1
        i, row = end, row + 1
    taps_product(panel, valid, taps, n, packed, x, x_step, ld, z, z_step, pixels, <const real*>NULL if add else start,
                 add)


cdef inline Py_ssize_t terms_of(const WindowSpec* window) noexcept nogil:
    """How many numbers an output is a sum of."""
    return <Py_ssize_t>window.kernel_height * window.kernel_width * (window.channels // window.groups)


cdef inline Py_ssize_t gradient_elements(const LayerSpec* layer) noexcept nogil:
    """How many numbers of the parameters' arena are a convolution's; 0 for other kinds."""
    cdef Py_ssize_t n = layer.window.out_channels
    if layer.weights < 0:
        return 0
    return layer.biases - layer.weights + n if layer.biases >= 0 else n * terms_of(&layer.window)


cdef inline void convolution_forward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                     const real* a, real* scratch, real* room, Py_ssize_t ld, Py_ssize_t first,
                                     Py_ssize_t end, const int32_t* stop) noexcept nogil:
    """Lines first .. end - 1 of z = Σ W x + b and of the output f(z)."""
    cdef real* output = scratch + layer.output * workspace.capacity
    cdef real* z = output if layer.saved < 0 else scratch + layer.saved * workspace.capacity
    cdef Py_ssize_t line = line_of(layer) * ld
    cdef const real* start = parameters + layer.biases if layer.biases >= 0 else NULL
    if layer.winograd:
        winograd_slide(&layer.window, False, parameters + layer.weights, start, a, z, room, ld, first, end, stop)
    else:
        slide(&layer.window, False, parameters + layer.weights, start, a, z, ld, first, end, stop)
    activation_forward(layer.activation, <const real*>(z + first * line), output + first * line, (end - first) * line,
                       <real>layer.alpha)


cdef inline Py_ssize_t line_of(const LayerSpec* layer) noexcept nogil:
    """Units of a line of the output."""
    return <Py_ssize_t>layer.window.out_width * layer.window.out_channels


cdef inline void convolution_slope(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* scratch,
                                   Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end, real* delta) noexcept nogil:
    """Lines first .. end - 1 of delta *= f'(z)."""
    if layer.gated:
        return
    cdef int64_t kept = layer.output if layer.saved < 0 else layer.saved
    cdef Py_ssize_t line = line_of(layer) * ld
    activation_backward(layer.activation, scratch + kept * workspace.capacity + first * line, delta + first * line,
                        (end - first) * line, <real>layer.alpha)


cdef inline void convolution_backward(const LayerSpec* layer, const WorkspaceSpec* workspace, const real* parameters,
                                      const real* a, real* scratch, real* room, Py_ssize_t rows, Py_ssize_t ld,
                                      bint add, real* delta, real* gradient, real* below, bint go_on,
                                      const int32_t* stop) noexcept nogil:
    """delta *= f'(z); dW and db from it (+ gradient if add); below = dL/d(input), if wanted."""
    convolution_slope(layer, workspace, <const real*>scratch, ld, 0, layer.window.out_height, delta)
    convolution_gradient(layer, a, <const real*>delta, rows, ld, 0, layer.window.out_height, below, gradient, add, stop)
    if go_on:
        convolution_delta(layer, parameters, <const real*>delta, room, ld, 0, layer.window.height, below, stop)


cdef inline void convolution_delta(const LayerSpec* layer, const real* parameters, const real* delta, real* room,
                                   Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end, real* below,
                                   const int32_t* stop) noexcept nogil:
    """Lines first .. end - 1 of below = dL/d(input), from dL/dz."""
    if layer.winograd:
        winograd_slide(&layer.window, True, parameters + layer.weights, <const real*>NULL, delta, below, room, ld,
                       first, end, stop)
    else:
        slide(&layer.window, True, parameters + layer.weights, <const real*>NULL, delta, below, ld, first, end, stop)


cdef inline Py_ssize_t turned_columns(const LayerSpec* layer) noexcept nogil:
    """How many numbers a row the deltas of a line are, turned into whole vectors of filters (`_turned` in plan.py)."""
    if layer.kind != CONVOLUTION:
        return 0
    return <Py_ssize_t>layer.window.out_width * (layer.window.out_channels // layer.window.groups + GROUP)


cdef inline void convolution_gradient(const LayerSpec* layer, const real* a, const real* delta, Py_ssize_t rows,
                                      Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end, real* turned, real* gradient,
                                      bint add, const int32_t* stop) noexcept nogil:
    """dW and db from lines first .. end - 1 of the deltas of z, (+ gradient if add).

    Few filters: sums run along the rows. Else the deltas of a line are turned, so that vectors run along the filters;
    `turned` has room for that.
    """
    cdef const WindowSpec* window = &layer.window
    cdef Py_ssize_t filters = window.out_channels // window.groups, channels = window.channels // window.groups
    cdef Py_ssize_t n = window.out_channels, line = line_of(layer) * ld, g, y
    cdef real* dw = gradient + layer.weights
    if not add:
        memset(dw, 0, gradient_elements(layer) * sizeof(real))  # what stands between W and b stays 0
    if layer.biases >= 0:
        sums_of_pixels(n, (end - first) * window.out_width, ld, delta + first * line, n * ld, gradient + layer.biases,
                       add)
    if is_depthwise(window):
        depthwise_gradient(window, a, delta, ld, first, end, dw, stop)
        return
    for g in range(window.groups):
        if filters <= 8 and filters < lanes(delta):
            narrow_gradient(window, a + g * channels * ld, delta + g * filters * ld, ld, first, end, filters, channels,
                            dw + g * filters, stop)
            continue
        for y in range(first, end):
            if stopped(stop):
                return
            line_gradient(window, a + g * channels * ld, delta + y * line + g * filters * ld, rows, ld, y, filters,
                          channels, turned, dw + g * filters)


cdef inline void line_gradient(const WindowSpec* window, const real* a, const real* delta, Py_ssize_t rows,
                               Py_ssize_t ld, Py_ssize_t y, Py_ssize_t filters, Py_ssize_t channels, real* turned,
                               real* dw) noexcept nogil:
    """dW of some filters += what line y of the deltas gives."""
    cdef Axis down = axis_of(window.height, window.out_height, window.kernel_height, window.stride_y,
                             window.dilation_y, window.top, False)
    cdef Axis along = axis_of(window.width, window.out_width, window.kernel_width, window.stride_x, window.dilation_x,
                              window.left, False)
    cdef Py_ssize_t ldt = padded(filters, delta), pixel = window.channels * ld, n = window.out_channels, at, many
    cdef Py_ssize_t i, j, k, line, column
    for at in range(along.n):
        transpose(filters, ld, delta + at * n * ld, ld, turned + at * ld * ldt, ldt, <real*>NULL, False)
    for i in range(window.kernel_height):
        line = read_at(&down, y, i)
        if line < 0:
            continue
        at = 0
        while at < along.n:
            many = alike(&along, at)
            j = 0
            while j < along.kernel:
                column = read_at(&along, at, j)
                k = j + 1  # points whose channels stand one after another are rows of one product
                if column >= 0:
                    while (k < along.kernel and channels == window.channels and along.dilation == 1
                           and read_at(&along, at, k) >= 0):
                        k += 1
                    add_pixels((k - j) * channels, filters, many, rows, a + (line * window.width + column) * pixel, ld,
                               along.stride * pixel, <const real*>(turned + at * ld * ldt), ldt, ld * ldt,
                               <const real*>NULL, dw + (i * along.kernel + j) * channels * n, n)
                j = k
            at += many


cdef inline void narrow_gradient(const WindowSpec* window, const real* a, const real* delta, Py_ssize_t ld,
                                 Py_ssize_t first, Py_ssize_t end, Py_ssize_t filters, Py_ssize_t channels, real* dw,
                                 const int32_t* stop) noexcept nogil:
    """dW of up to 8 filters += sums over all pixels of lines first .. end - 1, along the rows."""
    cdef Axis down = axis_of(window.height, window.out_height, window.kernel_height, window.stride_y,
                             window.dilation_y, window.top, False)
    cdef Axis along = axis_of(window.width, window.out_width, window.kernel_width, window.stride_x, window.dilation_x,
                              window.left, False)
    cdef Py_ssize_t pixel = window.channels * ld, n = window.out_channels, y, at, i, j, k
    cdef Walk walk
    walk.a_line, walk.a_pixel = window.stride_y * window.width * pixel, along.stride * pixel
    walk.b_line, walk.b_pixel = along.n * n * ld, n * ld
    for i in range(window.kernel_height):
        y = first
        while y < end and read_at(&down, y, i) < 0:
            y += 1
        walk.lines = 0
        while y + walk.lines < end and read_at(&down, y + walk.lines, i) >= 0:
            walk.lines += 1
        at = 0
        while at < along.n and walk.lines > 0:
            if stopped(stop):
                return
            walk.pixels = alike(&along, at)
            j = 0
            while j < along.kernel:
                k = j + 1
                if read_at(&along, at, j) >= 0:
                    while (k < along.kernel and (channels == window.channels and along.dilation == 1 or channels == 1)
                           and read_at(&along, at, k) >= 0):
                        k += 1
                    narrow_terms(a + (read_at(&down, y, i) * window.width + read_at(&along, at, j)) * pixel,
                                 along.dilation * pixel if channels == 1 else ld, (k - j) * channels,
                                 delta + (y * along.n + at) * n * ld, ld, filters, &walk,
                                 dw + (i * along.kernel + j) * channels * n, n)
                j = k
            at += walk.pixels


cdef inline void narrow_terms(const real* a, Py_ssize_t lda, Py_ssize_t terms, const real* delta, Py_ssize_t ld,
                              Py_ssize_t filters, const Walk* walk, real* dw, Py_ssize_t n) noexcept nogil:
    """dw (terms, filters), rows n apart, += the sums of the walk."""
    cdef real sums[SUMS * 8]
    cdef Py_ssize_t k = 0, i, j, here
    while k < terms:
        here = min(terms - k, <Py_ssize_t>SUMS)
        narrow_of_pixels(here, filters, ld, a + k * lda, lda, delta, ld, walk, sums, False)
        for i in range(here):
            for j in range(filters):
                dw[(k + i) * n + j] += sums[i * filters + j]
        k += here
