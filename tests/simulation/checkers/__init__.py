"""The invariants, each checker named after what it checks. A broken one raises `Violation`."""
