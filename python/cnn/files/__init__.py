"""Models as files: the container, written whole or not at all, and what networks put into it."""
