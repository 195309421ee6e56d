"""Home of the `Loss` enum; the functions are inline, in losses.pxd."""
