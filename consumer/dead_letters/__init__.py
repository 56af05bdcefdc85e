"""What `opt-out dead-letters` does: lists what was dead-lettered, shows one, and puts records back where they stood."""
