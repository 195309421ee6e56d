"""Networks elsewhere: ONNX, C, PyTorch and scikit-learn."""

from cnn.export import images  # its layers register with those of `layers`

__all__ = ["images"]
