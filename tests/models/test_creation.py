import numpy as np
import pytest

from vtbench.errors import UserError
from vtbench.models import MODELS, create_model
from vtbench.models.families.resnet import build_resnet


def num_params(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_options_may_stand_in_the_name_or_in_the_call():
    spelled = create_model("resnet18:stem=small,width=16", num_classes=10, image_size=32)
    called = create_model("resnet18", stem="small", width=16, num_classes=10, image_size=(32, 32))
    assert num_params(spelled) == num_params(called) < 1e6


def test_an_option_given_twice_is_refused():
    with pytest.raises(UserError, match="sets the option 'width', and so does the call"):
        create_model("resnet18:width=16", width=8)


def test_whole_numbers_of_numpy_are_whole_numbers():
    whole = create_model("vt_resnet20", num_classes=5, image_size=32, num_tokens=8)
    number = np.array([5, 32, 8])
    built = create_model("vt_resnet20", num_classes=number[0], image_size=number[1], num_tokens=number[2])
    pair = create_model("vt_resnet20", num_classes=number[0], image_size=(number[1], number[1]), num_tokens=number[2])
    assert str(whole) == str(built) == str(pair)


@pytest.mark.parametrize(
    "setting",
    [
        *({"num_classes": value} for value in (0, True, np.True_, np.float64(5))),
        *({"image_size": value} for value in ((32, 0), (32, True))),
    ],
)
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match="Give a whole number of 1 or more"):
        create_model("resnet20", **setting)


def test_an_unknown_model_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'resnet101'"):
        create_model("resnet102")


def test_the_small_resnets_have_the_papers_parameters():
    # He et al. 2016, table 6: 0.27 M, 0.46 M and 0.85 M.
    assert [round(num_params(create_model(f"resnet{n}")) / 1e6, 2) for n in (20, 32, 56)] == [0.27, 0.46, 0.85]


def test_stride_placement_is_an_option_of_bottlenecks_only():
    with pytest.raises(UserError, match="unknown option 'stride_in'"):
        create_model("resnet18:stride_in=1x1")
    spec = MODELS["resnet50"]
    model = build_resnet(50, spec.resolve_options({"stride_in": "1x1", "width": 4}), num_classes=2, image_size=(64, 64))
    assert model.get_submodule("layer2.0.conv1").stride == (2, 2)
