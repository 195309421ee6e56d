"""Looking inside: diagnosis, the gradient check, what is printed."""
