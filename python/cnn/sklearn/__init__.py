"""`MLPClassifier` and `MLPRegressor` in place of scikit-learn's, ensembles, `cross_validate` (extra `sklearn`)."""

from cnn.sklearn import export  # it registers with cnn.export_c and cnn.export_onnx
from cnn.sklearn.classifier import MLPClassifier
from cnn.sklearn.cross_validation import cross_validate
from cnn.sklearn.ensemble import EnsembleClassifier, EnsembleRegressor
from cnn.sklearn.regressor import MLPRegressor
from cnn.sklearn.to_skl2onnx import register_skl2onnx

__all__ = [
    "EnsembleClassifier", "EnsembleRegressor", "MLPClassifier", "MLPRegressor", "cross_validate", "export",
    "register_skl2onnx",
]  # fmt: skip
