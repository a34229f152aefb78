"""A network as torch.compile runs it, and a digest of the kernels that these are.

Two processes that compile one network get the same bits as long as they run the same kernels. What torch's caches are
keyed by is what goes into the compiler; the digest is of what came out: the text that it wrote for each graph, and the
machine code that was made from it. It does not depend on where that lies, on the order, or on what else was compiled.
It names every graph, joined by ``+``: a run that goes on may have compiled fewer of them yet, or more.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import tokenize
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

Kernels = tuple[str | None, ...]
"""Digests of the kernels that steps were done with, in order; None: not known. Empty: no step was compiled."""
_COMPILED = re.compile(r"\basync_compile\.(?!wait\b)\w+\(")
_PROGRAM, _IN_MEMORY = 1, 2  # SHT_PROGBITS and SHF_ALLOC of ELF.


class CompiledNetwork:
    """``network`` compiled for batches of one size. It is compiled when it is first called, and so are its gradients.

    As in a process of its own: nothing is left of what was compiled in this one before but files in torch's cache. In
    one process torch compiles one function for eight networks at most, and runs it as it is from then on.
    """

    def __init__(self, network: nn.Module) -> None:
        torch.compiler.reset()
        self._num_before = len(_list_modules())
        self._compiled: Any = torch.compile(network, dynamic=False, options={"deterministic": True})
        self._is_used = False
        self._num_read = 0
        self._kernels: Kernels = (None,)

    def __call__(self, *inputs: Any) -> Any:
        """The scores of the network."""
        self._is_used = True
        return self._compiled(*inputs)

    @property
    def kernels(self) -> Kernels:
        """What the network was run with in this process, forward and backward; read once after it was loaded."""
        if not self._is_used:
            return ()
        modules = _list_modules()[self._num_before :]
        if self._num_read != len(modules):
            self._num_read, self._kernels = len(modules), (_digest_graphs(modules),)
        return self._kernels


def join_kernels(before: Kernels, now: Sequence[Kernels]) -> Kernels:
    """The kernels of a run that had those ``before``, and goes on with those of each of its processes ``now``.

    >>> join_kernels((), [("a",)]), join_kernels(("a",), [("a",)]), join_kernels(("a",), [("b",)])
    (('a',), ('a',), ('a', 'b'))
    >>> join_kernels(("a",), [(None,)]), join_kernels(("a",), [()])
    (('a', None), ('a',))
    >>> join_kernels(("a+b",), [("a",)]), join_kernels(("a",), [("a+b",)]), join_kernels(("a+b",), [("a+c",)])
    (('a+b',), ('a+b',), ('a+b', 'a+c'))
    """
    if not all(now):  # Some have not compiled yet.
        return before
    if None in (digests := [kernels[-1] for kernels in now]):
        return (*before, None)
    graphs = {
        graph if len(now) == 1 else _digest(str(process), graph)
        for process, digest in enumerate(digests)
        for graph in str(digest).split("+")
    }
    last = set((before[-1] or "").split("+")) if before else set()
    if before and (graphs <= last or last <= graphs):
        return (*before[:-1], "+".join(sorted(last | graphs)))
    return (*before, "+".join(sorted(graphs)))


def describe_kernels(kernels: Kernels) -> str | None:
    """What to tell the user of a run that was done with these, if anything."""
    if len(kernels) < 2:
        return None
    if None in kernels:
        why = "it is not known whether its kernels are those that it was begun with"
    else:
        why = "torch.compile has made other kernels than those that it was begun with"
    return (
        f"This run goes on, and {why}. Kernels may round differently, which training amplifies: its bits are not "
        "promised to be those of an uninterrupted run."
    )


def _list_modules() -> list[ModuleType]:
    """The Python modules that torch's compiler has written and loaded in this process (torch 2.14.1)."""
    try:
        from torch._inductor.codecache import PyCodeCache

        return list(PyCodeCache.modules)
    except (AttributeError, ImportError):
        return []


def _digest_graphs(modules: Sequence[ModuleType]) -> str | None:
    """Those of all of them; None where they are not what is known here of torch.

    Kernels for GPUs are modules of their own, too; they also stand, as text, in that of their graph, which is called.
    """
    try:
        graphs = {_digest_graph(module) for module in modules if hasattr(module, "call")}
    except (
        AttributeError,
        ImportError,
        LookupError,
        OSError,
        TypeError,
        ValueError,
        struct.error,
        tokenize.TokenError,
    ):
        return None
    return "+".join(sorted(graphs)) or None


def _digest_graph(module: ModuleType) -> str:
    """Of the text but its remarks, which number graphs and name files, of machine code, and of the launches chosen."""
    source = Path(str(module.__file__)).read_text("utf-8")
    remarks = (tokenize.COMMENT, tokenize.NL)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    parts = [" ".join(token.string for token in tokens if token.type not in remarks)]
    num_found = 0
    for name, value in sorted(vars(module).items()):
        library = getattr(value, "__self__", None)
        if getattr(value, "__name__", None) == "kernel" and isinstance(library, ModuleType) and library.__file__:
            parts.append(f"{name} {hashlib.sha256(_read_machine_code(Path(library.__file__))).hexdigest()}")
            num_found += 1
        for launcher in getattr(value, "launchers", ()):
            code = _read_machine_code(_find_gpu_code(launcher, value.device_props.index))
            parts.append(f"{name} {launcher.config} {hashlib.sha256(code).hexdigest()}")
        num_found += bool(getattr(value, "launchers", ()))
    if num_found < len(_COMPILED.findall(source)):
        raise LookupError("not all of the machine code was found")
    return _digest(*parts)


def _find_gpu_code(launcher: Any, device: int) -> Path:
    """What Triton made for a ``launcher``, in the place that torch loads it from (torch 2.14.1)."""
    from torch._inductor.runtime.cache_dir_utils import triton_cache_dir

    folder = Path(triton_cache_dir(device)) / launcher.cache_hash
    code: Path
    (code,) = (path for path in folder.iterdir() if path.suffix in (".cubin", ".hsaco"))
    return code


def _read_machine_code(library: Path) -> bytes:
    """What a library loads of code and constants; the rest names the folder that it was made in, to debuggers.

    This is known of the format of Linux alone (ELF, 64 bit); of another it is the whole file.
    """
    content = library.read_bytes()
    if content[:5] != b"\x7fELF\x02":
        return content
    order = "<" if content[5] == 1 else ">"
    (table,) = struct.unpack_from(f"{order}Q", content, 40)
    size, number = struct.unpack_from(f"{order}2H", content, 58)
    loaded = []
    for start in range(table, table + size * number, size):
        _, kind, flags, _, offset, length = struct.unpack_from(f"{order}2I4Q", content, start)
        if kind == _PROGRAM and flags & _IN_MEMORY:
            loaded.append(content[offset : offset + length])
    return b"".join(loaded) or content


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
