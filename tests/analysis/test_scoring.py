from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from critic_runs import OPTIONS, save_experiment

from basicsr.adversarial.views import PatchwiseSpectrum
from basicsr.analysis.images import Runtime, list_images, read_image
from basicsr.analysis.quality_critic import load_critic, score_alone
from basicsr.analysis.scorer import ENSEMBLE, CropPlan, Judge, score_images
from basicsr.archs import build_network
from basicsr.processing.filters import gradient_map
from basicsr.utils.errors import DataError, UserError, WeightsError


def brightness(x: torch.Tensor) -> torch.Tensor:
    return x.mean(dim=(1, 2, 3))


def contrast(x: torch.Tensor) -> torch.Tensor:
    return x.std(dim=(1, 2, 3))


def window_mean(path: Path, plan: CropPlan, score=brightness) -> float:
    """The definition: one window at a time."""
    image = read_image(path) / 255
    windows = plan.place_windows(path.name, *image.shape[1:])
    return float(np.mean([score(image[None, :, t : t + h, l : l + w]).item() for t, l, h, w in windows]))  # noqa: E741


@pytest.mark.parametrize(
    "plan", [CropPlan("default"), CropPlan("patchify", (32, 40), 16), CropPlan("random", (48, 32))]
)
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_scores_are_means_over_windows_whatever_the_batch(photos: Path, plan: CropPlan, batch_size: int):
    paths = list_images(photos)
    result = score_images(
        paths, {"a": Judge(brightness, plan), "b": Judge(contrast, plan)}, Runtime(batch_size=batch_size)
    )
    assert result.images == tuple(path.name for path in paths) and not result.bad_files
    for index, path in enumerate(paths):
        assert result.scores["a"][index] == pytest.approx(window_mean(path, plan), rel=1e-5)
        assert result.scores["b"][index] == pytest.approx(window_mean(path, plan, contrast), rel=1e-5)
    np.testing.assert_allclose(result.scores[ENSEMBLE], result.scores["a"] + result.scores["b"])
    assert result.overall == ENSEMBLE


def test_scores_do_not_depend_on_order_company_or_workers(photos: Path, experiment: Path):
    paths = list_images(photos)
    critics = {name: load_critic(experiment, name, img_size=(64, 64)) for name in ("net_d", "net_spectral_d")}
    judges = {name: Judge(critic, CropPlan("random", (64, 64), n_ensemble=3)) for name, critic in critics.items()}
    all_at_once = score_images(paths, judges, Runtime(batch_size=50))
    reversed_order = score_images(paths[::-1], judges, Runtime(batch_size=4, num_workers=2))
    alone = score_images(paths[2:3], judges, Runtime(batch_size=1))
    for critic in critics:
        spread = np.ptp(all_at_once.scores[critic])
        tolerance = 1e-4 * spread
        np.testing.assert_allclose(all_at_once.scores[critic], reversed_order.scores[critic][::-1], atol=tolerance)
        np.testing.assert_allclose(all_at_once.scores[critic][2:3], alone.scores[critic], atol=tolerance)


def test_batch_wide_scaling_is_done_image_by_image(experiment: Path):
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 0.5, 0.2, 0.1]).view(
        4, 1, 1, 1
    )
    critic = load_critic(experiment, "net_spectral_d")
    with torch.no_grad():
        together, alone = critic.net(x), torch.cat([critic.net(x[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(score_alone(critic.net, x), alone)
    assert (together - alone).abs().max() > 1e-3
    torch.testing.assert_close(critic(x), alone.flatten(1).mean(1))
    patchwise = load_critic(experiment, "net_spectral_d", fix_normalize=True)
    with torch.no_grad():
        torch.testing.assert_close(patchwise(x), patchwise.net(x).flatten(1).mean(1))
    assert patchwise.identity != critic.identity


def test_mlp_spectral_critic_is_scored_image_by_image_too():
    torch.manual_seed(0)
    net = build_network({"type": "SpectralDiscriminator", "img_size": 16}).eval()
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(score_alone(net, x), torch.cat([net(part) for part in x.split(1)]))


def test_critics_are_built_for_other_sizes_from_the_same_weights(experiment: Path):
    trained = load_critic(experiment, "net_d")
    larger = load_critic(experiment, "net_d", img_size=(64, 128), window_size=8, name="D")
    assert trained.input_size == (32, 32) and larger.input_size == (64, 128) and larger.critic.name == "D"
    assert larger(torch.rand(2, 3, 64, 128)).shape == (2,)
    assert trained.identity != larger.identity
    with pytest.raises(UserError, match=r"net_d of .*train\.yml cannot be built for these sizes"):
        load_critic(experiment, "net_d", img_size=(62, 62))


def test_critics_that_take_any_size(tmp_path: Path):
    options = {"network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}}
    critic = load_critic(save_experiment(tmp_path / "unet", options), "net_d", img_size=(40, 48))
    assert critic.input_size is None
    maps = critic.net(torch.rand(2, 3, 40, 48))
    assert maps.shape[-2:] == (40, 48)
    x = torch.rand(2, 3, 40, 48)
    with torch.no_grad():
        torch.testing.assert_close(critic(x), critic.net(x).mean(dim=(1, 2, 3)))


def test_weights_are_found_and_misfits_named(experiment: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(experiment, run)
    (run / "models" / "net_d.pth").rename(run / "models" / "net_d_5000.pth")
    shutil.copy(run / "models" / "net_d_5000.pth", run / "models" / "net_d_10000.pth")
    assert load_critic(run, "net_d").identity == load_critic(run, "net_d_5000").identity
    with pytest.raises(WeightsError, match="net_d_7"):
        load_critic(run, "net_d_7")
    with pytest.raises(UserError, match="net_g"):
        load_critic(run, "net_g")
    shutil.copy(run / "models" / "net_spectral_d.pth", run / "models" / "net_d.pth")
    with pytest.raises(WeightsError, match=r"net_d\.pth does not fit SwinTransformer"):
        load_critic(run, "net_d")
    save_experiment(tmp_path / "only_d", {"network_d": OPTIONS["network_d"]})
    with pytest.raises(UserError, match="no network 'net_spectral_d'"):
        load_critic(tmp_path / "only_d", "net_spectral_d")
    (run / "second.yml").write_text("name: x\n")
    with pytest.raises(UserError, match=r"second\.yml, train\.yml"):
        load_critic(run, "net_d")


def test_scoring_goes_on_over_bad_files_and_lists_them(photos: Path, tmp_path: Path):
    for path in list_images(photos)[:3]:
        shutil.copy(path, tmp_path)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((16, 300, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((80, 80, 3), np.uint8))

    def fragile(x: torch.Tensor) -> torch.Tensor:
        return brightness(x) / (brightness(x) > 0)

    judges = {"a": Judge(fragile, CropPlan("random", (32, 32), n_ensemble=2))}
    result = score_images(list_images(tmp_path), judges)
    assert result.images == ("astronaut.png", "astronaut_blur.png", "chelsea.png")
    assert [bad.name for bad in result.bad_files] == ["black.png", "broken.png", "tiny.png"]
    assert "not a finite number" in str(result.bad_files[0]) and "300x16" in str(result.bad_files[2])
    with pytest.raises(DataError, match=r"tiny\.png"):
        score_images([tmp_path / "tiny.png"], judges)


def test_windows_of_many_sizes_do_not_pile_up(tmp_path: Path):
    waiting = []
    for side in range(20, 60):
        cv2.imwrite(str(tmp_path / f"{side}.png"), np.full((side, side, 3), side, np.uint8))

    def spy(x: torch.Tensor) -> torch.Tensor:
        waiting.append(len(x))
        return brightness(x)

    result = score_images(list_images(tmp_path), {"a": Judge(spy, CropPlan("default"))}, Runtime(batch_size=4))
    np.testing.assert_allclose(result.scores["a"] * 255, np.arange(20, 60), rtol=1e-5)
    assert sum(waiting) == 40


def test_ranking_is_from_best_to_worst(photos: Path):
    result = score_images(list_images(photos), {"a": Judge(brightness, CropPlan("default"))})
    ranked = result.scores["a"][result.rank()]
    assert (np.diff(ranked) <= 0).all() and result.overall == "a"


def test_a_critic_of_gradient_maps_is_scored_like_others(tmp_path: Path):
    options = {**OPTIONS, "net_grad_d": OPTIONS["network_d"]}
    run = save_experiment(tmp_path / "spsr", options)
    torch.manual_seed(2)
    net = build_network(options["net_grad_d"]).eval()
    torch.save({"params": net.state_dict()}, run / "models" / "net_grad_d_5.pth")
    critic = load_critic(run, "net_grad_d")
    # Gradient maps of an image with two pixels of padding are two pixels larger than the image.
    assert critic.input_size == (30, 30) and load_critic(run, "net_grad_d", img_size=(62, 62)).input_size == (62, 62)
    x = torch.rand(3, 3, 30, 30, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = net(gradient_map(x, padding=2)).flatten(1).mean(1)
    torch.testing.assert_close(critic(x), expected, rtol=1e-4, atol=1e-5)


def test_a_critic_of_any_name_view_and_network_is_scored_as_if_images_were_alone(tmp_path: Path):
    entry = {"network": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}}
    entry["view"] = {"type": "PatchwiseSpectrum", "patch_size": 8, "fix_normalize": False}
    run = save_experiment(tmp_path / "run", {"critics": {"texture": entry, "d": {"network": OPTIONS["network_d"]}}})
    net = build_network(entry["network"]).eval()
    torch.save({"params": net.state_dict()}, run / "models" / "net_texture_100.pth")
    critic = load_critic(run, "net_texture")
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 0.3, 0.1]).view(
        3, 1, 1, 1
    )
    view = PatchwiseSpectrum(8)
    with torch.no_grad():
        alone = torch.cat([net(view(image[None])).mean().view(1) for image in x])
        assert (net(view(x)).mean(dim=(1, 2, 3)) - alone).abs().max() > 1e-3
    torch.testing.assert_close(critic(x), alone, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="weights must be called net_d or net_spectral_d or net_grad_d or net_texture"):
        load_critic(run, "net_g")


@pytest.mark.parametrize(("damage", "said"), [("type", "needs the key 'type'"), ("depths", "argument 'dgpths'")])
def test_a_damaged_option_file_of_a_run_is_named(damage: str, said: str, tmp_path: Path):
    run = save_experiment(tmp_path / "run")
    file = run / "train.yml"
    file.write_text(
        file.read_text().replace(f"  {damage}:", f"  {damage.replace('type', 'tipe').replace('de', 'dg')}:")
    )
    with pytest.raises(UserError, match=rf"net_d of {re.escape(str(file))}: .*{said}"):
        load_critic(run)
