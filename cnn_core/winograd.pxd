"""Winograd's F(2 x 2, 3 x 3): kernels of 3 x 3 points with 16 multiplications for four outputs, where sums take 36.

An image is cut into squares of 2 x 2 outputs, each of which reads 4 x 4 pixels d: z = A'((G w G') ∘ (B' d B)) A, where
the 16 products are summed over the channels: one matrix product for each of the 16 places. The way back to the input is
the same with the kernel turned round, which takes no more than other places. Sums of four numbers come before the
products and after them, and the sums of the products are shorter: rounding errors are about those of plain sums.
(Lavin & Gray 2016, "Fast algorithms for convolutional neural networks".)

Gradients of weights stay plain sums. What is added up from 16 products leaves roundings where a gradient is exactly 0,
as of filters that hardly ever answer, and Adam makes whole steps of them.

Which layers are computed so is a matter of sizes, and decided by the plan (`LayerSpec.winograd`). Squares are counted
from the first line of the image, wherever the work is cut, so no bit depends on the cut.
"""
from libc.stdint cimport int32_t

from cnn_core.team cimport stopped
from cnn_core.tile cimport INPUTS, OUTPUTS, WEIGHTS, Square, lanes, squares, tile_matmul
from cnn_core.types cimport GROUP, LayerSpec, WindowSpec, real

cdef enum:
    PLACES = 16     # of a square
    ALL = 0xffff    # of them
    SQUARES = 4     # that are computed together: as many vectors as a tile is wide
    FEW_SQUARES = 32    # and of one image by itself


# An image cut into squares of 2 x 2, and the one whose pixels they read, from `top` lines and `left` columns before on.
cdef struct Squares:
    Py_ssize_t height           # of the image that is cut
    Py_ssize_t width
    Py_ssize_t read_height      # of the one that is read
    Py_ssize_t read_width
    Py_ssize_t top
    Py_ssize_t left
    Py_ssize_t columns          # squares in a line of them


cdef inline Squares squares_of(const WindowSpec* window, bint back) noexcept nogil:
    cdef Squares cut
    cut.height, cut.width, cut.read_height, cut.read_width = (window.out_height, window.out_width, window.height,
                                                              window.width)
    cut.top, cut.left = window.top, window.left
    if back:
        cut.height, cut.width, cut.read_height, cut.read_width = (window.height, window.width, window.out_height,
                                                                  window.out_width)
        cut.top, cut.left = 2 - cut.top, 2 - cut.left
    cut.columns = (cut.width + 1) // 2
    return cut


cdef inline Py_ssize_t room_columns(const LayerSpec* layer) noexcept nogil:
    """How many numbers a row such a convolution needs beside its input and output; 0 for all others.

    Each of the parts is 16 planes, which begin in different sets of the cache: weights, what is read, what comes out.
    """
    cdef Py_ssize_t channels = layer.window.channels, filters = layer.window.out_channels
    if not layer.winograd:
        return 0
    return channels * filters + GROUP + PLACES * (SQUARES * (channels + filters) + 2)


cdef inline Py_ssize_t room_elements(const LayerSpec* layers, Py_ssize_t n_layers, Py_ssize_t capacity) noexcept nogil:
    """What the layers of a slab need, one after another."""
    cdef Py_ssize_t i, most = 0
    for i in range(n_layers):
        most = max(most, room_columns(&layers[i]))
    return most * capacity


cdef inline Square square_of(Py_ssize_t line, Py_ssize_t pixel, Py_ssize_t term, unsigned int inside) noexcept nogil:
    cdef Square square
    square.line, square.pixel, square.term, square.inside = line, pixel, term, inside
    return square


cdef inline unsigned int inside_of(Py_ssize_t y, Py_ssize_t x, Py_ssize_t size, Py_ssize_t first, Py_ssize_t end,
                                   Py_ssize_t width) noexcept nogil:
    """Which pixels of a square that begins at (y, x) are in lines first .. end - 1 of an image; bit 4 i + j: (i, j)."""
    cdef unsigned int inside = 0
    cdef Py_ssize_t i, j
    for i in range(size):
        for j in range(size):
            if first <= y + i < end and 0 <= x + j < width:
                inside |= 1u << (4 * i + j)
    return inside


cdef inline void turn_weights(const WindowSpec* window, const real* weights, real* turned, int thread,
                              int n_threads) noexcept nogil:
    """This thread's share of turned (16, channels, filters), planes GROUP further apart than they are large, = G w G'.
    """
    cdef Py_ssize_t plane = <Py_ssize_t>window.channels * window.out_channels, step = lanes(weights)
    cdef Py_ssize_t first = plane // step * thread // n_threads, end = plane // step * (thread + 1) // n_threads
    cdef Square from_ = square_of(3 * plane, plane, step, ALL)
    cdef Square to = square_of(4 * (plane + GROUP), plane + GROUP, step, ALL)
    squares(WEIGHTS, weights + first * step, &from_, turned + first * step, &to, end - first, <const real*>NULL)


cdef inline void turn_inputs(const Squares* cut, Py_ssize_t square, Py_ssize_t n, const real* x, Py_ssize_t pixel,
                             Py_ssize_t term, Py_ssize_t terms, real* turned, Py_ssize_t plane, Py_ssize_t apart,
                             Py_ssize_t to_term) noexcept nogil:
    """B' d B of n squares from `square` on, a vector of each term: 16 planes, in each the squares `apart`."""
    cdef Py_ssize_t i, y, column
    cdef Square from_ = square_of(cut.read_width * pixel, pixel, term, 0)
    cdef Square to = square_of(4 * plane, plane, to_term, ALL)
    for i in range(n):
        y, column = (square + i) // cut.columns * 2 - cut.top, (square + i) % cut.columns * 2 - cut.left
        from_.inside = inside_of(y, column, 4, 0, cut.read_height, cut.read_width)
        squares(INPUTS, x + (y * cut.read_width + column) * pixel, &from_, turned + i * apart, &to, terms,
                <const real*>NULL)


cdef inline void turn_outputs(const Squares* cut, Py_ssize_t square, Py_ssize_t n, const real* sums, Py_ssize_t plane,
                              Py_ssize_t apart, Py_ssize_t from_term, real* z, Py_ssize_t pixel, Py_ssize_t term,
                              Py_ssize_t terms, const real* start, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """The way back: A' m A of n squares, of which lines first .. end - 1 are written, from start (terms,) or 0."""
    cdef Py_ssize_t i, y, column
    cdef Square from_ = square_of(4 * plane, plane, from_term, ALL)
    cdef Square to = square_of(cut.width * pixel, pixel, term, 0)
    for i in range(n):
        y, column = (square + i) // cut.columns * 2, (square + i) % cut.columns * 2
        to.inside = inside_of(y, column, 2, first, end, cut.width)
        squares(OUTPUTS, sums + i * apart, &from_, z + (y * cut.width + column) * pixel, &to, terms, start)


cdef inline void winograd_slide(const WindowSpec* window, bint back, const real* weights, const real* start,
                                const real* x, real* z, real* room, Py_ssize_t ld, Py_ssize_t first, Py_ssize_t end,
                                const int32_t* stop) noexcept nogil:
    """What `slide` of convolution.pxd computes."""
    cdef Squares cut = squares_of(window, back)
    cdef Py_ssize_t n = window.out_channels, outputs = window.channels if back else n
    cdef Py_ssize_t terms = n if back else window.channels, weight_plane = outputs * terms + GROUP
    cdef Py_ssize_t square = first // 2 * cut.columns, last = (end + 1) // 2 * cut.columns, i, v, place, here
    cdef Py_ssize_t x_plane = (terms * SQUARES + 1) * ld, z_plane = (outputs * SQUARES + 1) * ld, step = lanes(x)
    cdef real* turned = room + PLACES * weight_plane
    cdef real* sums = turned + PLACES * x_plane
    turn_weights(window, weights, room, 0, 1)
    while square < last and not stopped(stop):
        here = min(last - square, <Py_ssize_t>SQUARES)
        for v in range(ld // step):
            turn_inputs(&cut, square, here, x + v * step, terms * ld, ld, terms, turned + v * step, x_plane, ld,
                        SQUARES * ld)
        for place in range(PLACES):
            # The kernel turned round has its first and last lines, and columns, exchanged.
            i = place if not back else turned_round(place // 4) * 4 + turned_round(place % 4)
            tile_matmul(outputs, here * ld, terms, <const real*>room + i * weight_plane, n if back else 1,
                        1 if back else n, <const real*>turned + place * x_plane, SQUARES * ld, sums + place * z_plane,
                        SQUARES * ld, <const real*>NULL, False, True, <const real*>NULL, 0)
        for v in range(ld // step):
            turn_outputs(&cut, square, here, <const real*>sums + v * step, z_plane, ld, SQUARES * ld, z + v * step,
                         outputs * ld, ld, outputs, start, first, end)
        square += here


cdef inline Py_ssize_t turned_round(Py_ssize_t i) noexcept nogil:
    return 3 - i if i % 3 == 0 else i


cdef inline Py_ssize_t few_weights(const LayerSpec* layer) noexcept nogil:
    """Elements of the turned weights that `winograd_few` reads."""
    return PLACES * (<Py_ssize_t>layer.window.channels * layer.window.out_channels + GROUP) if layer.winograd else 0


cdef inline Py_ssize_t few_room(const LayerSpec* layer) noexcept nogil:
    """Elements that `winograd_few` needs besides, for each thread."""
    cdef Py_ssize_t both = <Py_ssize_t>layer.window.channels + layer.window.out_channels
    return PLACES * (FEW_SQUARES * both + 2 * GROUP) if layer.winograd else 0


cdef inline void winograd_few(const WindowSpec* window, const real* weights, const real* x, real* z, real* room,
                              Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """Lines first .. end - 1 of z = Σ x W of one image, stored by itself, by turned weights.

    Vectors run along the channels. The bits are those of a slab.
    """
    cdef Squares cut = squares_of(window, False)
    cdef Py_ssize_t terms = window.channels, n = window.out_channels, weight_plane = terms * n + GROUP
    cdef Py_ssize_t x_plane = FEW_SQUARES * terms + GROUP, z_plane = FEW_SQUARES * n + GROUP, here, place
    cdef Py_ssize_t square = first // 2 * cut.columns, last = (end + 1) // 2 * cut.columns
    cdef real* sums = room + PLACES * x_plane
    while square < last:
        here = min(last - square, <Py_ssize_t>FEW_SQUARES)
        turn_inputs(&cut, square, here, x, terms, lanes(x), terms // lanes(x), room, x_plane, terms, lanes(x))
        for place in range(PLACES):
            tile_matmul(here, n, terms, <const real*>room + place * x_plane, terms, 1,
                        weights + place * weight_plane, n, sums + place * z_plane, n, <const real*>NULL,
                        False, False, <const real*>NULL, 0)
        turn_outputs(&cut, square, here, <const real*>sums, z_plane, n, lanes(x), z, n, lanes(x), n // lanes(x),
                     <const real*>NULL, first, end)
        square += here
