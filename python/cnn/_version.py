"""The version of the package: what the wheel, the files that it writes and the exports say."""

__version__ = "0.1.0"
