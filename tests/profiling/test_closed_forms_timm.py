"""Closed forms of classes of timm: the trace agrees with each to the last MAC, whatever the batch."""

from __future__ import annotations

from importlib import import_module

import pytest

from vtbench.profiling.closed_forms_attention import CALL_FORMS, CallShapes, find_call_form
from vtbench.profiling.closed_forms_foreign import FOREIGN_FORMS
from vtbench.profiling.profile import ProfileSettings, profile_source
from vtbench.profiling.sources import make_subject, resolve_source

EXAMPLES = [
    "vit_dwee_patch16_reg1_gap_256",
    "vit_dpwee_patch16_reg1_gap_256",
    "bat_resnext26ts",
    "botnet26t_256",
    "cpubone_t0",
    "csatv2",
    "coat_tiny",
    "davit_base_fl",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "efficientvit_b0",
    "efficientvit_m0",
    "eva02_tiny_patch14_224",
    "fastvit_ma36",
    "gc_efficientnetv2_rw_t",
    "gemma4_vit_167m_enc",
    "halonet26t",
    "hiera_tiny_224",
    "iformer_t",
    "lambda_resnet26rpt_256",
    "levit_128s",
    "levit_conv_128s",
    "maxvit_tiny_tf_224",
    "maxxvit_rmlp_nano_rw_256",
    "mobilenetv4_hybrid_medium",
    "mvitv2_tiny",
    "nextvit_small",
    "pvt_v2_b0",
    "pvt_v2_b2_li",
    "resnet50_clip",
    "sam2_hiera_tiny",
    "samvit_base_patch16_224",
    "shvit_s1",
    "tf_efficientnet_cc_b0_4e",
    "twins_pcpvt_small",
    "twins_svt_small",
    "volo_d1_224",
    "vit_pwee_patch16_reg1_gap_256",
    "lowformer_b0",
    "vit_base_patch16_siglip_224",
]
SETTINGS = ProfileSettings(activations=False)


@pytest.mark.parametrize("name", [*CALL_FORMS, *FOREIGN_FORMS])
def test_a_form_is_of_a_class_that_is_there(name: str) -> None:
    module, _, kind = name.rpartition(".")
    assert hasattr(import_module(module), kind)


@pytest.mark.parametrize("name", EXAMPLES)
def test_closed_forms_explain_every_mac_of_a_model(name: str) -> None:
    counted = profile_source(resolve_source(f"timm:{name}"), SETTINGS, batch_size=2)
    left = {"csatv2": 2 * 2744}.get(name, 0)  # The positions of its tokens are a convolution without a layer.
    assert counted.macs - counted.covered_macs == left


def test_every_form_is_tried_by_one_of_these_models() -> None:
    tried = set()
    for name in EXAMPLES:
        model = make_subject(resolve_source(f"timm:{name}")).meta
        assert model is not None
        tried |= {form for module in model.modules() if (form := find_call_form(module)) is not None}
    assert set(CALL_FORMS.values()) == tried


def test_multiscale_attention_whose_map_is_not_known_has_no_form() -> None:
    form = CALL_FORMS["timm.models.mvitv2.MultiScaleAttention"]

    class Attention:
        has_cls_token, rel_pos_type = True, "spatial"

    assert form(Attention, CallShapes((1, 13, 8), (1, 13, 8), {})) is None
    assert form(Attention, CallShapes((1, 10, 8), (1, 10, 8), {})) == 8 * (2 * 10 * 10 + 9 * 6)
