"""The C API: `cimport cnn_core` gives these to other Cython packages; docs/c-api.md describes them.

Inline code, compiled into the module that uses it, with that module's flags; its headers lie in `get_include()`.
"""
from cnn_core.job cimport DONE, GRADIENT_NOT_FINITE, LOSS_NOT_FINITE, UPDATE_NOT_FINITE
from cnn_core.model cimport Model, backward, describe, forward, predict, train_step
