"""The command `cnn`: training on a table, predicting and looking at models without a line of Python."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command; without the extra it says which one to install."""
    try:
        import pandas  # noqa: F401
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        sys.exit(_without_extra(error))
    except KeyboardInterrupt:
        sys.exit(130)
    from cnn.cli import app

    app.run()


def _without_extra(error: ImportError) -> int:
    print(f"cnn: the command needs {error.name} (extra 'cli'): pip install typer rich pandas", file=sys.stderr)
    return 2
