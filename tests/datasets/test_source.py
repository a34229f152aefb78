from pathlib import Path

import pytest

from vtbench.datasets import DATASETS, list_datasets, sources
from vtbench.datasets.source import parse_dataset
from vtbench.errors import UserError


def spell(text):
    return parse_dataset(text)[2]


def test_every_file_of_sources_registers_data_sets_and_what_lies_in_files_asks_for_its_path():
    files = {path.stem for path in Path(sources.__file__).parent.glob("[a-z]*.py")}
    assert {DATASETS[name].knobs.__module__.rpartition(".")[2] for name in DATASETS} == files
    assert {"scenes", "folder:PATH", "huggingface:NAME"} < set(list_datasets())


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("scenes", "scenes"),
        (" scenes:distance=0.3, clutter=8 ", "scenes:clutter=8,distance=0.3"),
        ("scenes:clutter=6,object_size=0.280", "scenes"),
        ("folder:a/b", "folder:a/b"),
        ("parquet:a/b,label=y,image=x", "parquet:a/b,image=x,label=y"),
        ("huggingface:a/b,streaming=on,config=c", "huggingface:a/b,config=c,streaming=on"),
        ("huggingface:a/b,streaming=off", "huggingface:a/b"),
        ("parquet:C:/odd, name=1/b,label=y", "parquet:C:/odd, name=1/b,label=y"),
        ("cifar10:root=/data", "cifar10:root=/data"),
    ],
)
def test_a_data_set_has_one_spelling_and_is_read_back_from_it(text, canonical):
    assert spell(text) == canonical
    assert spell(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scene", "no data set named 'scene'. Did you mean 'scenes'"),
        ("scenes:cluter=3", "'scenes': unknown knob 'cluter'. Did you mean 'clutter'"),
        ("scenes:clutter", "'clutter' in 'scenes:clutter' is not knob=value"),
        ("scenes:clutter=", "is not knob=value"),
        ("scenes:clutter=1,clutter=2", "names the knob 'clutter' twice"),
        ("scenes:clutter=many", "'clutter' was given 'many'"),
        ("scenes:object_size=2", "'object_size' was given '2': allowed: a number from 0.05 to 0.5"),
        ("folder", "'folder' needs a path. Write folder:PATH"),
        ("parquet:,label=y", "needs a path"),
        ("parquet:x,label=y,colour=z", "'parquet': unknown knob 'colour'"),
    ],
)
def test_a_mistake_in_the_spelling_is_answered_with_what_is_allowed(text, message):
    with pytest.raises(UserError) as caught:
        parse_dataset(text)
    assert message in str(caught.value)
