"""The contestants, one module each.

For training a module has `VARIANTS`, names of equally good ways among which the fastest is chosen for each network, and
a class `Trainer(problem, variant, threads)` with `run(epochs)`, so many epochs in the order of the rows as a user runs
them, and `parameters()`, (W, b) of each layer. For prediction it has a class `Predictor(problem, threads)`, whose
`predict(X)` takes and gives NumPy arrays: values, or the probabilities of classes. Either may be missing.
`comparable(network)`, where there is one, says whether the loss can equal that of the others; `supports(network)`,
whether there is anything to measure. A module's imports are those of its library alone: where they fail, the contestant
is reported as absent.

`IMAGES` are those of networks of images: the same, but that `run` shuffles the rows of each epoch, and that a trainer
has `first()`, the first minibatches in the order of the rows, after which losses are compared.
"""

MODULES = {
    "cnn": "cnn_fit",
    "numpy": "numpy_loop",
    "scikit-learn": "sklearn_mlp",
    "torch": "torch_eager",
    "jax": "jax_scan",
    "onnxruntime": "onnx_session",
    "scipy sgemm": "scipy_sgemm",
}
IMAGES = {"cnn": "cnn_images", "torch": "torch_images", "jax": "jax_images", "onnxruntime": "onnx_images"}
IMAGES = {f"{name} of images": module for name, module in IMAGES.items()}
