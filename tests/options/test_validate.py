from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from option_toys import set_at, toy_options

from basicsr.options import Findings, MissingFilesError, load_text, validate_dataset_file, validate_options
from basicsr.utils.errors import OptionsError, Problem
from basicsr.utils.frozen import thaw

pytestmark = pytest.mark.usefixtures("toys_only")


def found(options: dict[str, Any], **kwargs: Any) -> list[str]:
    kwargs.setdefault("with_files", False)
    return [str(problem) for problem in validate_options(options, **kwargs)[1].problems]


def validated(options: Any, **kwargs: Any) -> tuple[dict[str, Any], Findings]:
    """The options as published code reads them, and what was found."""
    typed, findings = validate_options(options, **kwargs)
    return thaw(typed.to_mapping()), findings


def noted(options: dict[str, Any]) -> list[str]:
    return [str(notice) for notice in validate_options(options, with_files=False)[1].notices]


def test_right_options_have_no_problem_and_get_defaults() -> None:
    options, findings = validated(toy_options(), with_files=False)
    assert findings.problems == findings.missing == findings.notices == []
    assert options["train"]["warmup_iter"] == -1
    assert options["train"]["precision"] == "fp32"
    assert options["logger"] == {
        "print_freq": 10,
        "save_checkpoint_freq": 5000,
        "use_tb_logger": True,
        "report": True,
    }
    assert options["val"]["baseline"] == "bicubic"
    assert options["path"]["strict_load_g"] is True
    assert options["datasets"]["val"]["phase"] == "val"
    assert options["datasets"]["train"]["scale"] == 4
    assert options["datasets"]["train"]["seed"] == 7
    assert options["train"]["clip_grad_norm"] == 0


def test_input_is_not_modified() -> None:
    data = toy_options()
    before = copy.deepcopy(data)
    validate_options(data, with_files=False)
    assert data == before


def test_five_planted_mistakes_are_all_named_at_once() -> None:
    data = toy_options()
    data["netwrok_d"] = data.pop("network_d")
    data["train"]["optim_g"]["lr"] = "fast"
    data["train"]["pixel_opt"]["type"] = "ToyLos"
    data["network_g"]["num_feat"] = 6
    data["gt_size"] = 30
    problems = found(data)
    assert problems == [
        "gt_size: 30 is not divisible by scale 4; 32 would be",
        "network_g.num_feat: num_feat 6 is not divisible by 4",
        "train.optim_g.lr: expected a number, got 'fast'",
        "train.pixel_opt.type: unknown loss 'ToyLos'; did you mean ToyLoss or ToyFeatureLoss?",
        "netwrok_d: unknown key; did you mean network_d?",
    ]
    _, findings = validate_options(data, with_files=False)
    with pytest.raises(OptionsError, match=r"(?s)5 problems in my\.yml:.*netwrok_d") as caught:
        findings.raise_if_any("my.yml")
    assert len(caught.value.problems) == 5
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        # the frame
        ("nmae", "x", "nmae: unknown key; did you mean name?"),
        ("logger.print_frq", 5, "logger.print_frq: unknown key; did you mean print_freq?"),
        ("datasets.train.datarot_gt", "x", "datasets.train.datarot_gt: unknown key; did you mean dataroot_gt?"),
        ("train.bq_opt", {"type": "ToyLoss"}, "train.bq_opt: unknown key; did you mean bp_opt?"),
        ("logger.wandb", {"projct": "x"}, "logger.wandb.projct: unknown key; did you mean project?"),
        ("scale", 4.5, "scale: expected an integer, got 4.5"),
        ("scale", "4", "scale: expected an integer (without quotes), got '4'"),
        ("scale", None, "scale: missing; training needs it"),
        ("name", 5, "name: expected text (put it in quotes), got 5"),
        ("num_gpu", "all", "num_gpu: expected auto, 0 (CPU) or the number of GPUs"),
        ("num_gpu", -1, "num_gpu: expected auto, 0 (CPU) or the number of GPUs"),
        ("val.val_freq", 5000.5, "val.val_freq: expected an integer, got 5000.5"),
        ("val.val_freq", 0, "val.val_freq: expected a value greater than 0, got 0"),
        ("val.save_img", "yes", "val.save_img: expected true or false, got 'yes'"),
        ("val.spectra", "often", "val.spectra: expected true or false, got 'often'"),
        ("val.spectrum", True, "val.spectrum: unknown key; did you mean spectra?"),
        ("val.tile", {"sze": 64}, "val.tile.sze: unknown key; did you mean size?"),
        ("val.tile", "big", "val.tile: expected an integer, got 'big'"),
        ("val.metrics", [1], "val.metrics: expected a block, got [1]"),
        ("train.ema_decay", 1.0, "train.ema_decay: expected a value less than 1, got 1"),
        ("train.precision", "fp8", "train.precision: expected one of 'fp32', 'tf32', 'bf16', 'fp16', got 'fp8'"),
        ("train.adv_loss_version", 2, "train.adv_loss_version: expected one of 'v1', 'v2', got 2"),
        ("train.total_iter", None, "train.total_iter: missing; training needs it"),
        ("train", None, "train: missing; training needs it"),
        ("train", [], "train: expected a block, got []"),
        ("datasets", None, "datasets: missing; training needs it"),
        ("datasets.train", None, "datasets.train: missing; training needs it"),
        ("noise_range", [30, 1], "noise_range: expected [low, high], but 30 > 1"),
        ("noise_range", [1], "noise_range: expected a list of two numbers, [low, high], got 1"),
        ("noise_range", [-3, 1], "noise_range: expected numbers that are not negative, got -3"),
        ("jpeg_range", [0, 95], "jpeg_range: expected JPEG qualities from 1 to 100, got 0 to 95"),
        ("jpeg_range", [30, 101], "jpeg_range: expected JPEG qualities from 1 to 100, got 30 to 101"),
        ("gray_noise_prob", 1.5, "gray_noise_prob: expected a value less than or equal to 1, got 1.5"),
        ("degradation", {"gt_size": 64}, "degradation.gt_size: is 64 here and 32 at the top level; keep one of them"),
        ("degradation", {"gate": "image"}, "degradation.gate: expected one of 'batch', 'sample', got 'image'"),
        # types
        ("model_type", "ToyModl", "model_type: unknown model 'ToyModl'; did you mean ToyModel"),
        ("model_type", None, "model_type: missing; training needs it"),
        ("network_g", None, "network_g: missing; training needs it"),
        ("network_g.type", "ToyNetz", "network_g.type: unknown arch 'ToyNetz'; did you mean ToyNet"),
        ("network_g.type", 3, "network_g.type: expected text, got 3"),
        ("network_d", {"img_size": 32}, "network_d.type: missing; known: "),
        ("train.optim_d.type", "Toyadam", "train.optim_d.type: unknown optimizer 'Toyadam'; did you mean ToyAdam?"),
        ("train.scheduler.type", "Steps", "train.scheduler.type: unknown scheduler 'Steps'; did you mean ToySteps?"),
        ("val.metrics.psnr.type", "psnr", "val.metrics.psnr.type: unknown metric 'psnr'; did you mean toy_psnr?"),
        ("datasets.train.type", "ToyPair", "datasets.train.type: unknown dataset 'ToyPair'; did you mean ToyPairs?"),
        # arguments
        ("network_g.num_fet", 8, "network_g.num_fet: unknown key; did you mean num_feat?"),
        ("network_g.depths", [2, "x"], "network_g.depths: expected a list of integers, got [2, 'x']"),
        ("network_g.act", "gelu", "network_g.act: expected one of 'relu', 'prelu', got 'gelu'"),
        ("train.optim_g.betas", [0.9], "train.optim_g.betas: expected a list of 2 numbers, got [0.9]"),
        ("train.optim_g.params", [], "train.optim_g.params: unknown key"),
        ("train.scheduler.milestones", 5, "train.scheduler.milestones: expected a list of integers, got 5"),
        ("train.gan_opt.gan_type", "gan", "train.gan_opt.gan_type: expected one of 'vanilla', 'wgan', got 'gan'"),
        ("train.gan_opt.d_wieght", 1, "train.gan_opt.d_wieght: unknown key; did you mean d_weight?"),
        ("train.gan_opt.d_weight", "x", "train.gan_opt.d_weight: expected a number, got 'x'"),
        ("train.gan_opt.d_weight", -1, "train.gan_opt.d_weight: expected a value greater than or equal to 0, got -1"),
        ("val.metrics.psnr.crop_boarder", 4, "val.metrics.psnr.crop_boarder: unknown key; did you mean crop_border?"),
        ("val.metrics.psnr.better", "up", "val.metrics.psnr.better: expected 'higher' or 'lower', got 'up'"),
        ("datasets.train.gt_sz", 8, "datasets.train.gt_sz: unknown key; did you mean gt_size?"),
        ("datasets.train.gt_size", "big", "datasets.train.gt_size: "),
        ("datasets.training", {"type": "ToyPairs"}, "datasets.training: unknown key; data sets are called train"),
        ("datasets.val.scale", 2, "datasets.val.scale: is 2, but the file's scale is 4"),
        # what has to fit together
        ("datasets.train.gt_size", 30, "datasets.train.gt_size: 30 is not divisible by scale 4; 32 would be"),
        ("network_d.patch_size", 7, "network_d.img_size: img_size 32 is not divisible by patch_size 7"),
        ("network_d.img_size", 64, "network_d.img_size: is 64, but gt_size is 32; set img_size: 32"),
        ("network_d.img_size", [32, 64], "network_d.img_size: is 32x64, but gt_size is 32; set img_size: 32"),
        ("gt_size", 64, "network_d.img_size: is 32, but gt_size is 64; set img_size: 64"),
        ("network_g.scale", 2, "network_g.scale: is 2, but the file's scale is 4; set scale: 4"),
        ("scale", 2, "network_g.scale: is 4 by default, but the file's scale is 2; set scale: 2"),
        ("train.optim_g", None, "train.optim_g: missing; ToyModel needs it"),
    ],
)
def test_one_mistake(path: str, value: Any, problem: str) -> None:
    problems = found(set_at(toy_options(), path, value))
    assert len(problems) == 1, problems
    assert problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("resize_prob", [0.5, 0.5, 0.5], "resize_prob: expected probabilities that add up to 1, these add up to 1.5"),
        ("resize_range", [0, 1], "resize_range: expected [low, high] with 0 < low <= 1 <= high, got [0.0, 1.0]"),
    ],
)
def test_a_mistake_in_a_second_order_degradation(key: str, value: Any, problem: str) -> None:
    data = toy_options() | {"model_type": "ToySecondOrderModel", key: value}
    assert found(data) == [problem]


def test_a_critic_with_a_default_size_is_compared_too() -> None:
    data = toy_options()
    data["network_d"] = {"type": "ToyCritic"}
    data["gt_size"] = data["datasets"]["train"]["gt_size"] = 64
    assert found(data) == ["network_d.img_size: is 32 by default, but gt_size is 64; set img_size: 64"]


def test_critics_may_not_take_the_names_of_other_attributes() -> None:
    critic = {"network": {"type": "ToyCritic"}, "optimizer": {"type": "Adam"}}
    problems = found(set_at(toy_options(), "critics", {"g_ema": critic}))
    assert "critics.g_ema: net_g_ema is an attribute of the model; choose another name" in problems


def test_gradient_map_critics_see_two_more_pixels() -> None:
    data = set_at(toy_options(), "model_type", "ForeignModel")
    data["net_grad_d"] = {"type": "ToyCritic", "img_size": 34, "patch_size": 17}
    assert found(data) == []
    data["net_grad_d"] = {"type": "ToyCritic", "img_size": 32}
    assert found(data) == [
        "net_grad_d.img_size: is 32, but gt_size is 32 and its view is 34 pixels wide; set img_size: 34"
    ]


def test_numbers_take_the_type_that_is_asked_for() -> None:
    data = toy_options()
    set_at(data, "val.val_freq", 5e3)
    set_at(data, "scale", 4.0)
    set_at(data, "network_g.num_feat", 8.0)
    set_at(data, "train.optim_g.lr", 1)
    set_at(data, "train.branch_pretrain", 1)
    options, findings = validated(data, with_files=False)
    assert findings.problems == []
    assert (options["val"]["val_freq"], options["scale"], options["network_g"]["num_feat"]) == (5000, 4, 8)
    assert all(type(n) is int for n in (options["val"]["val_freq"], options["network_g"]["num_feat"]))
    typed, _ = validate_options(data, with_files=False)
    assert typed.train is not None and typed.train.optim_g is not None and typed.network_g is not None
    assert type(typed.train.optim_g.arguments["lr"]) is float
    assert type(typed.network_g.arguments["num_feat"]) is int


def test_null_switches_blocks_off() -> None:
    data = set_at(toy_options(), "model_type", "ForeignModel")
    for path in ("val", "network_d", "train.gan_opt", "train.optim_d", "datasets.val", "logger"):
        set_at(data, path, None)
    options, findings = validated(data, with_files=False)
    assert findings.problems == []
    assert "val" not in options
    assert "network_d" not in options
    assert "gan_opt" not in options["train"]
    assert list(options["datasets"]) == ["train"]
    assert options["logger"]["print_freq"] == 100


@pytest.mark.parametrize(
    ("tile", "size", "overlap"), [(64, 64, 8), ({"size": 96, "overlap": 4}, 96, 4), (None, None, 8)]
)
def test_tile_as_number_or_block(tile: Any, size: int | None, overlap: int) -> None:
    data = set_at(set_at(toy_options(), "val.tile", tile), "val.tile_overlap", 8)
    options, findings = validated(data, with_files=False)
    assert findings.problems == []
    assert (options["val"].get("tile"), options["val"]["tile_overlap"]) == (size, overlap)


def test_degradation_keys_can_be_read_from_either_place() -> None:
    data = set_at(toy_options(), "noise_range", [1, 30])
    data["degradation"] = {"gate": "sample", "jpeg_range": [40, 95]}
    typed, findings = validate_options(data, with_files=False)
    assert findings.problems == []
    assert typed.degradation is not None
    assert typed.degradation.arguments == {
        "gt_size": 32,
        "noise_range": [1, 30],
        "jpeg_range": [40, 95],
        "gate": "sample",
    }


@pytest.mark.parametrize(
    ("path", "value", "kept"),
    [
        ("auto_clean", False, False),
        ("train.adaptive_weight", True, False),
        ("train.gan_opt.adaptive_weight", True, False),
        ("train.gan_opt.grad_d_weight", 0.5, False),
        ("train.gan_opt.flat_std", 0.1, False),
        ("train.optim_grad_d", {"type": "ToyAdam", "lr": 1.0}, False),
        ("train.branch_pretrain", 1, False),
        ("train.branch_init_iters", 5000, False),
        ("l1_gt_usm", False, False),
        ("rank", 3, False),
        ("path.models", "somewhere", False),
        ("path.pretrain_network_spectral_d", "x.pth", False),
        ("train.scheduler.milestones", [400], True),
    ],
)
def test_keys_without_effect_are_noted(path: str, value: Any, kept: bool) -> None:
    data = set_at(toy_options(), path, value)
    options, findings = validated(data, with_files=False)
    assert findings.problems == []
    assert [notice.path for notice in findings.notices] == [path]
    holder: Any = options
    for part in path.split("."):
        holder = holder.get(part, {})
    assert bool(holder) == kept


def test_downstream_classes_just_work() -> None:
    data = set_at(toy_options(), "model_type", "ForeignModel")
    data["datasets"]["train"] = {"type": "ForeignDataset", "anything": [1, {"a": 2}]}
    data["network_identity"] = {"type": "ToyOpenNet", "width": 8, "more": 1}
    data["train"]["identity_weight"] = 3
    data["train"]["identity_opt"] = {"type": "ToyLoss", "loss_weight": 2}
    options, findings = validated(data, with_files=False)
    assert findings.problems == []
    assert [n.path for n in findings.notices] == ["train.identity_weight", "train.identity_opt", "network_identity"]
    assert options["datasets"]["train"]["anything"] == [1, {"a": 2}]
    assert options["datasets"]["train"]["phase"] == "train"
    assert options["train"]["identity_weight"] == 3
    data["train"]["identity_opt"]["loss_wieght"] = 2
    assert found(data) == ["train.identity_opt.loss_wieght: unknown key; did you mean loss_weight?"]


def test_a_network_that_needs_real_memory_is_built_on_the_cpu() -> None:
    data = set_at(toy_options(), "network_d", {"type": "ToyNetThatReadsValues"})
    assert found(data) == []
    data["network_d"]["width"] = -1
    assert len(found(data)) == 1


def test_a_network_that_would_be_built_for_days_is_refused() -> None:
    network = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_block": 2**31}
    assert found(set_at(toy_options(), "network_d", network)) == [
        "network_d.num_block: 2147483648 is more than 100,000"
    ]


def test_losses_are_not_built() -> None:
    layers = {"type": "ToyFeatureLoss", "layer_weights": {"conv5_4": 1}}
    assert found(set_at(toy_options(), "train.perceptual_opt", layers)) == []


def test_what_a_model_needs_is_not_blamed_twice() -> None:
    assert found(set_at(toy_options(), "train.optim_g", "Adam")) == ["train.optim_g: expected a block, got 'Adam'"]


def test_a_broken_frame_does_not_stop_the_rest() -> None:
    data = {"name": 3, "datasets": 5, "network_g": {"type": "No"}, "train": 7, "val": {"metrics": {"a": None}}, "x": 1}
    problems = found(data)
    assert {p.split(":")[0] for p in problems} == {
        "name",
        "model_type",
        "scale",
        "datasets",
        "network_g.type",
        "train",
    }


@pytest.mark.parametrize(
    ("path", "notice"),
    [
        ("ema_decay", "unknown key here; it belongs at train.ema_decay"),
        ("suffix", "unknown key here; it belongs at val.suffix"),
        ("crop_border", "unknown key, which nothing reads here"),
        ("train.val_freq", "unknown key here; it belongs at val.val_freq"),
        ("train.fft_opt", "unknown key, which nothing reads here"),
        ("logger.print_frequency", "unknown key, which nothing reads here"),
        ("datasets.train.task", "unknown key, which nothing reads here"),
    ],
)
def test_keys_that_forks_have_added_are_noted_or_refused_where_asked(path: str, notice: str) -> None:
    data = set_at(toy_options(), path, {"type": "FFTLoss"} if path.endswith("_opt") else 5)
    options, findings = validate_options(data, with_files=False)
    assert findings.problems == []
    assert [(n.path, n.message) for n in findings.notices] == [(path, notice)]
    *parents, name = path.split(".")
    written: Any = options.to_mapping()
    for key in parents:
        written = written[key]
    # A data set that declares its options takes no others; elsewhere code of other people may read the key.
    assert (name in written) is not path.startswith("datasets")
    strict = validate_options(data, with_files=False, strict=True)[1]
    assert [(p.path, p.message) for p in strict.problems] == [(path, notice)]
    assert strict.notices == []


def test_null_is_absent_where_there_is_a_default() -> None:
    data = toy_options()
    for path in (
        "manual_seed",
        "num_gpu",
        "val.val_freq",
        "logger.print_freq",
        "train.ema_decay",
        "path.strict_load_g",
    ):
        set_at(data, path, None)
    options, findings = validated(data, with_files=False)
    assert findings.problems == []
    assert (options["manual_seed"], options["num_gpu"], options["val"]["val_freq"]) == (0, "auto", 5000)
    assert options["path"] == {"pretrain_network_g": None, "strict_load_g": True}


def test_testing_needs_no_training() -> None:
    data = toy_options()
    for key in ("train", "network_d", "gt_size"):
        del data[key]
    data["datasets"] = {"test_1": data["datasets"]["val"]}
    data["model_type"] = "ForeignModel"
    options, findings = validated(data, is_train=False, with_files=False)
    assert findings.problems == []
    assert options["is_train"] is False
    assert options["datasets"]["test_1"]["phase"] == "test"
    del data["val"]
    assert validated(data, is_train=False, with_files=False)[0]["val"]["save_img"] is False


def test_findings_stand_in_file_order_with_lines() -> None:
    text = "name: toy\nlogger:\n  print_fre: 3\nmodel_type: ToyMode\nscal: 4\nscale: 4\nlogger: {}\n"
    findings = validate_options(load_text(text), with_files=False)[1]
    shown = [str(p) for p in findings.problems if p.path in ("logger", "model_type", "scal")]
    assert shown == [
        "logger: given twice, first in line 2 (line 7)",
        "model_type: unknown model 'ToyMode'; did you mean ToyModel? (line 4)",
        "scal: unknown key; did you mean scale? (line 5)",
    ]


def make_images(folder: Path, names: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.png").write_bytes(b"")


def test_missing_files_are_kept_apart_from_mistakes(toys_only: Path) -> None:
    data = toy_options()
    data["path"] = {"pretrain_network_g": "weights/g.pth", "resume_state": "5.state"}
    findings = validate_options(data)[1]
    assert findings.problems == []
    assert [p.path for p in findings.missing] == [
        "datasets.train.dataroot_gt",
        "datasets.train.dataroot_lq",
        "datasets.val.dataroot_gt",
        "datasets.val.dataroot_lq",
        "path.pretrain_network_g",
        "path.resume_state",
    ]
    with pytest.raises(MissingFilesError, match=r"weights/g\.pth") as caught:
        findings.raise_if_any()
    assert caught.value.exit_code == 3
    findings.raise_if_any(ignore_missing=True)
    findings.problems.append(Problem("name", "wrong"))
    with pytest.raises(OptionsError, match="7 problems") as wrong:
        findings.raise_if_any()
    assert wrong.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("RealESRGAN_x4plus", []),
        ("RealESRGAN_x4plus.pth", []),
        ("RealESRGAN_x4plas", ["did you mean RealESRGAN_x4plus"]),
        ("weights/RealESRGAN_x4plus.pth", ["there is no weights file weights/RealESRGAN_x4plus.pth"]),
    ],
)
def test_published_weights_are_named_without_a_file(toys_only: Path, name: str, messages: list[str]) -> None:
    data = toy_options()
    data["path"] = {"pretrain_network_g": name}
    missing = [problem.message for problem in validate_options(data)[1].missing if "pretrain" in problem.path]
    assert len(missing) == len(messages) and all(map(str.__contains__, missing, messages))


def test_files_that_are_there_are_checked(toys_only: Path) -> None:
    make_images(toys_only / "hr", ["a", "b"])
    make_images(toys_only / "lr", ["a", "c"])
    findings = validate_options(toy_options())[1]
    assert findings.missing == []
    assert [str(p) for p in findings.problems] == [
        "datasets.train.dataroot_gt: dataroot_gt and dataroot_lq do not match: b, c",
        "datasets.val.dataroot_gt: dataroot_gt and dataroot_lq do not match: b, c",
    ]
    make_images(toys_only / "hr", ["c"])
    make_images(toys_only / "lr", ["b"])
    assert validate_options(toy_options())[1].problems == []


def test_unused_data_need_not_be_there(toys_only: Path) -> None:
    data = toy_options()
    data["datasets"]["test_1"] = {"type": "ToyPairs", "dataroot_gt": "nowhere"}
    assert "datasets.test_1.dataroot_gt" not in [p.path for p in validate_options(data)[1].missing]
    data["model_type"] = "ForeignModel"
    missing = [p.path for p in validate_options(data, is_train=False)[1].missing]
    assert "datasets.test_1.dataroot_gt" in missing
    assert "datasets.train.dataroot_gt" not in missing


def test_one_data_set_as_a_file(toys_only: Path) -> None:
    block = {"name": "D", "type": "ToyPairs", "dataroot_gt": "hr", "scale": 4}
    options, findings = validate_dataset_file(block, with_files=False)
    assert findings.problems == []
    assert options["phase"] == "test"
    findings = validate_dataset_file(block | {"datroot_gt": "x", "scale": "big", "task": "SR"})[1]
    assert [p.path for p in findings.problems] == ["scale", "datroot_gt"]
    assert [p.path for p in findings.notices] == ["task"]
    assert [p.path for p in validate_dataset_file(block)[1].missing] == ["dataroot_gt"]
    assert [p.path for p in validate_dataset_file({"name": "D"})[1].problems] == ["type"]


def test_a_pool_that_is_not_used_is_noted() -> None:
    for gate, noted in (("sample", True), ("batch", False)):
        options = set_at(set_at(toy_options(), "queue_size", 8), "degradation.gate", gate)
        _, findings = validate_options(options, with_files=False)
        assert any(notice.path == "queue_size" for notice in findings.notices) is noted


@pytest.mark.parametrize("name", ["", " ", ".", "..", "../datasets", "a/b", "/tmp/x", "a\\b", "a\0b"])
@pytest.mark.parametrize("path", ["name", "datasets.train.name", "datasets.val.name", "val.suffix"])
@pytest.mark.parametrize("is_train", [True, False])
def test_no_name_leads_out_of_the_folder_that_it_is_put_in(path: str, name: str, is_train: bool) -> None:
    told = [
        problem for problem in found(set_at(toy_options(), path, name), is_train=is_train) if problem.startswith(path)
    ]
    expected = [] if path == "val.suffix" and name == "" else [f"{path}: {name!r} cannot name a file or folder"]
    assert [problem.partition(";")[0] for problem in told] == expected


@pytest.mark.parametrize(("name", "is_known"), [("faithful", True), ("RealESRGAN_x4plus", True), ("faithfull", False)])
def test_weights_are_known_by_name_before_the_run_starts(name: str, is_known: bool) -> None:
    options = set_at(toy_options(), "path.pretrain_network_g", name)
    missing = [problem.path for problem in validate_options(options, with_files=True)[1].missing]
    assert ("path.pretrain_network_g" in missing) is not is_known


def test_a_critic_is_named_as_a_file_is() -> None:
    options = toy_options()
    options["critics"] = {"../d": {"network": options.pop("network_d"), "optimizer": options["train"].pop("optim_d")}}
    assert any(problem.startswith("critics.../d: '../d' cannot name") for problem in found(options))


@pytest.mark.parametrize("name", ["run 1", ".hidden", "a..b", "x4_=é,", "…"])
def test_any_other_name_will_do(name: str) -> None:
    assert found(set_at(toy_options(), "name", name)) == []
    assert found(set_at(toy_options(), "name", name * 100)) != []


def test_a_data_set_file_has_such_a_name_too() -> None:
    _, findings = validate_dataset_file({"name": "../x", "type": "ToyPairs", "dataroot_gt": "hr"}, with_files=False)
    assert any("'../x' cannot name" in str(problem) for problem in findings.problems)


@pytest.mark.parametrize("better", ["higher", "lower", None])
def test_a_metric_that_knows_no_direction_is_given_one(better: str | None) -> None:
    options = set_at(toy_options(), "val.metrics.psnr.better", better)
    message = "val.metrics.psnr.better: missing; toy_psnr does not say which values are better, so say higher or lower"
    assert [problem.rpartition(" here")[0] for problem in found(options)] == ([] if better else [message])
    tested = set_at(options, "path.pretrain_network_g", "x.pth")
    assert not any("better" in problem for problem in found(tested, is_train=False)), "a test keeps no best value"
