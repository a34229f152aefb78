"""The studies that come with vtbench: each says what it answers and can be run, also at the paper's scale."""

import re
from pathlib import Path

import pytest

import vtbench.models  # noqa: F401  (fills the registry)
from vtbench.configuration import ExecutionConfig
from vtbench.run_options import StudyOptions
from vtbench.studies.resolution import inspect_study, resolve_arms, resolve_study
from vtbench.studies.study import find_study, list_studies, read_study

OF_THE_PAPER = ("components", "tokenizers", "recurrent", "relations", "num_tokens", "projector")
FAMILIES_AT_RESNET50_SIZE = (
    "convolution", "se", "cbam", "local_relation", "stand_alone", "augmented", "glore", "a2", "nonlocal", "vt",
)  # fmt: skip


@pytest.mark.parametrize("name", list_studies())
def test_every_study_is_complete_and_all_its_arms_can_be_built(name: str) -> None:
    study = resolve_study(name, find_study(name)[1], StudyOptions(), ExecutionConfig())
    assert study.reference in study.arms
    assert study.question.endswith("?")
    assert inspect_study(study).num_classes == {"classification": 10, "segmentation": 5}[study.task]


@pytest.mark.parametrize("name", list_studies())
def test_every_header_states_table_published_values_commands_and_cost(name: str) -> None:
    lines = list_studies()[name].read_text("utf-8").splitlines()
    header = "\n".join(line for line in lines if line.startswith("#"))
    for needed in ("Table", "Published", f"vtbench ablate {name}", "--recipe ", "--plan"):
        assert needed in header
    assert max(map(len, lines)) <= 120


def test_the_study_file_of_the_readme_is_one(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    blocks = [block for block in re.findall(r"```toml\n(.*?)```", readme, re.DOTALL) if block.startswith("question")]
    assert blocks
    for block in blocks:
        (tmp_path / "mine.toml").write_text(block)
        study = resolve_study("mine", read_study(tmp_path / "mine.toml"), StudyOptions(), ExecutionConfig(device="cpu"))
        assert len(study.arms) > 1


@pytest.mark.parametrize("base", ["vt_resnet18", "vt_resnet34", "vt_resnet20"])
@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_the_paper_s_studies_leave_the_base_free(name: str, base: str) -> None:
    study = find_study(name)[1]
    variants = resolve_arms(study.list_arms(), base)
    assert len(variants) == len(study.list_arms())
    assert all(variant.split(":")[0] in (base, base.removeprefix("vt_")) for variant in variants.values())


def test_the_header_of_attention_names_arms_that_exist_at_the_size_of_resnet50() -> None:
    study = find_study("attention")[1]
    arms = {name: study.list_arms()[name] for name in FAMILIES_AT_RESNET50_SIZE}
    assert resolve_arms(arms, "vt_resnet50")["local_relation"] == "lr_resnet50"
    header = list_studies()["attention"].read_text("utf-8")
    assert all(f"--arm {name}" in header for name in FAMILIES_AT_RESNET50_SIZE)


def test_the_default_study_crosses_tokenizer_and_position_against_the_twin() -> None:
    study = find_study("components")[1]
    variants = resolve_arms(study.list_arms(), "vt_resnet20:width=8")
    assert variants == {
        "convolution": "resnet20:width=8",
        "static": "vt_resnet20:width=8,tokenizer=static",
        "static+position": "vt_resnet20:width=8,tokenizer=static,position=on",
        "dynamic": "vt_resnet20:width=8",
        "dynamic+position": "vt_resnet20:width=8,position=on",
    }
    assert (study.reference, study.data.spec, study.recipe, study.epochs, study.seeds) == (
        "convolution",
        "scenes:clutter=8,faint=0.2,num_train=1000",
        "small",
        90,
        3,
    )
