"""What compiled steps were done with is known, stands in the record, and is compared when a run goes on."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from test_resume import Messages, StopAtLook
from tiny_parts import TinyNet, digest_run, save_checkpoint, tiny_config
from torch import nn

from vtbench.records import RunRecord
from vtbench.training import RunStopped, train_run
from vtbench.training.checkpoint import find_checkpoint
from vtbench.training.kernels import CompiledNetwork, Kernels, join_kernels

COMPILED = {"compile": True}


class Stand:
    """Takes the place of a compiled network: runs it as it is, with kernels that the test says."""

    kernels: ClassVar[Kernels] = ("a",)

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, *inputs: Any) -> Any:
        return self.network(*inputs)


@pytest.fixture
def stand(tiny: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    tiny.setattr("vtbench.training.trainer.CompiledNetwork", Stand)
    return tiny


def go_on(patch: pytest.MonkeyPatch, folder: Path, *kernels: Kernels) -> tuple[RunRecord, list[str]]:
    """A run that is stopped after each epoch or in the middle of one, and that compiles to these one after another."""
    listener = Messages()
    for number, own in enumerate(kernels, start=1):
        patch.setattr(Stand, "kernels", own)
        if number < len(kernels):
            with pytest.raises(RunStopped):
                train_run(tiny_config(execution=COMPILED), folder, stop=StopAtLook(1), listener=listener)
    return train_run(tiny_config(execution=COMPILED), folder, listener=listener), listener.texts


def test_a_run_that_goes_on_with_the_same_kernels_has_the_record_of_an_undisturbed_one(
    stand: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record, texts = go_on(stand, tmp_path / "resumed", ("a",), ("a",), ("a",))
    assert record.kernels == ("a",)
    assert texts == []
    train_run(tiny_config(execution=COMPILED), tmp_path / "straight")
    assert digest_run(tmp_path / "resumed") == digest_run(tmp_path / "straight")


@pytest.mark.parametrize("kernels", [("a+b", "a", "b"), ("a", "a+b", "a"), ("a", "a+b", "b")])
def test_a_graph_that_is_compiled_later_or_not_again_makes_no_other_kernels(
    stand: pytest.MonkeyPatch, tmp_path: Path, kernels: tuple[str, ...]
) -> None:
    record, texts = go_on(stand, tmp_path, *((one,) for one in kernels))
    assert record.kernels == ("a+b",)
    assert texts == []


def test_a_run_that_went_on_with_others_and_then_compiles_a_graph_more_says_so_no_second_time(
    stand: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record, texts = go_on(stand, tmp_path, ("a",), ("b",), ("b+c",))
    assert record.kernels == ("a", "b+c")
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("kernels", "expected", "said"),
    [
        ([("a",), ("b",)], ("a", "b"), "torch.compile has made other kernels"),
        ([("a",), ("b",), ("b",)], ("a", "b"), "torch.compile has made other kernels"),
        ([("a",), (None,)], ("a", None), "it is not known whether its kernels"),
        ([(None,), (None,)], (None, None), "it is not known whether its kernels"),
        ([("a+b",), ("a+c",), ("a",)], ("a+b", "a+c"), "torch.compile has made other kernels"),
    ],
)
def test_a_run_that_goes_on_with_others_or_unknown_ones_says_so_once_and_its_record_does(
    stand: pytest.MonkeyPatch, tmp_path: Path, kernels: list[Kernels], expected: Kernels, said: str
) -> None:
    record, texts = go_on(stand, tmp_path, *kernels)
    assert record.kernels == expected
    assert len(texts) == 1
    assert said in texts[0]
    assert "not promised" in texts[0]


def test_of_a_run_that_was_begun_before_kernels_were_noted_they_are_not_known(
    stand: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(RunStopped):
        train_run(tiny_config(execution=COMPILED), tmp_path, stop=StopAtLook(2))
    older = find_checkpoint(tmp_path / "checkpoint").checkpoint
    assert older is not None
    del older.values["kernels"]
    save_checkpoint(tmp_path / "checkpoint", older)
    assert train_run(tiny_config(execution=COMPILED), tmp_path).kernels == (None, "a")


def test_a_run_that_is_not_compiled_names_no_kernels(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = train_run(tiny_config(), tmp_path)
    assert record.kernels == ()
    assert "kernels" not in json.loads((tmp_path / "record.json").read_text())


def test_the_kernels_of_a_run_are_those_of_all_its_processes() -> None:
    both = join_kernels((), [("a",), ("b",)])
    assert both not in (("a",), ("b",), join_kernels((), [("a",), ("c",)]))
    assert join_kernels(both, [("a",), ("b",)]) == both
    assert join_kernels((), [("a",), (None,)]) == (None,)
    assert join_kernels(("a",), [("b",), ()]) == ("a",)


GRAPH = """# AOT ID: ['{number}_forward']
import torch
text = compile('fused', '''  # in the text {text}
''')  # kernel path: {path}
def call(args):
    return args
"""


class Compiler:
    """Takes the place of torch's: what it "compiles" loads modules that the test has written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.modules = folder, list[ModuleType]()

    def load(self, name: str, **facts: Any) -> ModuleType:
        path = self.folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GRAPH.format(**{"number": 0, "text": "x", "path": path} | facts))
        spec = spec_from_file_location(path.stem, path)
        assert spec is not None
        module = module_from_spec(spec)
        module.call = lambda arguments: arguments
        self.modules.append(module)
        return module


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    found = Compiler(tmp_path)
    monkeypatch.setattr("vtbench.training.kernels._list_modules", lambda: list(found.modules))
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    monkeypatch.setattr(
        "torch._inductor.runtime.cache_dir_utils.triton_cache_dir",
        lambda device: str(tmp_path / "triton" / str(device)),
    )
    return found


def read_kernels(compiler: Compiler, *graphs: dict[str, Any]) -> Kernels:
    """Of a network that loads ``graphs`` when it is called."""
    network = CompiledNetwork(nn.Identity())
    assert network.kernels == ()
    network(0)
    for graph in graphs:
        compiler.load(**graph)
    return network.kernels


def test_neither_place_nor_number_nor_order_of_graphs_counts_and_their_text_does(compiler: Compiler) -> None:
    first = read_kernels(compiler, {"name": "here/a"}, {"name": "here/b", "text": "y", "number": 1})
    second = read_kernels(compiler, {"name": "there/b", "text": "y", "number": 6}, {"name": "there/a", "number": 7})
    assert first == second != (None,)
    assert read_kernels(compiler, {"name": "here/a"}) != first
    assert read_kernels(compiler, {"name": "here/a"}, {"name": "here/c", "text": "z"}) != first


def write_elf(code: bytes, debug: bytes) -> bytes:
    """A library of Linux with ``code`` in memory, and ``debug`` in a section that is not loaded."""
    head = b"\x7fELF\x02\x01".ljust(40, b"\0") + struct.pack("<Q", 64) + bytes(10) + struct.pack("<3H", 64, 2, 0)
    start = len(head) + 2 * 64
    sections = [(0, 1, 0, 0, start, len(debug)), (0, 1, 6, 0, start + len(debug), len(code))]
    return head + b"".join(struct.pack("<2I4Q24x", *section) for section in sections) + debug + code


def test_the_machine_code_counts_and_so_do_launches_that_were_chosen(compiler: Compiler, tmp_path: Path) -> None:
    def read(code: bytes, width: int, folder: bytes = b"/here") -> Kernels:
        network = CompiledNetwork(nn.Identity())
        network(0)
        module, library = compiler.load("graph"), ModuleType("library")
        library.__file__ = str(tmp_path / "library.so")
        Path(library.__file__).write_bytes(write_elf(code, folder))
        module.fused = SimpleNamespace(__name__="kernel", __self__=library)
        module.chosen = launch(tmp_path, f"XBLOCK: {width}", write_elf(b"gpu", folder))
        return network.kernels

    assert read(b"add", 64) == read(b"add", 64, b"/elsewhere/still") != (None,)
    assert len({read(b"add", 64), read(b"fma", 64), read(b"add", 128)}) == 3


def launch(folder: Path, config: str, *binaries: bytes) -> SimpleNamespace:
    """What takes the place of torch's kernel for a GPU, of which Triton left ``binaries`` in its cache."""
    place = folder / "triton" / "3" / "KEY"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "fused.ptx").write_text("mad")
    for number, binary in enumerate(binaries):
        (place / f"fused{number}.cubin").write_bytes(binary)
    launcher = SimpleNamespace(config=config, cache_hash="KEY")
    return SimpleNamespace(launchers=[launcher], device_props=SimpleNamespace(index=3))


def test_of_kernels_for_gpus_the_machine_code_counts_and_without_it_they_are_not_known(
    compiler: Compiler, tmp_path: Path
) -> None:
    def read(*binaries: bytes, text: str = "async_compile.triton(", has_launcher: bool = True) -> Kernels:
        network = CompiledNetwork(nn.Identity())
        network(0)
        module = compiler.load("graph", text=text)
        if has_launcher:
            module.fused = launch(tmp_path, "XBLOCK: 64", *binaries)
        return network.kernels

    assert read(write_elf(b"add", b"/here")) == read(write_elf(b"add", b"/elsewhere")) != (None,)
    assert read(write_elf(b"add", b"")) != read(write_elf(b"fma", b""))
    assert read() == (None,)
    assert read(has_launcher=False) == read(text="async_compile.cutedsl(", has_launcher=False) == (None,)
    assert read(text="async_compile.wait(", has_launcher=False) != (None,)


def test_kernels_that_cannot_be_found_are_not_known(compiler: Compiler) -> None:
    assert read_kernels(compiler) == (None,)
    assert read_kernels(compiler, {"name": "a", "text": "async_compile.cpp_pybinding(["}) == (None,)
    network = CompiledNetwork(nn.Identity())
    network(0)
    Path(str(compiler.load("gone").__file__)).unlink()
    assert network.kernels == (None,)


@pytest.mark.slow
def test_every_network_of_a_process_is_compiled_however_many_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch compiles a function for eight networks, and runs it as it is for others, as long as nothing is reset."""
    compile_really = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda network, **_: compile_really(network, backend=count, dynamic=False, fullgraph=True)
    )
    compiled: list[int] = []

    def count(graph: torch.fx.GraphModule, _: Any) -> Any:
        compiled.append(1)
        return graph.forward

    for width in range(1, 11):
        CompiledNetwork(TinyNet(width, 2))(torch.zeros(2, 3, 8, 8))
    assert len(compiled) == 10


def run_compiled(folder: Path, cache: Path, *, seed: int = 0, width: int = 4, **environment: str) -> dict[str, Any]:
    """A compiled run in a process of its own, with ``cache`` for what torch compiles."""
    script = Path(__file__).with_name("compiled_run.py")
    command = [sys.executable, str(script), str(folder), str(seed), str(width)]
    variables = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache), **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.not_in_ci
def test_cells_share_what_was_compiled_and_neither_a_last_batch_nor_an_evaluation_compiles(tmp_path: Path) -> None:
    first = run_compiled(tmp_path / "first", tmp_path / "cache")
    assert first["missed"] == first["graphs"] == 2  # Forward and backward.
    again = run_compiled(tmp_path / "again", tmp_path / "cache", seed=1)
    assert (again["missed"], again["hit"], again["graphs"]) == (0, 2, 2)
    assert again["kernels"] == first["kernels"]
    assert first["kernels"] != [None]
    elsewhere = run_compiled(tmp_path / "elsewhere", tmp_path / "another_cache")
    assert elsewhere["missed"] == 2
    assert elsewhere["kernels"] == first["kernels"]
    assert elsewhere["weights"] == first["weights"]
    wider = run_compiled(tmp_path / "wider", tmp_path / "cache", width=5)
    assert wider["kernels"] != first["kernels"]
    plainer = run_compiled(tmp_path / "plainer", tmp_path / "cache", TORCHINDUCTOR_CPP_MARCH="x86-64-v3")
    assert plainer["kernels"] != first["kernels"]
