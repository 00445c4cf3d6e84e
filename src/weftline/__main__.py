"""Run the command line as `python -m weftline`."""

from weftline.cli import main

if __name__ == "__main__":
    main()
