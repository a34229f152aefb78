from pathlib import Path

import pytest

from vtbench.errors import UserError
from vtbench.run_options import StudyOptions
from vtbench.studies.resolution import choose_base, choose_recipe
from vtbench.studies.study import Study, list_studies, read_study


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_factors_become_every_combination_of_the_base() -> None:
    study = Study(question="q", factors={"tokenizer": ("static", "dynamic"), "num_tokens": (8, 16)})
    assert study.list_arms() == {
        "tokenizer=static,num_tokens=8": "{base}:tokenizer=static,num_tokens=8",
        "tokenizer=static,num_tokens=16": "{base}:tokenizer=static,num_tokens=16",
        "tokenizer=dynamic,num_tokens=8": "{base}:tokenizer=dynamic,num_tokens=8",
        "tokenizer=dynamic,num_tokens=16": "{base}:tokenizer=dynamic,num_tokens=16",
    }


def test_large_numbers_stand_in_the_names_of_arms_as_people_write_them() -> None:
    study = Study(question="q", factors={"scale": (1e12, 0.5), "recipe.optimizer.learning_rate": (1e12,)})
    assert list(study.list_arms()) == ["scale=1e12,learning_rate=1e12", "scale=0.5,learning_rate=1e12"]


def test_a_table_gives_the_levels_of_a_factor_names_of_their_own(tmp_path: Path) -> None:
    text = """
    question = "q"
    [factors.model]
    plain = "{twin}"
    tokens = "{base}"
    [factors.data.spec]
    few = "scenes:clutter=0"
    many = "scenes:clutter=16"
    [factors]
    recipe.epochs = [1, 2]
    """
    study = read_study(write(tmp_path, text))
    plan = study.planned_arms["model=tokens,spec=many,epochs=2"]
    assert len(study.planned_arms) == 8
    assert (plan.variant, plan.settings) == ("{base}", {"data.spec": "scenes:clutter=16", "recipe.epochs": 2})
    assert plan.levels == {"model": "tokens", "spec": "many", "epochs": "2"}
    width = read_study(write(tmp_path, 'question = "q"\n[factors.width]\nnarrow = 4\nwide = 8'))
    assert width.list_arms() == {"width=narrow": "{base}:width=4", "width=wide": "{base}:width=8"}


def test_levels_that_are_lists_may_have_names_too(tmp_path: Path) -> None:
    text = """
    question = "q"
    [factors.recipe.augmentation.scale]
    narrow = [0.8, 1.0]
    wide = [0.2, 1.0]
    [factors.recipe.freeze]
    none = []
    stem = ["stem.*"]
    [factors.data]
    limit_train = [100]
    """
    study = read_study(write(tmp_path, text))
    assert {name: plan.settings for name, plan in study.planned_arms.items()} == {
        f"scale={scale},freeze={freeze},limit_train=100": {
            "recipe.augmentation.scale": factors,
            "recipe.freeze": patterns,
            "data.limit_train": 100,
        }
        for scale, factors in (("narrow", (0.8, 1.0)), ("wide", (0.2, 1.0)))
        for freeze, patterns in (("none", ()), ("stem", ("stem.*",)))
    }
    assert Study.model_validate(study.as_written()).planned_arms == study.planned_arms


@pytest.mark.parametrize("path", list_studies().values(), ids=list_studies())
def test_a_study_as_it_is_written_is_the_same_study(path: Path) -> None:
    study = read_study(path)
    assert Study.model_validate(study.as_written()).planned_arms == study.planned_arms


def test_arms_stand_before_the_combinations_of_factors() -> None:
    study = Study(question="q", arms={"twin": "{twin}"}, factors={"position": ("off", "on")})
    assert list(study.list_arms()) == ["twin", "position=off", "position=on"]


def test_data_may_be_a_name_or_a_table(tmp_path: Path) -> None:
    head = 'question = "q"\n'
    short = read_study(write(tmp_path, head + 'data = "scenes:clutter=8"\n[arms]\na = "resnet20"'))
    long = read_study(write(tmp_path, head + '[data]\nspec = "scenes"\nlimit_train = 100\n[arms]\na = "resnet20"'))
    assert short.data.spec == "scenes:clutter=8"
    assert long.data.limit_train == 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('question = "q"\nepoch = 3\n[arms]\na = "resnet20"', "unknown key 'epoch'. Did you mean 'epochs'"),
        ('question = "q"\n[data]\nlimit_trian = 3\n[arms]\na = "r"', "'data.limit_trian'. Did you mean 'limit_train'"),
        ('[arms]\na = "resnet20"', "the key 'question' is missing"),
        ('question = "q"', r"a study needs \[arms\] or \[factors\]"),
        ('question = "q"\nepochs = 0\n[arms]\na = "r"', "'epochs' was given 0"),
        ('question = "q"\nseeds = 0\n[arms]\na = "r"', "'seeds' was given 0"),
        ('question = "q"\nreference = "convoluton"\n[arms]\nconvolution = "r"', "Did you mean 'convolution'"),
        ('question = "q"\n[arms]\n"../up" = "resnet20"', "names a folder and a row"),
        ('question = "q"\n[arms]\na = "r"\nA = "s"', "upper and lower case"),
        ('question = "q"\n[factors]\nposition = []', "needs at least one level"),
        ('question = "q"\n[factors]\nposition = ["on", "on"]', "each once"),
        ('question = "q"\n[factors]\nposition = [true]', "position"),
        ('question = "q"\n[factors.recipe]\nepochs = 3', "'factors.recipe.epochs' was given 3: allowed: a list"),
        ('question = "q"\n[factors.width]\n"a/b" = 3', "the arm 'width=a/b' names a folder"),
        ('question = "q"\n[factors.width]\n"a,b" = 3', "'width' has a level named 'a,b': name it with letters"),
        ('question = "q"\n[factors.width]\n"a=b" = 3', "a level named 'a=b'"),
        ('question = "q"\n[factors.width]\n"" = 3', "a level named ''"),
        (
            'question = "q"\n[factors]\ndata.spec = ["scenes:seed=1", "scenes-seed=1"]',
            "two combinations of .* one name, 'spec=scenes-seed=1'",
        ),
        (
            'question = "q"\n[arms]\n"width=4" = "resnet20"\n[factors]\nwidth = [4, 8]',
            r"make an arm 'width=4', which stands in \[arms\], too",
        ),
        (
            'question = "q"\n[factors.recipe.epochs]\na = {b = 3}',
            r"the level 'a' of the factor 'recipe\.epochs' was given \{'b': 3\}: its levels are text, numbers, true",
        ),
        (
            'question = "q"\n[factors.recipe]\nepochs = [2, 2026-01-01]',
            r"a level of the factor 'recipe\.epochs' was given datetime",
        ),
        (
            'question = "q"\n[factors]\nwidth = { a = 4, b = [8] }',
            r"the level 'b' of the factor 'width' was given \[8\]\. 'width' is no setting, .* an option of the models: "
            r"its levels are text or numbers, as in width = \[4, 8\] or width = \{ narrow = 4, wide = 8 \}",
        ),
        ('question = "q"\n[factors.width.a]\nx = 4', r"the level 'a' of the factor 'width' was given \{'x': 4\}"),
        (
            'question = "q"\n[factors]\nwidth = [4, [8]]',
            r"a level of the factor 'width' was given \[8\]\. 'width' is no",
        ),
        (
            'question = "q"\n[factors]\nmodel.a = ["{twin}"]',
            r"the level 'a' of the factor 'model' was given \['\{twin\}'\]: its levels are variants",
        ),
        ('question = "q"\n[factors.label]\nsmothing = [0.1]', "Did you mean 'recipe.label_smoothing'"),
        ('question = "q"\n[factors]\noptimizer.learning_rte = [1]', "Did you mean 'recipe.optimizer.learning_rate'"),
        (
            'question = "q"\n[factors.recipee]\nepochs = [1]',
            "no setting 'recipee.epochs'. Did you mean 'recipe.epochs'",
        ),
        ('question = "q"\n[factors.width]', "needs at least one level"),
        ('question = "q"\n[factors.width]\na = 4\nb = 4', "each once"),
        ('question = "q"\n[level_names]\nwidth = ["a"]', "have their names in"),
        ("question = ", "is not TOML"),
    ],
)
def test_a_mistake_in_a_study_file_is_one_message_that_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        read_study(path)
    assert str(path) in str(caught.value)


def test_a_study_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read the study .*absent\.toml: No such file"):
        read_study(tmp_path / "absent.toml")


@pytest.mark.parametrize("levels", [10, 10_000])
def test_a_study_of_too_many_arms_is_refused_before_its_combinations_are_made(
    tmp_path: Path, levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtbench.studies.study.itertools.product", lambda *_: pytest.fail("the product was expanded"))
    factors = "".join(f"f{number} = {list(range(levels))}\n" for number in range(8 if levels == 10 else 2))
    with pytest.raises(UserError, match=r"the study has 100,000,000 arms \(f0 .*it may have 10,000"):
        read_study(write(tmp_path, f'question = "q"\n[factors]\n{factors}'))


def test_a_study_of_ten_thousand_arms_is_read() -> None:
    factors = {f"f{number}": tuple(range(10)) for number in range(4)}
    assert len(Study(question="q", factors=factors).list_arms()) == 10_000


def test_flags_of_a_single_run_stand_instead_of_the_recipes_values_for_all_arms() -> None:
    study = Study(question="q", arms={"narrow": "resnet20:width=2"}, recipe="small")
    asked = StudyOptions(batch_size=20, learning_rate=0.05, weight_decay=0.0, label_smoothing=0.25, clip=3.0)
    recipe = choose_recipe(study, asked)
    assert (recipe.batch_size, recipe.label_smoothing, recipe.gradient_clip_norm) == (20, 0.25, 3.0)
    assert (recipe.optimizer.learning_rate, recipe.optimizer.weight_decay) == (0.05, 0.0)


def test_a_base_that_no_arm_has_is_refused() -> None:
    study = Study(question="q", arms={"narrow": "resnet20:width=2"})
    with pytest.raises(UserError, match="no arm of the study has it"):
        choose_base(study, StudyOptions(base="resnet18"))
    assert choose_base(Study(question="q", arms={"a": "{base}"}), StudyOptions(base="resnet18")) == "resnet18"
