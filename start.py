"""Start the speech recognition server: `python start.py`. See `python start.py --help` for the rest."""

import os
import signal
import sys


def run() -> int:
    """Check what must be there before anything else can be imported, then hand over to the command line."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        # Of a container's first process the kernel keeps away what nobody listens for, and imports take seconds.
        signal.signal(signal.SIGTERM, _end)
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


def _end(sig: int, _frame: object) -> None:
    """End as if the signal had not been listened for."""
    signal.signal(sig, signal.SIG_DFL)
    os.kill(os.getpid(), sig)
    os._exit(128 + sig)  # a container's first process cannot be killed by its own signal


if __name__ == "__main__":
    sys.exit(run())
