"""The second opinion: what should have happened, from the log alone, with no code of the service."""
