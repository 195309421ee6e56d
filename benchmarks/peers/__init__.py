"""The contestants of training.py, one module each.

Each module has `VARIANTS`, names of equally good ways among which the fastest is chosen for each network, and a class
`Trainer(problem, variant, threads)` with `epoch()`, one epoch in the order of the rows, and `parameters()`, (W, b) of
each layer. `comparable(network)`, where there is one, says whether the loss can equal that of the others. A module's
imports are those of its library alone: where they fail, the contestant is reported as absent.
"""

MODULES = {
    "cnn": "cnn_fit",
    "numpy": "numpy_loop",
    "scikit-learn": "sklearn_mlp",
    "torch": "torch_eager",
    "jax": "jax_scan",
}
