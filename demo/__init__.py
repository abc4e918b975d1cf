"""The demo: the standard library's own documentation, searched in two stages by the real server."""
