"""The pure core: no input or output, no clock, no threads. It imports `events` and nothing else of the project."""
