"""`python -m everact`: the command line."""

from everact.cli import main

if __name__ == "__main__":
    main(prog_name="everact")
