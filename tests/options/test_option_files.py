"""The published option files, and ours, against the classes that they name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from basicsr.models.options import ModelOptions, TrainOptions
from basicsr.models.presets import DEGRADATION_KEYS, PUBLISHED_KEYS, default_of_key
from basicsr.options import (
    MissingFilesError,
    apply_overrides,
    dump_options,
    load_dataset_options,
    load_file,
    load_text,
    parse_options,
    validate_dataset_file,
)
from basicsr.options import checks as option_checks
from basicsr.options import validate_options as validate_typed
from basicsr.options.validate import fill_registries
from basicsr.utils.frozen import thaw
from basicsr.utils.parts import Part
from basicsr.utils.registry import MODEL_REGISTRY

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "tests" / "golden" / "options"
OURS = ROOT / "options"
PUBLISHED_FILES = sorted(file.relative_to(PUBLISHED) for file in PUBLISHED.rglob("*.yml"))
OUR_FILES = sorted(file.relative_to(OURS) for file in OURS.rglob("*.yml"))
RECIPES = [file for file in OUR_FILES if file.parent.name]

NOTED = {
    "train/train_bebygan_x4_hgd_dual_former.yml": [
        "train.optim_grad_d",
        "train.branch_pretrain",
        "train.branch_init_iters",
    ],
    "train/train_esrgan_x4_sgd_dual_former.yml": ["auto_clean", "train.scheduler.milestones"],
    "train/train_esrgan_x4_sgd_vgg_specformer.yml": ["auto_clean", "train.scheduler.milestones"],
    "train/train_esrnet_x4_sgd.yml": ["train.scheduler.milestones"],
}
"""What published files carry without effect."""

FIXED = {
    "DIV2K_valid.yml": set(),
    "test/test_bebygan_x4_hgd_dual_former.yml": {"val.metrics.lpips.better"},
    "test/test_esrgan_x4_dual_former.yml": {"val.metrics.lpips.better"},
    "test/test_esrgan_x4_hgd_dual_former.yml": {"val.metrics.lpips.better"},
    "train/train_bebygan_x4_hgd_dual_former.yml": {
        "train.optim_grad_d.type",
        "train.optim_grad_d.lr",
        "train.optim_grad_d.weight_decay",
        "train.optim_grad_d.betas",
        "train.branch_pretrain",
        "train.branch_init_iters",
    },
    "train/train_esrgan_x4_dual_former.yml": set(),
    "train/train_esrgan_x4_hgd_dual_former.yml": set(),
    "train/train_esrgan_x4_sgd_dual_former.yml": {"auto_clean", "train.scheduler.milestones"},
    "train/train_esrgan_x4_sgd_vgg_specformer.yml": {"auto_clean", "train.scheduler.milestones"},
    "train/train_esrnet_x4_hgd.yml": set(),
    "train/train_esrnet_x4_sgd.yml": {"train.total_iter", "logger.save_checkpoint_freq"},
}
"""Where our files differ from the published ones of the same name."""


_try_network = option_checks._try_network
_tried: dict[str, Any] = {}


def _try_network_once(part: Part, device: str) -> Any:
    key = f"{part.constructor} {part.to_plain()}"
    if key not in _tried:
        _tried[key] = _try_network(part, device)
    return _tried[key]


def validate_options(loaded: Any, **kwargs: Any) -> tuple[dict[str, Any], Any]:
    """The options as published code reads them, and what was found."""
    typed, findings = validate_typed(loaded, **kwargs)
    return thaw(typed.to_mapping()), findings


@pytest.fixture(autouse=True)
def build_equal_networks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most files name the same networks."""
    monkeypatch.setattr(option_checks, "_try_network", _try_network_once)


def is_training(file: Path) -> bool:
    return file.parent.name == "train"


def leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(data, dict):
        yield path, data
        return
    for key, value in data.items():
        yield from leaves(value, f"{path}.{key}" if path else key)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without data and weights."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("file", [file for file in PUBLISHED_FILES if file.parent.name], ids=str)
def test_published_files_lack_nothing_but_data_and_weights(file: Path, elsewhere: Path) -> None:
    loaded = load_file(PUBLISHED / file)
    _, findings = validate_options(loaded, is_train=is_training(file))
    assert findings.problems == []
    assert [notice.path for notice in findings.notices] == NOTED.get(str(file), [])
    for problem in findings.missing:
        named = dict(leaves(loaded.data))[problem.path]
        assert named in problem.message
        assert problem.path.startswith(("datasets.", "path.pretrain_network_"))
    assert findings.missing


@pytest.mark.parametrize("file", [file for file in PUBLISHED_FILES if file.parent.name], ids=str)
def test_published_values_survive(file: Path) -> None:
    published = yaml.safe_load((PUBLISHED / file).read_text())
    options, _ = validate_options(load_file(PUBLISHED / file), is_train=is_training(file), with_files=False)
    kept = dict(leaves(options))
    dropped = NOTED.get(str(file), [])
    for path, value in leaves(published):
        if value is None or any(path == name or path.startswith(f"{name}.") for name in dropped):
            continue
        assert kept[path] == value, path


@pytest.mark.parametrize("file", PUBLISHED_FILES, ids=str)
def test_our_files_have_the_published_values(file: Path) -> None:
    published = dict(leaves(yaml.safe_load((PUBLISHED / file).read_text())))
    ours = dict(leaves(yaml.safe_load((OURS / file).read_text())))
    missing = object()
    different = {path for path in published | ours if published.get(path, missing) != ours.get(path, missing)}
    assert different == FIXED[str(file)]


@pytest.mark.parametrize("file", RECIPES, ids=str)
def test_our_files_are_right_without_a_remark(file: Path, elsewhere: Path) -> None:
    options, findings = validate_options(load_file(OURS / file), is_train=is_training(file), with_files=False)
    assert findings.problems == findings.notices == []
    assert options["name"] == file.stem
    assert (OURS / file).read_text().startswith("# ")
    if is_training(file):
        assert options.get("model_type", "SRModel") in MODEL_REGISTRY
        last = options["train"]["scheduler"]["milestones"][-1]
        assert last <= options["train"]["total_iter"]


@pytest.mark.parametrize("file", RECIPES, ids=str)
def test_recipes_round_trip(file: Path) -> None:
    options, _ = validate_options(load_file(OURS / file), is_train=is_training(file), with_files=False)
    again, findings = validate_options(load_text(dump_options(options)), is_train=is_training(file), with_files=False)
    assert findings.problems == findings.notices == []
    assert again == options


TESTS = sorted(OURS.glob("test/*.yml"))


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_a_test_takes_the_network_that_its_recipe_trains(file: Path) -> None:
    name = file.name if file.stem == "quickstart" else file.name.replace("test_", "train_", 1)
    tested, trained = (yaml.safe_load(path.read_text())["network_g"] for path in (file, OURS / "train" / name))
    trained.pop("init", None)  # how it began says nothing of what it is
    assert tested == trained


def test_every_model_type_of_the_table_has_a_recipe_or_a_sibling() -> None:
    fill_registries()
    used = {yaml.safe_load((OURS / file).read_text()).get("model_type", "SRModel") for file in RECIPES}
    presets = [getattr(MODEL_REGISTRY.get(name), "preset") for name in used]  # noqa: B009
    objectives = {preset.get("objective", {}).get("type") for preset in presets}
    degradations = {preset.get("degradation", {}).get("type") for preset in presets}
    assert objectives == {None, "RelativisticAverage", "Wasserstein", "HalfRelativistic", "Standard"}
    assert degradations == {None, "HardGated", "SimpleGated", "SecondOrder"}


@pytest.mark.parametrize("folder", [PUBLISHED, OURS])
def test_one_data_set_block(folder: Path, elsewhere: Path) -> None:
    options, findings = validate_dataset_file(load_file(folder / "DIV2K_valid.yml"))
    assert findings.problems == findings.notices == []
    assert [problem.path for problem in findings.missing] == ["dataroot_gt", "dataroot_lq"]
    assert load_dataset_options(folder / "DIV2K_valid.yml", with_files=False)["scale"] == 4
    assert options["type"] == "PairedImageDataset"


SHRUNK = [
    "network_g:num_feat=8",
    "network_g:num_block=1",
    "train:perceptual_opt=null",
    "train:total_iter=2",
    "path:pretrain_network_g=null",
    "datasets:train:batch_size_per_gpu=2",
    "datasets:train:num_worker_per_gpu=0",
    "num_gpu=0",
]


@pytest.mark.parametrize("file", [f for f in PUBLISHED_FILES if is_training(f)], ids=str)
def test_published_files_can_be_shrunk_by_overrides(file: Path) -> None:
    loaded = load_file(PUBLISHED / file)
    assert apply_overrides(loaded.data, SHRUNK) == []
    options, findings = validate_options(loaded, with_files=False)
    assert findings.problems == []
    assert "perceptual_opt" not in options["train"]
    assert options["train"]["total_iter"] == 2


def test_five_planted_mistakes_in_a_published_file(elsewhere: Path) -> None:
    text = (PUBLISHED / "train" / "train_esrgan_x4_dual_former.yml").read_text()
    for right, wrong in (
        ("num_block: 23", "num_blok: 23"),
        ("  patch_size: 32\n  num_classes: 1", "  patch_size: 24\n  num_classes: 1"),
        ("type: MultiStepLR", "type: MultistepLR"),
        ("gt_size: 128", "gt_size: 126"),
        ("print_freq: 100", "print_freq: often"),
    ):
        assert right in text
        text = text.replace(right, wrong, 1)
    findings = validate_options(load_text(text))[1]
    assert len(findings.problems) == 5
    shown = "\n".join(map(str, findings.problems))
    for expected in (
        "network_g.num_blok: unknown key; did you mean num_block?",
        "network_d.patch_size: ",
        "train.scheduler.type: unknown scheduler 'MultistepLR'; did you mean MultiStepLR",
        "datasets.train.gt_size: gt_size 126 is not divisible by scale 4",
        "logger.print_freq: expected an integer, got 'often'",
    ):
        assert expected in shown
    assert "train_esrgan" not in shown


def test_wrong_degradations_are_blamed_once() -> None:
    loaded = load_file(OURS / "train" / "train_esrnet_x4_hgd.yml")
    kernels = ["datasets:train:kernel_list=[iso, round]", "datasets:train:kernel_prob=[0.5, 0.6]"]
    assert apply_overrides(loaded.data, ["jpeg_range=[0, 95]", "queue_size=100", *kernels]) == []
    problems = [str(p) for p in validate_options(loaded, with_files=False)[1].problems]
    assert [p.split(":")[0] for p in problems] == [
        "jpeg_range",
        "queue_size",
        "datasets.train.kernel_list.1",
        "datasets.train.kernel_prob",
    ]
    assert "not divisible by batch_size_per_gpu 16" in problems[1]


def test_degradation_keys_have_defaults() -> None:
    loaded = load_file(OURS / "train" / "train_esrnet_x4_hgd.yml")
    for key in ("jpeg_range", "noise_range", "gray_noise_prob", "queue_size"):
        del loaded.data[key]
    assert validate_options(loaded, with_files=False)[1].problems == []


def test_keys_of_other_basicsr_files_are_known() -> None:
    """Fine-tuning on pairs, as Real-ESRGAN's option files write it, and what BasicSR's own carry."""
    loaded = load_file(OURS / "train" / "train_realesrgan_x4.yml")
    loaded.data["high_order_degradation"] = False
    loaded.data["datasets"]["train"] = {
        "name": "Pairs",
        "type": "RealESRGANPairedDataset",
        "dataroot_gt": "gt",
        "dataroot_lq": "lq",
        "meta_info": "pairs.txt",
        "io_backend": {"type": "disk"},
        "gt_size": 256,
        "use_hflip": True,
        "use_rot": False,
        "use_shuffle": True,
        "num_worker_per_gpu": 5,
        "batch_size_per_gpu": 12,
        "dataset_enlarge_ratio": 1,
        "prefetch_mode": None,
    }
    loaded.data["val"] = {"val_freq": 5e3, "save_img": False, "pbar": False, "suffix": None}
    options, findings = validate_options(loaded, with_files=False)
    assert findings.problems == []
    drawn = [key for key in loaded.data if key in DEGRADATION_KEYS and not key.endswith("_usm")]
    assert len(drawn) > 15
    assert [notice.path for notice in findings.notices] == [*drawn, "high_order_degradation"]
    assert "RealESRGANPairedDataset supplies the LQ images" in str(findings.notices[0])
    assert not set(drawn) & set(options)
    assert "degradation" not in options
    assert options["val"]["val_freq"] == 5000


@pytest.mark.parametrize("place", ["gt_usm", "datasets:train:gt_usm", "degradation:gt_usm"])
@pytest.mark.parametrize("value", [True, False])
def test_gt_usm_says_wherever_it_stands_whether_the_degradation_sharpens_gt(place: str, value: bool) -> None:
    loaded = load_file(OURS / "train/train_realesrnet_x4.yml")
    loaded.data.pop("gt_usm", None)
    assert apply_overrides(loaded.data, [f"{place}={str(value).lower()}"]) == []
    options, findings = validate_typed(loaded, with_files=False)
    assert (findings.problems, findings.notices) == ([], [])
    assert options.degradation is not None
    assert options.degradation.build(scale=4).gt_usm is value


@pytest.mark.parametrize(
    ("file", "override", "notices"),
    [
        ("train_esrnet_x4_hgd", "gt_usm=true", ["gt_usm"]),
        ("train_esrnet_x4_sgd", "poisson_scale_range=[0.05, 3]", ["poisson_scale_range"]),
        ("train_esrnet_x4_sgd", "degradation={gaussian_noise_prob: 0.5}", ["degradation.gaussian_noise_prob"]),
        ("train_esrnet_x4_sgd", "resize_prob=[0.2, 0.7, 0.1]", ["resize_prob"]),
        ("train_esrnet_x4_hgd", "second_blur_prob=0.8", ["second_blur_prob"]),
        ("train_esrnet_x4_hgd", "degradation={second_blur_prob: 0.8, gate: batch}", ["degradation.second_blur_prob"]),
        ("train_esrnet_x4_hgd", "l1_gt_usm=false", ["l1_gt_usm"]),
        ("train_esrnet_x4_hgd", "train:net_d_iters=5", ["train.net_d_iters"]),
        ("train_esrnet_x4_hgd", "train:net_d_iters=1", []),
        ("train_esrnet_x4_hgd", "train:net_d_init_iters=100", ["train.net_d_init_iters"]),
        ("train_esrnet_x4_hgd", "train:diffaug=true", ["train.diffaug"]),
        ("train_esrnet_x4_hgd", "train:diffaug=false", []),
        ("train_esrnet_x4_hgd", "train:adv_loss_version=v2", ["train.adv_loss_version"]),
        ("train_esrnet_x4_hgd", "train:gp_weight=1", ["train.gp_weight"]),
        ("train_realesrnet_x4", "gan_gt_usm=true", ["gan_gt_usm"]),
        ("train_esrgan_x4", "degradation={gate: sample}", ["degradation.gate"]),
        ("train_esrgan_x4", "train:gp_weight=0", ["train.gp_weight"]),
        ("train_esrgan_x4", "train:aug_policy=color", ["train.aug_policy"]),
        ("train_esrgan_x4", "train={diffaug: true, aug_policy: color}", []),
        ("train_esrgan_x4", "train:adv_loss_version=v2", []),
        ("train_esrgan_x4_sgd_dual_former", "train:gp_weight=0", []),
        ("train_esrgan_x4_sgd_dual_former", "train:gan_opt:sync_mean=true", ["train.gan_opt.sync_mean"]),
        ("train_spsr_x4", "train:branch_pretrain=false", ["train.branch_init_iters"]),
        ("train_spsr_x4", "train:branch_init_iters=~", ["train.branch_pretrain"]),
    ],
)
def test_what_a_model_type_does_not_read_is_noted(file: str, override: str, notices: list[str]) -> None:
    loaded = load_file(OURS / "train" / f"{file}.yml")
    name, value = override.split("=")
    if value.startswith("{"):
        section = loaded.data.setdefault(name, {})
        section.update(yaml.safe_load(value))
    else:
        assert apply_overrides(loaded.data, [override]) == []
    options, findings = validate_options(loaded, with_files=False)
    assert findings.problems == []
    assert [notice.path for notice in findings.notices] == notices
    for notice in notices:
        assert notice not in dict(leaves(options))


def test_a_block_without_effect_is_noted_once_and_not_key_by_key() -> None:
    loaded = load_file(OURS / "train" / "train_esrgan_x4_hgd_dual_former.yml")
    loaded.data["model_type"] = "SRHardGatedDegradationModel"
    loaded.data["train"]["gan_opt"] |= {"d_weight": 0.5, "flat_std": 0.1, "sync_mean": True}
    _, findings = validate_options(loaded, with_files=False)
    assert findings.problems == []
    noted = [notice.path for notice in findings.notices]
    assert sorted(noted) == [
        "net_spectral_d",
        "network_d",
        "train.gan_opt",
        "train.optim_d",
        "train.optim_spectral_d",
    ]


@pytest.mark.parametrize("file", [file for file in RECIPES if is_training(file)], ids=str)
def test_defaults_that_are_written_out_get_no_notice(file: Path) -> None:
    loaded = load_file(OURS / file)
    for section, block in ((ModelOptions, loaded.data), (TrainOptions, loaded.data["train"])):
        for name, field in section.model_fields.items():
            default = field.get_default(call_default_factory=True)
            if default not in (None, {}, []) and field.default is not None:
                block.setdefault(name, default)
    for key, target in PUBLISHED_KEYS:
        *parents, name = key.split(".")
        holder: Any = loaded.data
        for parent in parents:
            holder = holder.get(parent) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and default_of_key(target) is not None:
            holder.setdefault(name, default_of_key(target))
    _, findings = validate_options(loaded, with_files=False)
    assert findings.problems == findings.notices == []


@pytest.mark.parametrize(
    ("file", "train_set", "message"),
    [
        (
            "train_esrgan_x4_hgd_dual_former",
            "PairedImageDataset",
            "use GatedDegradationDataset",
        ),
        ("train_esrnet_x4_sgd", "RealESRGANPairedDataset", "use GatedDegradationDataset"),
        ("train_esrgan_x4_sgd_dual_former", "PairedImageDataset", "use GatedDegradationDataset"),
        ("train_realesrgan_x4", "PairedImageDataset", "use RealESRGANDataset or RealESRGANPairedDataset"),
        ("train_realesrnet_x4", "GatedDegradationDataset", "use RealESRGANDataset or RealESRGANPairedDataset"),
        ("train_esrgan_x4", "GatedDegradationDataset", "trains on pairs; use PairedImageDataset"),
        ("train_esrgan_x4", "SingleImageDataset", "trains on pairs; use PairedImageDataset"),
        ("train_esrgan_x4", "RealESRGANPairedDataset", ""),
        ("train_realesrgan_x4", "RealESRGANPairedDataset", ""),
    ],
)
def test_a_train_set_has_to_fit_the_degradation(file: str, train_set: str, message: str) -> None:
    loaded = load_file(OURS / "train" / f"{file}.yml")
    block = {"type": train_set, "batch_size_per_gpu": 4, "gt_size": loaded.data["datasets"]["train"]["gt_size"]}
    roots = {"dataroot_gt": "gt", "dataroot_lq": "lq"}
    lacking = {"GatedDegradationDataset": "dataroot_lq", "SingleImageDataset": "dataroot_gt"}.get(train_set)
    loaded.data["datasets"]["train"] = block | {key: root for key, root in roots.items() if key != lacking}
    loaded.data.pop("queue_size", None)
    _, findings = validate_options(loaded, with_files=False)
    found = [str(problem) for problem in findings.problems]
    if not message:
        assert found == []
        return
    assert len(found) == 1
    assert found[0].startswith(f"datasets.train.type: {train_set} does not fit {loaded.data['model_type']}, ")
    assert message in found[0]


@pytest.mark.parametrize(
    ("file", "overrides", "problem"),
    [
        (
            "train_esrgan_x4",
            ["train:diffaug=true", "train:aug_policy=colour"],
            "train.aug_policy: unknown augmentation 'colour' in policy 'colour'; did you mean color?",
        ),
        (
            "train_esrgan_x4_dual_former",
            ["train:gan_opt:d_weight=0", "train:gan_opt:spectral_d_weight=0"],
            "train.gan_opt.d_weight: critic weights are divided by their sum, so they must be non-negative with a "
            "positive sum, got d 0, spectral_d 0; set one above 0",
        ),
        (
            "train_esrgan_x4",
            ["train:gan_opt={type: L1Loss}"],
            "train.gan_opt.type: L1Loss does not score critics' logits; use GANLoss",
        ),
        ("train_esrgan_x4", ["train:gan_opt={type: MultiScaleGANLoss, gan_type: vanilla}"], ""),
        ("train_esrgan_x4", ["train:gan_opt:d_weight=0"], "train.gan_opt.d_weight: critic weights are divided by"),
        ("train_esrgan_x4_dual_former", ["train:gan_opt:d_weight=0"], ""),
        (
            "train_esrgan_x4_sgd_dual_former",
            ["train:gan_opt:d_weight=0", "train:gan_opt:spectral_d_weight=0"],
            "",
        ),
    ],
)
def test_wrong_adversarial_options_are_named(file: str, overrides: list[str], problem: str) -> None:
    loaded = load_file(OURS / "train" / f"{file}.yml")
    assert apply_overrides(loaded.data, overrides) == []
    found = [str(p) for p in validate_options(loaded, with_files=False)[1].problems]
    assert len(found) == bool(problem)
    assert not problem or found[0].startswith(problem)


def test_a_published_file_that_lacks_only_data_exits_with_3(elsewhere: Path) -> None:
    file = PUBLISHED / "train" / "train_esrgan_x4_dual_former.yml"
    with pytest.raises(MissingFilesError) as caught:
        parse_options(elsewhere, True, ["-opt", str(file)])
    assert caught.value.exit_code == 3
    assert "datasets/DF2K_ESRGAN" in str(caught.value)
    assert "ESRGAN_PSNR_SRx4_DF2K_official-150ff491.pth" in str(caught.value)


def test_wrong_sizes_and_names_of_real_images_are_named(elsewhere: Path) -> None:
    import cv2
    import numpy as np

    for name, side in (("hr/a.png", 64), ("hr/b.png", 64), ("lr/a.png", 16), ("lr/b.png", 15), ("lr/c.png", 16)):
        Path(name).parent.mkdir(exist_ok=True)
        cv2.imwrite(name, np.zeros((side, side, 3), np.uint8))
    loaded = load_file(OURS / "train" / "train_esrgan_x4_dual_former.yml")
    overrides = [
        "path:pretrain_network_g=null",
        "datasets:train:dataroot_gt=hr",
        "datasets:train:dataroot_lq=lr",
        "datasets:train:meta_info_file=null",
        "datasets:train:gt_size=128",
    ]
    assert apply_overrides(loaded.data, overrides) == []
    findings = validate_options(loaded)[1]
    assert findings.missing == []
    assert findings.problems
    Path("lr/c.png").unlink()
    shown = "\n".join(str(p) for p in validate_options(loaded)[1].problems)
    assert "datasets.train" in shown
    assert "b.png" in shown


def test_checking_a_file_whose_data_are_prepared_writes_nothing(elsewhere: Path) -> None:
    findings = validate_options(load_file(OURS / "train" / "quickstart.yml"))[1]
    assert not findings.problems and not findings.missing
    assert list(Path().iterdir()) == []
