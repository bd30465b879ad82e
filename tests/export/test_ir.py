"""The IR: what other clients read in it, and which weights are rounded to f16."""

import shutil

import openvino as ov
import pytest

from overfly.export.ir import convert
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.images.reading import ImageSpec


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.open(tiny_bundle)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_opens_by_itself_with_its_labels(bundle, variant):
    model = ov.Core().read_model(bundle.path / f"{variant}.xml", bundle.path / f"{variant}.bin")
    assert str(model.inputs[0].partial_shape) == "[?,64,64,3]"
    assert model.inputs[0].element_type == ov.Type.u8
    info = {key: model.get_rt_info(["model_info", key]).value for key in ("model_type", "labels", "resize_type")}
    expected = {"model_type": "Classification", "labels": " ".join(bundle.manifest.classes), "resize_type": "standard"}
    assert info == expected


def test_fp16_rounds_all_but_the_weights_of_depthwise_convolutions(bundle):
    kinds = {}
    for op in ov.Core().read_model(bundle.path / "fp16.xml").get_ordered_ops():
        if op.get_type_name() == "Constant" and op.get_element_type() in {ov.Type.f16, ov.Type.f32}:
            (user,) = op.output(0).get_target_inputs()
            kinds.setdefault(op.get_element_type().get_type_name(), set()).add(user.get_node().get_type_name())
    assert kinds == {"f16": {"Convert"}, "f32": {"GroupConvolution"}}


def test_white_space_in_a_label_becomes_an_underscore(bundle):
    classes = ("golf course", "s\u00e3o\u00a0paulo", "sea")  # the second contains a non-breaking space
    model = convert(bundle.path / "model.onnx", classes=classes, image=ImageSpec(64, (0,) * 3, (1,) * 3))
    assert model.get_rt_info(["model_info", "labels"]).value == "golf_course s\u00e3o_paulo sea"


def test_a_folder_may_have_a_comma_in_its_name(bundle, tmp_path):
    path = tmp_path / "Doe, John" / "model.onnx"
    path.parent.mkdir()
    shutil.copy(bundle.path / "model.onnx", path)
    model = convert(path, classes=bundle.manifest.classes, image=bundle.manifest.image)
    assert str(model.inputs[0].partial_shape) == "[?,64,64,3]"
