"""Which pixels of an image the points of a kernel read, one direction at a time: no layers, no numbers."""

# One direction of an image: n pixels that are computed from `size` others by the points of a kernel.
cdef struct Axis:
    Py_ssize_t n
    Py_ssize_t size
    Py_ssize_t kernel
    Py_ssize_t stride
    Py_ssize_t dilation
    Py_ssize_t pad
    bint back               # from outputs to inputs


cdef inline Axis axis_of(Py_ssize_t n, Py_ssize_t out, Py_ssize_t kernel, Py_ssize_t stride, Py_ssize_t dilation,
                         Py_ssize_t pad, bint back) noexcept nogil:
    cdef Axis axis
    axis.n, axis.size = (n, out) if back else (out, n)
    axis.kernel, axis.stride, axis.dilation, axis.pad, axis.back = kernel, stride, dilation, pad, back
    return axis


cdef inline Py_ssize_t read_at(const Axis* axis, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Which pixel the kernel's point k reads for pixel `at`; -1: none."""
    cdef Py_ssize_t from_ = at * axis.stride - axis.pad + k * axis.dilation
    if axis.back:
        from_ = at + axis.pad - k * axis.dilation
        if axis.stride > 1:  # the division is slow, and rarely needed
            if from_ % axis.stride:
                return -1
            from_ //= axis.stride
    return from_ if 0 <= from_ < axis.size else -1


cdef inline Py_ssize_t alike(const Axis* axis, Py_ssize_t at) noexcept nogil:
    """How many pixels from `at` on, `apart(axis)` apart, read by the same points: 1 where some are outside."""
    cdef Py_ssize_t k, from_, last = 0, stride = axis.stride
    for k in range(axis.kernel):
        from_ = at * stride - axis.pad + k * axis.dilation
        if axis.back:
            from_ = at + axis.pad - k * axis.dilation
            if stride > 1:
                if from_ % stride:
                    continue
                from_ //= stride
        if not 0 <= from_ < axis.size:
            return 1
        last = max(last, from_)
    if axis.back:
        return min(axis.size - 1 - last, (axis.n - 1 - at) // stride) + 1
    return min((axis.size - 1 - last) // stride, axis.n - 1 - at) + 1
