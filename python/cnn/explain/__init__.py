"""What predictions come from: the shares of their inputs, and how they depend on a column.

`integrated_gradients` and `expected_gradients` divide each prediction among its inputs; `partial_dependence` moves one
column and looks at what becomes of all. They take a `cnn.Network`, an estimator, an ensemble or a `cnn.TableModel`, the
first two a `cnn.ImageClassifier`, too.
"""

from cnn.explain.dependence import Dependence, partial_dependence
from cnn.explain.explanation import Explanation
from cnn.explain.gradients import expected_gradients, integrated_gradients

__all__ = ["Dependence", "Explanation", "expected_gradients", "integrated_gradients", "partial_dependence"]
