"""`python -m cutaway`: the same as the command `cutaway`."""

from cutaway.cli.main import main

if __name__ == "__main__":
    main()
