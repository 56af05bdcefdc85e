"""An emulator of the insurer's API: a real HTTP server that checks signatures and answers by a scenario."""
