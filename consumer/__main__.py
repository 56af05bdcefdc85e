"""`python -m consumer` is `opt-out`."""

from .cli import main

if __name__ == "__main__":
    main()
