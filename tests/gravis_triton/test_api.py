import inspect
import subprocess
import sys

import pytest

import gravis_triton as gt
from gravis_triton import api


def test_the_signatures_for_editors_are_those_of_the_settings():
    written, expected = ("".join(text.split()) for text in (api.STUB.read_text(), api.stub()))
    assert written == expected, "run: python -m gravis_triton.api"


def test_a_job_has_its_settings_as_keyword_arguments():
    parameters = inspect.signature(gt.finetune_segmentation).parameters
    assert parameters["decoder"].default == "unet"
    assert parameters["label_fraction"].default == 1.0
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"veiws": 3}, "pretrain: unknown setting 'veiws'; did you mean views?"),
        ({"views": 1}, "pretrain: views must be at least 2, not 1"),
        ({"views": "many"}, "pretrain: views must be int, not 'many'"),
    ],
)
def test_arguments_are_checked_before_anything_runs(settings, message):
    with pytest.raises(gt.UserError) as error:
        gt.pretrain(**settings)
    assert str(error.value) == message


def test_a_required_argument_is_named():
    with pytest.raises(gt.UserError, match=r"^predict: missing setting model, images$"):
        gt.predict()


def test_importing_the_package_does_not_import_torch():
    code = "import sys, gravis_triton as gt; gt.pretrain; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
