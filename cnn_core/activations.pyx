"""Home of the `Activation` enum; the functions are inline, in activations.pxd."""
