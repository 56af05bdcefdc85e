"""The simulated edges of the service, and the processes that live by them, in virtual time."""
