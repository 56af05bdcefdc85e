"""A bounded run of the deployment's own loop over a range of the past, and its rehearsal that calls nothing."""
