"""`ImageClassifier`: a convolutional network for labels of pictures (extras `sklearn` and, for folders, `images`)."""

from cnn.images import export  # it registers with cnn.export_c and cnn.export_onnx
from cnn.images.classifier import ImageClassifier

__all__ = ["ImageClassifier", "export"]
