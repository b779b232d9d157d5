"""Outputs, gradients and state of every architecture against the original implementation."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import torch
from golden_cases import GOLDEN, Case, case_names, load_case, seeded_state
from torch import Tensor, nn

from basicsr.archs import SpectralDiscriminator, build_network

SPECIAL = {"arch_swin_reload_resized", "arch_mlp_reduced_spectrum"}
PLAIN = [name for name in case_names("arch_") if name not in SPECIAL]
TRAINED = {"arch_unet_sn", "arch_unet_sn_nosn", "arch_mlpmixer_sn", "arch_vggstyle128"}


def build(case: Case) -> nn.Module:
    config = case.config
    seed = config.pop("param_seed", None)
    net = build_network(config)
    if seed is None:
        net.load_state_dict(case.state_dict(case.info["params"]), strict=True)
    else:
        seeded_state(net, seed)
    return net


def read_images(case: Case) -> Tensor:
    if "in.x" in case.arrays:
        return case.tensor("in.x")
    return case.tensor("in.img_uint8").permute(2, 0, 1)[None].float() / 255


def differentiate(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = net(x)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    return y.detach(), gradient


@pytest.mark.parametrize("name", PLAIN)
def test_evaluation_mode_gives_golden_output_and_gradient(name: str) -> None:
    case = load_case(name)
    y, gradient = differentiate(build(case).eval(), read_images(case))
    case.check(y, "out.y" if "out.y" in case.arrays else "out.y_eval")
    found = {"out.grad": gradient, "out.grad_eval": gradient, "out.grad_eval_sub": gradient[..., ::8, ::8]}
    present = [key for key in found if key in case.arrays]
    assert present
    for key in present:
        case.check(found[key], key)


@pytest.mark.parametrize("name", [name for name in PLAIN if name.startswith("arch_specd2d")])
def test_spectral_discriminator_sees_the_golden_map(name: str) -> None:
    case = load_case(name)
    net, x = build(case).eval(), case.tensor("in.x")
    case.check(net.transform(x), "out.spectrum")
    case.check(net(x[:1]), "out.y_first_alone")


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_training_mode_advances_state_as_published(name: str) -> None:
    case = load_case(name)
    net, x = build(case).train(), read_images(case)
    if name == "arch_mlpmixer_sn":
        net.eval()(x)
        net.train()
    with torch.no_grad():
        for key in ("out.y_train", "out.y_train1", "out.y_train2"):
            if key in case.arrays:
                case.check(net(x), key)
    state = net.state_dict()
    for key in case.arrays:
        if key.startswith(("out.after/", "out.after2/")):
            case.check(state[key.split("/", 1)[1]], key)


def test_ring_averaged_spectrum_through_the_mlp() -> None:
    case = load_case("arch_mlp_reduced_spectrum")
    options = {key: case.config[key] for key in ("reduction", "window", "fix_normalize", "scale")}
    net = SpectralDiscriminator(img_size=16, hidden_channels=case.config["hidden_channels"], **options)
    net.load_state_dict(case.state_dict("param.d/"), strict=True)
    case.check(net.transform(case.tensor("in.x")), "out.spectrum")
    case.check(net(case.tensor("in.x")), "out.y")


def test_resized_state_dict_gives_golden_tables_and_output() -> None:
    case = load_case("arch_swin_reload_resized")
    net = build_network(case.config["loaded"]).eval()
    net.load_state_dict(case.state_dict("param.d/"), strict=True)
    for key in case.arrays:
        if key.startswith("out.loaded/"):
            case.check(net.state_dict()[key.removeprefix("out.loaded/")], key)
    y, gradient = differentiate(net, case.tensor("in.x"))
    case.check(y, "out.y")
    case.check(gradient[..., ::4, ::4], "out.grad_sub")


def test_spsr_generator_gives_golden_first_losses() -> None:
    case = load_case("train_spsr")
    seeds = case.config["seeded_nets"]["g"]
    net = build_network(case.config["opt"]["network_g"])
    assert list(net.state_dict()) == case.info["digest_keys"]["g"]
    seeded_state(net, seeds["seed"], seeds["gain"], seeds["bias_std"])
    with torch.no_grad():
        branch, sr, _ = net(case.tensor("in.lq/1"))
        gt = case.tensor("in.gt/1")
        case.check(0.01 * (sr - gt).abs().mean(), "out.log/1/l_g_pix")
        case.check(0.5 * (branch - net.get_g_nopadding(gt)).abs().mean(), "out.log/1/l_g_pix_grad_branch")


@cache
def published_state(config: str) -> tuple[dict[str, list[Any]], int]:
    with torch.device("meta"):
        net = build_network(json.loads(config))
    state = {
        key: [list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in net.state_dict().items()
    }
    return state, sum(parameter.numel() for parameter in net.parameters())


def published_networks() -> list[tuple[str, str]]:
    table = json.loads((GOLDEN / "state_dict_keys.json").read_text())
    return [(recipe, net) for recipe, entry in table.items() for net in entry if net != "model_type"]


@pytest.mark.parametrize(("recipe", "network"), published_networks())
def test_published_state_dict_names_shapes_and_counts(recipe: str, network: str) -> None:
    table = json.loads((GOLDEN / "state_dict_keys.json").read_text())
    entry = table[recipe][network]
    expected = entry["state_dict"]
    if isinstance(expected, str):
        other_recipe, other_network = expected.removeprefix("same as ").split(":")
        expected = table[other_recipe][other_network]["state_dict"]
    found, num_parameters = published_state(json.dumps(entry["config"]))
    assert found == expected
    assert list(found) == list(expected)
    assert len(found) == entry["num_tensors"]
    assert num_parameters == entry["num_parameters"]
