"""What a seed draws: events and their records, settings, and faults."""
