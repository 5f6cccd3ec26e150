"""`python tools/stream.py FILE...`: recordings as live streams, in any protocol that the server speaks."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # python puts this folder there instead
    from tools.command import main

    sys.exit(main())
