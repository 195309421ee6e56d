"""The contestants of training.py, one module each.

Each module has `VARIANTS`, names of equally good ways among which the fastest is chosen for each network, and a class
`Trainer(problem, variant, threads)` with `epoch()`, one epoch in the order of the rows, and `parameters()`, (W, b) of
each layer. Its imports are those of its library alone: where they fail, the contestant is reported as absent.
"""
