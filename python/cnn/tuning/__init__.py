"""`cnn.search`: settings of networks by Optuna (extra `search`); `cnn.find_learning_rate`: a range test."""

from cnn.tuning.learning_rate import LearningRateRange, find_learning_rate
from cnn.tuning.result import SearchResult
from cnn.tuning.search import search

__all__ = ["LearningRateRange", "SearchResult", "find_learning_rate", "search"]
