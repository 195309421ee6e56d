"""`ImageClassifier`: a convolutional network for labels of pictures (extras `sklearn` and, for folders, `images`)."""

from cnn.images.classifier import ImageClassifier

__all__ = ["ImageClassifier"]
