"""Tables: networks that learn from a data frame as it is, with text, dates and gaps."""

from cnn.table import c, onnx  # they register with cnn.export_c and cnn.export_onnx
from cnn.table.model import TableModel

__all__ = ["TableModel", "c", "onnx"]
