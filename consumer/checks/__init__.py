"""What must be so before anything is decided. `run` makes these checks at every start."""
