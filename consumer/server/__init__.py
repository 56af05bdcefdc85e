"""The HTTP endpoints of a running instance."""
