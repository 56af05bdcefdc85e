"""`python -m consumer` is `opt-out`."""

from .cli import program

if __name__ == "__main__":
    program()
