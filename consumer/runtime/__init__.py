"""What ties the core to its edges and runs it."""
