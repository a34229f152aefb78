import pytest

from vtbench.configuration import DataConfig, ExecutionConfig, Recipe
from vtbench.errors import UserError
from vtbench.run_options import StudyOptions
from vtbench.studies import resolution
from vtbench.studies.cells import ResolvedStudy, describe_twins
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.resolution import inspect_study, resolve_study
from vtbench.studies.study import Study
from vtbench.variants import MODELS

STUDY = Study(
    question="q",
    base="vt_resnet20:width=4",
    reference="twin",
    arms={"twin": "{twin}", "static": "{base}:tokenizer=static"},
    data=DataConfig(spec="scenes", image_size=24, limit_train=40, limit_val=20),
    recipe="small",
    epochs=7,
    seeds=2,
)


def resolve(**options: object) -> ResolvedStudy:
    return resolve_study("mine", STUDY, StudyOptions.model_validate(options), ExecutionConfig(device="cpu"))


def test_without_flags_a_study_is_what_its_file_says() -> None:
    study = resolve()
    assert study.arms == {"twin": "resnet20:width=4", "static": "vt_resnet20:width=4,tokenizer=static"}
    assert (study.recipe.name, study.recipe.epochs, study.seeds, study.reference) == ("small", 7, 2, "twin")
    assert study.data == STUDY.data
    assert study.execution.threads is None


def test_arms_that_train_the_very_same_thing_are_named() -> None:
    arms = {"one": "resnet20", "two": "resnet20:width=16", "other one": "resnet20", "wide": "resnet20:width=32"}
    treatments = {"wide": {"recipe.epochs": 7}, "other one": {"recipe.epochs": 3}}
    study = resolve().model_copy(update={"arms": arms, "treatments": treatments})
    spelt = study.model_copy(update={"arms": arms | {"two": "resnet20"}})
    assert list(describe_twins(study)) == []
    assert list(describe_twins(spelt)) == [
        "The arms one, two train the very same thing, resnet20: all but one of them are duplicates."
    ]


def test_another_base_changes_every_arm() -> None:
    assert resolve(base="vt_resnet32").arms == {"twin": "resnet32", "static": "vt_resnet32:tokenizer=static"}


def test_other_data_come_without_the_limits_of_the_files_own() -> None:
    assert resolve(data="cifar10").data == DataConfig(spec="cifar10")
    assert resolve(data="cifar10", limit_val=30).data == DataConfig(spec="cifar10", limit_val=30)


def test_another_recipe_comes_with_its_own_number_of_epochs() -> None:
    assert resolve(recipe="small").recipe.epochs == 7
    assert resolve(recipe="default").recipe.epochs == 90
    assert resolve(recipe="default", epochs=3).recipe.epochs == 3
    assert resolve(epochs=3).recipe.epochs == 3


def test_a_recipe_that_distils_needs_its_teacher() -> None:
    with pytest.raises(UserError, match="--teacher"):
        resolve(recipe="advanced")
    assert resolve(recipe="advanced", teacher="none").recipe.epochs == 400


def test_a_choice_of_arms_keeps_the_order_of_the_file_and_takes_a_reference_that_is_there() -> None:
    assert list(resolve(arm=["static", "twin"]).arms) == ["twin", "static"]
    assert resolve(arm=["static"]).reference == "static"


def test_an_unknown_arm_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no arm 'statik'\. Did you mean 'static'"):
        resolve(arm=["statik"])


def test_data_and_arms_are_tried_before_anything_runs() -> None:
    facts = inspect_study(resolve())
    assert (facts.num_train, facts.num_val, facts.num_classes, facts.image_size) == (40, 20, 10, (24, 24))


def test_an_arm_that_cannot_be_built_for_the_data_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = DataFacts(40, 20, tuple("0123456789"), (0, 0), STUDY.data)
    monkeypatch.setattr(resolution, "inspect_data", lambda data, task: facts)

    def refuse(*arguments: object, **options: object) -> None:
        raise UserError("the map is too small")

    spec = MODELS["vt_resnet20"]
    monkeypatch.setitem(MODELS._entries, "vt_resnet20", type(spec)(**{**vars(spec), "build": refuse}))
    with pytest.raises(UserError, match=r"The arm 'static' \(vt_resnet20:width=4,tokenizer=static\): the map is too"):
        inspect_study(resolve())


def test_an_arm_of_another_task_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    study, spec = resolve(), MODELS["resnet20"]
    changed = type(spec)(**{**vars(spec), "task": "segmentation"})
    monkeypatch.setitem(MODELS._entries, "resnet20", changed)
    with pytest.raises(
        UserError, match="The arm 'twin': 'resnet20' is a model for segmentation, the arm 'twin' for cl"
    ):
        inspect_study(study)


def test_the_recipe_stands_whole_in_the_study() -> None:
    assert isinstance(resolve().recipe, Recipe)
    assert '"nesterov":true' in resolve().model_dump_json()


def test_a_study_of_too_many_cells_is_refused_with_the_number_that_it_may_have() -> None:
    with pytest.raises(UserError, match=r"100,010 cells \(10,001 arms x 10 seeds\); it may have 100,000"):
        resolution.check_num_cells(10_001, 10)
    resolution.check_num_cells(10_000, 10)
    with pytest.raises(UserError, match="--seeds"):
        resolve_study(
            "many",
            Study(question="q", base="vt_resnet20", arms=dict.fromkeys(map(str, range(11)), STUDY.arms["twin"])),
            StudyOptions(seeds=10_000),
            ExecutionConfig(device="cpu"),
        )
