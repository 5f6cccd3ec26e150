"""How files are called that may be recordings: for folders, of which a file that is no recording is left out. What a
file is, its bytes say."""

from __future__ import annotations

_OF_MOV = (".mov", ".mp4", ".m4a", ".m4b", ".m4v", ".3gp", ".3g2", ".f4v", ".mj2", ".qt")
_OF_MATROSKA = (".mkv", ".mka", ".mk3d", ".webm")
_OF_ASF = (".asf", ".wma", ".wmv")
_OF_AMR = (".amr", ".awb")
_OF_MPEG = (".mpeg", ".mpg", ".mpga", ".m2p", ".vob")

SUFFIXES_OF: dict[str, tuple[str, ...]] = {
    "wav": (".wav", ".wave", ".rf64", ".bwf"),
    "w64": (".w64",),
    "mp3": (".mp3", ".mp2", ".mp1", ".mpa", ".m2a"),
    "flac": (".flac",),
    "ogg": (".ogg", ".oga", ".ogv", ".opus", ".spx"),
    "matroska": _OF_MATROSKA,
    "webm": _OF_MATROSKA,
    "mov": _OF_MOV,
    "mp4": _OF_MOV,
    "m4a": _OF_MOV,
    "3gp": _OF_MOV,
    "3g2": _OF_MOV,
    "aac": (".aac", ".adts"),
    "ac3": (".ac3",),
    "eac3": (".eac3", ".ec3"),
    "amr": _OF_AMR,
    "amrnb": _OF_AMR,
    "amrwb": _OF_AMR,
    "aiff": (".aif", ".aiff", ".aifc"),
    "au": (".au", ".snd"),
    "caf": (".caf",),
    "asf": _OF_ASF,
    "asf_o": _OF_ASF,
    "avi": (".avi",),
    "mpeg": _OF_MPEG,
    "mpegts": (".ts", ".mts", ".m2ts"),
    "flv": (".flv",),
    "ape": (".ape",),
    "wv": (".wv",),
    "tta": (".tta",),
    "nistsphere": (".sph", ".nist"),
}
"""By the decoder's containers, each of which has its names here."""
BARE_SUFFIXES = frozenset({".pcm", ".raw"})
"""Samples without a container."""
SUFFIXES = BARE_SUFFIXES | {suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes}
