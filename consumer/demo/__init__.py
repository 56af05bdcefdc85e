"""The whole service on one machine: an embedded broker, an API emulator, generated shopping sessions and a check."""
