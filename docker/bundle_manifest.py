"""What a bundle for machines without network holds: written beside it as MANIFEST.json, and compared with it.

    bundle_manifest.py write FOLDER --version 0.1.0 --image NAME --image-id sha256:... [--models models.tar]
    bundle_manifest.py verify FOLDER

SHA256SUMS says the same of the files as `sha256sum` reads it, for machines without Python: load.sh verifies with that.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

MANIFEST = "MANIFEST.json"
SUMS = "SHA256SUMS"
FORMAT = "speech-server-bundle/1"
_CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """In lower-case hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def files_in(folder: Path) -> dict[str, Path]:
    """Everything in the bundle but its own lists, by its path in it.

    Raises:
        ValueError: something is neither a file nor a folder, or has a name that a list of lines cannot hold.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"{name} is neither a file nor a folder")
        if not name.isprintable() or "\\" in name:
            raise ValueError(f"{name!r}: such a name cannot be listed")
        if path.is_file() and name not in {MANIFEST, SUMS}:
            found[name] = path
    return found


def models_in(archive: Path) -> list[dict[str, str]]:
    """The models of a tar that `start.py models pack` made, with their licences, as the catalog states them."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from app.modelstore.catalog import CATALOG  # noqa: PLC0415 - verifying needs nothing but this file

    with tarfile.open(archive, "r:") as tar:
        stream = tar.extractfile("manifest.json")
        said: Any = json.loads(stream.read()) if stream else {"entries": []}
    entries = [CATALOG.entry(str(item["id"])) for item in said["entries"]]
    return [
        {
            "id": entry.id,
            "title": entry.title,
            "licence": entry.licence,
            "licence_url": entry.licence_url,
            "homepage": entry.homepage,
        }
        for entry in entries
    ]


def write(folder: Path, about: dict[str, Any]) -> None:
    """Write both lists; `about` is what else the manifest says."""
    files = {name: {"size": path.stat().st_size, "sha256": sha256_of(path)} for name, path in files_in(folder).items()}
    manifest = json.dumps({"format": FORMAT, **about, "files": files}, indent=1, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(manifest, "utf-8")
    sums = {**{name: file["sha256"] for name, file in files.items()}, MANIFEST: sha256_of(folder / MANIFEST)}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    (folder / SUMS).write_text("".join(lines), "utf-8")


def differences(folder: Path) -> list[str]:
    """What is not as the manifest says, a line each; empty where all is.

    Raises:
        OSError, ValueError: there is no manifest that can be read.
    """
    said: Any = json.loads((folder / MANIFEST).read_text("utf-8"))
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise ValueError(f"{MANIFEST} is not of the format {FORMAT}")
    here, stated = files_in(folder), said["files"]
    missing = [f"{name} is missing" for name in stated if name not in here]
    foreign = [f"{name} is not in the manifest" for name in here if name not in stated]
    changed = [f"{name} differs" for name, path in here.items() if name in stated and not _same(path, stated[name])]
    return [*missing, *foreign, *changed]


def _same(path: Path, stated: dict[str, Any]) -> bool:
    return path.stat().st_size == stated["size"] and sha256_of(path) == stated["sha256"]


def main() -> int:
    """0: written, or all as stated. 1: something differs. 2: it cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["write", "verify"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", default="")
    parser.add_argument("--image", default="")
    parser.add_argument("--image-id", default="")
    parser.add_argument("--models", type=Path)
    said = parser.parse_args()
    try:
        if said.action == "write":
            models = models_in(said.models) if said.models else []
            image = {"name": said.image, "id": said.image_id}
            write(said.folder, {"version": said.version, "image": image, "models": models})
            return 0
        found = differences(said.folder)
    except (OSError, ValueError, KeyError, TypeError, tarfile.TarError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(found) or "all as the manifest says")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
