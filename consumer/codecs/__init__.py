"""From value bytes to events and back, one module a wire format."""
