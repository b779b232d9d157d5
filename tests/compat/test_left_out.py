"""Parts of BasicSR 1.4.2 for videos and faces: whoever imports one or names it in an option file is told the reason."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from basicsr.options.validate import validate_options
from basicsr.utils.left_out import MODULES, REASON, TYPES
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY


@pytest.mark.parametrize("module", [*sorted(MODULES), "ops.dcn", "ops.upfirdn2d.upfirdn2d"])
def test_an_import_says_that_the_part_stays_out(module: str) -> None:
    with pytest.raises(
        ModuleNotFoundError, match=f"^no module basicsr.{module.split('.d')[0].split('.u')[0]}"
    ) as caught:
        import_module(f"basicsr.{module}")
    assert str(caught.value).endswith(REASON) and "\n" not in str(caught.value)


def test_every_form_of_import_says_it_and_code_that_does_without_goes_on() -> None:
    with pytest.raises(ImportError, match=REASON):
        from basicsr.archs import edvr_arch  # noqa: F401
    with pytest.raises(ImportError, match=REASON):
        from basicsr import ops  # noqa: F401
    with pytest.raises(ImportError, match=REASON):
        from basicsr.ops.dcn import ModulatedDeformConvPack  # noqa: F401
    try:
        from basicsr.archs.stylegan2_arch import StyleGAN2Generator
    except ImportError:
        StyleGAN2Generator = None
    assert StyleGAN2Generator is None


def test_other_modules_are_missing_as_ever() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'basicsr\.archs\.no_arch'$"):
        import_module("basicsr.archs.no_arch")


def test_a_module_that_somebody_adds_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr import archs

    (tmp_path / "duf_arch.py").write_text("name = 'added'\n")
    monkeypatch.setattr(archs, "__path__", [*archs.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "basicsr.archs.duf_arch", raising=False)
    assert import_module("basicsr.archs.duf_arch").name == "added"
    monkeypatch.delitem(sys.modules, "basicsr.archs.duf_arch")
    monkeypatch.delattr(archs, "duf_arch")


def test_an_option_file_that_asks_for_one_is_told_at_each_place() -> None:
    written = {
        "name": "video",
        "model_type": "EDVRModel",
        "scale": 4,
        "datasets": {"train": {"name": "REDS", "type": "REDSDataset", "dataroot_gt": "x"}},
        "network_g": {"type": "EDVR", "num_in_ch": 3},
        "train": {"total_iter": 2},
    }
    _, found = validate_options(written, with_files=False)
    told = {problem.path: problem.message for problem in found.problems if REASON in problem.message}
    assert told == {
        "model_type": f"no model 'EDVRModel': {REASON}",
        "datasets.train.type": f"no dataset 'REDSDataset': {REASON}",
        "network_g.type": f"no arch 'EDVR': {REASON}",
    }


def test_none_of_these_types_is_registered() -> None:
    for registry in (ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY):
        assert not TYPES & set(registry.keys())
    with pytest.raises(KeyError, match=REASON):
        ARCH_REGISTRY.get("BasicVSR")
