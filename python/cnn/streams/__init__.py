"""Rows that are read while a network trains: where they come from, how they are mixed, cut and read ahead."""
