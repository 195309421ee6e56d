"""Tables: networks that learn from a data frame as it is, with text, dates and gaps."""

from cnn.table.model import TableModel

__all__ = ["TableModel"]
