"""Networks elsewhere: ONNX, C, PyTorch and scikit-learn."""
