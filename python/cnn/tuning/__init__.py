"""`cnn.search`: settings of networks by Optuna (extra `search`), many of them trained side by side."""

from cnn.tuning.result import SearchResult
from cnn.tuning.search import search

__all__ = ["SearchResult", "search"]
