"""Home of the `Optimizer` enum; the functions are inline, in optimizers.pxd."""
