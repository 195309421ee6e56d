"""What one call of the training loop is about: data, buffers and what is found, shared by the team."""
from libc.stdint cimport int32_t, int64_t, uint64_t

from cnn_core.augment cimport Augment
from cnn_core.dense_rows cimport DenseRows
from cnn_core.sparse_rows cimport SparseRows
from cnn_core.team cimport Barrier
from cnn_core.types cimport LayerSpec, LossSpec, OptimizerSpec, SegmentSpec, ShareSpec, WorkspaceSpec

cdef enum Status:
    DONE
    LOSS_NOT_FINITE
    GRADIENT_NOT_FINITE
    UPDATE_NOT_FINITE
    STOPPED


# What schedules may change from step to step.
cdef struct StepNumbers:
    double rate         # learning rate
    double dropout      # factor on the rates of dropout layers, which must stay below 1
    double decay        # factor on the weight decay


# Everything the team shares. Pointers to scalars of the network's type are void*, for a struct can't be generic;
# each function that takes them out is, and casts them back.
cdef struct Job:
    const LayerSpec* layers
    int n_layers
    const WorkspaceSpec* workspace
    const SegmentSpec* segments
    int n_segments
    const LossSpec* loss
    const OptimizerSpec* optimizer      # NULL: only the gradient is wanted
    int64_t size                        # elements of the parameter arena
    int64_t scratch_stride              # elements between the workspaces of two threads
    int64_t slots_stride                # elements between two slots of the optimizer's state
    bint wide                           # units are shared out among the threads (wide.pxd), else rows
    Py_ssize_t n_chunks                 # parts of a minibatch: chunks with a gradient of their own, or slabs
    Py_ssize_t transposed_size              # wide: elements of the deltas by rows
    Py_ssize_t n_rows                   # of the data
    Py_ssize_t batch_size
    Py_ssize_t first                    # minibatches first .. last - 1 are run
    Py_ssize_t last
    int64_t step                        # steps done before
    uint64_t seed
    bint training
    DenseRows X                         # none: the rows are in `sparse`
    Augment augment                     # how X is changed
    SparseRows sparse                   # in the order of `places`
    const void* targets
    const int32_t* classes
    const void* weights
    const int64_t* order                # of targets, weights and outputs; NULL: as they stand
    const int64_t* places               # rows of X in that order: `order`, but where X has other rows than they
    void* gradients
    void* state
    void* outputs
    double* scalars
    const StepNumbers* numbers          # of each step; NULL where only the gradient is wanted
    double* report
    double* chunk_loss                  # (n_chunks,)
    double* block_norm                  # (n_blocks,): sum of squares of the gradient
    double* block_penalty               # (n_blocks,)
    int* block_bad                      # (n_blocks,): `Finding`, 0 if all is finite
    Py_ssize_t n_blocks
    const int32_t* stop                 # NULL, or set from outside: the minibatch at work is given up
    int32_t stopping                    # what the team has seen of it
    int32_t stop_phase                  # wide: in which phase
    Py_ssize_t steps_done
    int status
    Barrier* barrier
    const ShareSpec* shares             # of each minibatch of an epoch; NULL: all rows are here
    Py_ssize_t n_shares
    # What a process does with the others, after so many steps of the epoch; 0: done. `exchange` adds the first
    # gradients and chunk_losses of all in each step, `average` makes alike what `average_every` steps alone have made.
    int (*exchange)(void*, Py_ssize_t) noexcept nogil
    int (*average)(void*, Py_ssize_t) noexcept nogil
    Py_ssize_t average_every
    void* others
