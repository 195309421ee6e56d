"""Tables: networks that learn from a data frame as it is, with text, dates and gaps."""

from cnn.table import file as file  # so that loading a table model imports nothing
from cnn.table.model import TableModel

__all__ = ["TableModel"]
