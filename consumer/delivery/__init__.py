"""Makes the calls until each is settled. It knows a `Caller` and nothing of the insurer."""
