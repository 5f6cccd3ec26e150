"""Start the speech recognition server: `python start.py`. See `python start.py --help` for the rest."""

import sys


def run() -> int:
    """Check what must be there before anything else can be imported, then hand over to the command line."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        sys.exit(f"error: Python 3.11 or 3.12 is needed; this is {sys.version.split()[0]} ({sys.executable}).")
    try:
        from app.cli.main import main  # noqa: PLC0415 - not before the version is known to be right
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "app":
            raise
        sys.exit(
            f"error: the package {error.name} is missing.\nhint: {sys.executable} -m pip install -r requirements.txt"
        )
    return main(program="start.py")


if __name__ == "__main__":
    sys.exit(run())
