"""Home of the `Link` enum; the functions are inline, in links.pxd."""
