"""The commands that show tables, a module each. What one needs is imported in it: `--help` must not wait for it."""
