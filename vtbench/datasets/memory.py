"""What was found out about data in long reading, kept in the cache folder with its checksum.

A file holds the SHA-256 of the rest, a line end, and the rest. One that does not match is as if it were not there: what
it held is found out anew.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from vtbench.files import publish_bytes, read_file


def recall(path: Path) -> bytes | None:
    """What `remember` kept under ``path``; None if that is not there, or is not what was written."""
    try:
        checksum, _, content = read_file(path).partition(b"\n")
    except OSError:
        return None
    return content if checksum == _hash(content) else None


def remember(path: Path, content: bytes) -> None:
    """Keep ``content`` under ``path``; where nothing can be written it is not kept."""
    with suppress(OSError):
        publish_bytes(path, _hash(content) + b"\n" + content)


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
