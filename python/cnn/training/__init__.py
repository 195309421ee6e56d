"""A fit: prepared, run, kept in checkpoints and gone on from."""
