"""`python -m tollgate_cli`."""

from tollgate_cli.main import main

if __name__ == "__main__":
    main()
