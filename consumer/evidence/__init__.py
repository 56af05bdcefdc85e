"""What was done, for those who ask: figures of the outcomes, and the outcomes themselves as files."""
