"""Files kept elsewhere, under a URL that fsspec knows: ``s3://bucket/path``, ``gs://bucket/path``, ``file:///path``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vtbench.errors import UserError
from vtbench.files import place_within, resolve

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_PART = ".vtbench-part"


class StoreError(UserError):
    """The store did not do what it was asked; nothing here is lost by that."""


class Store:
    """The files below ``url``. Names are relative to it, with ``/`` between folders.

    Raises ``UserError`` for a URL of no kind that is known here; every call raises `StoreError` if it fails.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        protocol, separator, rest = url.partition("://")
        self._is_local = protocol in ("file", "local")
        if not (separator and rest.strip("/")) or (self._is_local and not rest.startswith("/")):
            raise UserError(_explain_url(url, rest if separator else url))
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            extra = _EXTRAS.get(protocol)
            mend = f"pip install 'vtbench[{extra}]'" if extra else str(error)
            raise UserError(f"--store {url} takes a package that is not installed. Install it: {mend}.") from error
        except ValueError as error:
            raise UserError(f"--store was given {url!r}: {error}. Write s3://, gs:// or file://.") from error

    def refuse_overlap(self, folder: Path) -> None:
        """Raise ``UserError`` where the store is a folder that lies in ``folder``, or the other way around."""
        here, there = resolve(folder), resolve(self._root)
        if self._is_local and (here.is_relative_to(there) or there.is_relative_to(here)):
            raise UserError(
                f"The store {self.url} and the folder {folder} lie in one another, and a copy would be copied again. "
                "Give a folder apart with --store."
            )

    def list_files(self) -> dict[str, int]:
        """The sizes of all files, by name."""

        def find() -> dict[str, int]:
            found: dict[str, Any] = self._files.find(self._root, detail=True)
            names = {path[len(self._root) :].lstrip("/"): one["size"] for path, one in found.items()}
            return {name: size for name, size in names.items() if name and not name.endswith((_PART, "/"))}

        return self._try("list", find)  # type: ignore[no-any-return]

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return self._try("read", lambda: self._files.cat_file(self._path(name)))  # type: ignore[no-any-return]

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, whole or not at all, as stores of objects do by themselves."""
        path = self._path(name)

        def put() -> None:
            if not self._is_local:
                self._files.pipe_file(path, data)
                return
            self._refuse_links(name, name + _PART)
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path + _PART, data)
            self._files.mv(path + _PART, path)

        self._try("write", put)

    def remove(self, name: str) -> None:
        """Take a file away; none there is as good."""

        def drop() -> None:
            self._refuse_links(name)
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                return

        self._try("remove from", drop)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _refuse_links(self, *names: str) -> None:
        """In a folder, nothing is written or removed through links that lead out of it."""
        for name in names if self._is_local else ():
            place_within(Path(self._root), name)

    def _try(self, what: str, call: Any) -> Any:
        try:
            return call()
        except Exception as error:  # Each kind of store has exceptions of its own.
            raise StoreError(f"Could not {what} {self.url}: {' '.join(str(error).split())[:300]}") from error


def _explain_url(url: str, path: str) -> str:
    """What is wrong with ``url``, and how to give the folder of this machine that ``path`` names, if it names one."""
    from fsspec.implementations.local import make_path_posix

    place = f"{resolve(make_path_posix(path))} for the folder {path}" if path.strip("/") else "/PATH"
    return f"--store was given {url!r}, which is no URL of a folder. Write s3://BUCKET/PATH, or file://{place}."
