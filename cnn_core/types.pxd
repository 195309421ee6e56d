"""Types that every module of the core shares: the scalar, and the plain structs a network is described by."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


ctypedef fused real:
    float
    double


# Rows are shared out in groups of so many, whole vectors on every machine.
cdef enum:
    GROUP = 16


cpdef enum LayerKind:
    DENSE
    DROPOUT
    SCALE
    ADD
    LAYER_NORM
    CATEGORY_EMBEDDING
    PRELU
    PARAMETRIC
    GAUSSIAN_NOISE
    NUMERIC_EMBEDDING
    PIECEWISE_EMBEDDING
    BATCH_NORM
    CONVOLUTION
    MAX_POOL
    AVERAGE_POOL
    FLATTEN


# A window that slides over an image: what a convolution or pooling layer reads and writes. Images lie in rows by
# (y, x, channel); signals are images of height 1.
cdef struct WindowSpec:
    int height              # of the image that is read
    int width
    int channels
    int out_height
    int out_width
    int out_channels
    int kernel_height
    int kernel_width
    int stride_y
    int stride_x
    int dilation_y
    int dilation_x
    int top                 # rows of zeros (pooling: of nothing) above the image,
    int left                # and columns to its left
    int groups              # of channels, each of which makes its share of the output's from its share of the input's


# One entry of a network's plan. `weights` and `biases` are element offsets into the parameter arena;
# `output`, `saved` and so on are columns of the workspace: a buffer of a slab starts at column * capacity.
cdef struct LayerSpec:
    int kind                # LayerKind
    int activation          # activations.Activation
    int n_inputs
    int n_units
    int by_blas             # 1: SciPy's BLAS computes the products of a dense layer, 0: our kernels
    int64_t weights         # W, (n_inputs, n_units), row-major; of other kinds (n_units,) or a table; -1: none
    int64_t biases          # b, (n_units,); -1: no bias
    int64_t output          # a, (rows, n_units): what the next layer reads
    int64_t saved           # what its way back needs beside the outputs: z, a mask, ... (`Layer.kept`); -1: none
    double alpha            # the activation's parameter; layer norm: epsilon
    double rate             # dropout: the share of units set to zero; Gaussian noise: its deviation
    double epsilon          # batch norm
    double momentum         # batch norm: how far a step moves the running averages; 0: they stay and are used
    int source              # add: the layer whose input it adds; -1: none
    int branches            # how many layers above add what this one reads
    int categories          # category embedding: how many there are
    int columns             # embeddings: the first inputs, that become several numbers each,
    int cosines             # numeric embedding: by so many cosines
    int bins                # piecewise embedding: by so many bins
    int64_t frequencies     # numeric embedding: w, (columns, cosines); -1: none
    int64_t phases          # numeric embedding: b, (columns, cosines); -1: none
    int64_t edges           # piecewise embedding: lower edges of bins, (columns, bins); -1: none
    int64_t inverses        # piecewise embedding: inverse widths of bins, (columns, bins); -1: none
    int64_t running_mean    # batch norm: (n_units,); -1: none
    int64_t running_variance    # batch norm: (n_units,); -1: none
    int pixels              # n_inputs are so many times the same channels; 1: no image
    int gated               # 1: max pooling of ReLU's zeros and positives, or what it reads; it passes on all of f'(z)
    int winograd            # 1: a convolution of 3 x 3 points is computed with fewer multiplications (winograd.pxd)
    WindowSpec window       # convolution and pooling


# Where the buffers of one slab lie that belong to no layer (columns again).
cdef struct WorkspaceSpec:
    int64_t input           # gathered rows of X, (rows, n_inputs)
    int64_t delta           # dL/d(output) of the layer at work, (rows, widest)
    int64_t delta_next      # the same for the layer below, (rows, widest)
    int64_t target          # gathered targets, (rows, n_targets)
    int64_t value           # loss of each element, (rows, n_outputs)
    int64_t weight          # gathered sample weights, (rows,)
    int64_t room            # what a convolution works in; last, up to the end of the workspace
    int64_t columns         # of the whole workspace
    int64_t capacity        # rows a slab may have; a multiple of 16, so that every buffer is 64-byte aligned


# A range of the parameter arena whose elements are updated alike.
cdef struct SegmentSpec:
    int64_t begin
    int64_t end
    double rate             # factor on the learning rate
    double decay            # factor on the optimizer's weight decay
    double l1
    double l2
    int running             # 1: running averages, off which a step takes what stands for their gradient


# What one process has of a minibatch, all of it unless the minibatch is shared out among several (cnn.mpi).
cdef struct ShareSpec:
    int64_t begin           # its first row, in the order of the epoch
    int64_t rows
    int64_t above           # rows of the minibatch that others have, before its own
    int64_t all_rows        # of the minibatch
    int64_t cut_rows        # rows that are cut into chunks, of which the first of its own has this number:
    int64_t first_chunk
    int64_t all_chunks
    double weight           # the sum of the weights of all rows of the minibatch


cpdef enum Augmentation:
    SHIFT
    FLIP
    CUTOUT
    NOISE


# What is outside of an image that is shifted.
cpdef enum Outside:
    ZEROS
    EDGE
    REFLECT


# How images are changed in training (augment.pxd).
cdef struct AugmentSpec:
    int kind                # Augmentation
    int outside             # Outside
    int64_t size[2]         # along y and x: shift: pixels at most; flip: whether it may be; cutout: of the rectangle
    double stddev           # noise


cdef struct LossSpec:
    int kind                # losses.Loss
    int n_outputs
    int n_targets           # numbers in a row of targets
    double parameter        # huber: delta; quantile: q
    double smoothing        # label smoothing of the cross-entropies
    double scale            # factor on the loss and its derivative
    int shared_penalty      # 1: penalties are divided by the sum of the minibatch's weights, as in scikit-learn


cdef struct OptimizerSpec:
    int kind                # optimizers.Optimizer
    int nesterov
    int amsgrad
    int epsilon_hat         # adam: 1 adds epsilon before the bias correction, Kingma & Ba's epsilon hat
    int decoupled           # weight decay: 1 shrinks the parameter (AdamW), 0 is added to the gradient
    double momentum
    double beta_1
    double beta_2
    double rho
    double epsilon
    double weight_decay
    double clip_value       # 0: off
    double clip_norm        # 0: off


cdef inline Py_ssize_t channels_of(const LayerSpec* layer) noexcept nogil:
    """Units of each pixel of the output, of a layer that gives what it gets; of rows of numbers all units."""
    return layer.n_units // layer.pixels
