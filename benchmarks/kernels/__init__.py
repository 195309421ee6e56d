"""The kernels of `cnn_core` at C level, and what the machine can do at most."""
