"""NumPy dtypes of the core's structs, taken from the compiler so that both sides always agree."""
import numpy as np

from cnn_core.types cimport AugmentSpec, LayerSpec, LossSpec, OptimizerSpec, SegmentSpec, ShareSpec, WorkspaceSpec


def _dtypes():
    cdef LayerSpec layer
    cdef WorkspaceSpec workspace
    cdef SegmentSpec segment
    cdef LossSpec loss
    cdef OptimizerSpec optimizer
    cdef ShareSpec share
    cdef AugmentSpec augment
    return tuple(
        np.asarray(view).dtype
        for view in (
            <LayerSpec[:1]>&layer, <WorkspaceSpec[:1]>&workspace, <SegmentSpec[:1]>&segment,
            <LossSpec[:1]>&loss, <OptimizerSpec[:1]>&optimizer, <ShareSpec[:1]>&share,
            <AugmentSpec[:1]>&augment,
        )
    )


layer_dtype, workspace_dtype, segment_dtype, loss_dtype, optimizer_dtype, share_dtype, augment_dtype = _dtypes()


cdef extern from "cpu_level.h":
    int cnn_cpu_level()

cdef extern from *:
    """
    /* Whether the processor may have vectors of more than 128 bits (AVX, SVE) or units for matrices (AMX, SME). */
    #if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
    static int cnn_more_than_128_bits(void) { __builtin_cpu_init(); return __builtin_cpu_supports("avx") != 0; }
    #else
    static int cnn_more_than_128_bits(void) { return 1; }
    #endif
    """
    int cnn_more_than_128_bits()


def cpu_level():
    """The x86-64 level of this machine: 2 (baseline), 3 (AVX2), 4 (AVX-512); 1 on other machines."""
    return cnn_cpu_level()


def more_than_128_bits():
    """Whether a BLAS may have wider vectors here than a baseline engine has."""
    return bool(cnn_more_than_128_bits())
