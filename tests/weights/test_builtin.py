"""The networks that the package ships: sound, small, open elsewhere, better than interpolation, and true to colours."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch

from basicsr.analysis.generators import Generator, load_generator
from basicsr.archs import build_network
from basicsr.data.transforms import reduce_bicubic
from basicsr.metrics import calculate_psnr, calculate_spectral_distance
from basicsr.preparation.photographs import load_photograph
from basicsr.utils.errors import DataError, UserError, WeightsError
from basicsr.utils.images import read_image
from basicsr.weights import load_weights, read_weights
from basicsr.weights.builtin import BUILTIN, builtin_weights
from basicsr.weights.files import read_metadata

SCRIPTS = Path(__file__).parents[2] / "scripts" / "default_network"
LISTED = json.loads((SCRIPTS / "photographs.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def held_out() -> tuple[np.ndarray, np.ndarray]:
    """A photograph that the networks have not seen, and its reduction."""
    image = load_photograph("astronaut")[:256, 96:352]
    return image, reduce_bicubic(image, 4)


def enlarge(spec: str, lq: np.ndarray) -> np.ndarray:
    import evaluate

    model = load_generator(spec, 4)
    assert isinstance(model, Generator)
    return evaluate.enlarge(model, lq)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_file_says_what_it_is_and_is_small(name: str) -> None:
    file = builtin_weights(name)
    assert file.stat().st_size <= 3_000_000
    said = read_metadata(file)
    assert said["scale"] == "4" and json.loads(said["recipe"])["name"] == f"default_{name}_x4"
    load_weights(build_network(json.loads(said["architecture"])), read_weights(file))


@pytest.mark.parametrize("name", BUILTIN)
def test_spandrel_opens_a_file_with_the_same_output(name: str) -> None:
    spandrel = pytest.importorskip("spandrel")
    image = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    theirs = spandrel.ModelLoader(device="cpu").load_from_file(builtin_weights(name))
    ours = load_generator(str(builtin_weights(name)), 4)
    assert theirs.scale == 4
    assert isinstance(ours, Generator)
    torch.testing.assert_close(theirs(image).detach().clamp(0, 1), ours(image), rtol=0, atol=1e-5)


def test_on_a_held_out_photograph_they_do_what_their_names_say(held_out: tuple[np.ndarray, np.ndarray]) -> None:
    gt, lq = held_out
    specs = {"bicubic": "bicubic", **{name: str(builtin_weights(name)) for name in BUILTIN}}
    images = {name: enlarge(spec, lq) for name, spec in specs.items()}
    psnr = {name: calculate_psnr(image, gt, crop_border=4, test_y_channel=True) for name, image in images.items()}
    distance = {name: calculate_spectral_distance(image, gt, crop_border=4) for name, image in images.items()}
    assert psnr["faithful"] > psnr["bicubic"] + 1.5
    assert psnr["dualformer"] > psnr["bicubic"] + 0.5
    assert distance["dualformer"] < distance["faithful"] < distance["bicubic"]


@pytest.mark.parametrize("name", BUILTIN)
def test_colours_are_those_of_the_input(name: str, held_out: tuple[np.ndarray, np.ndarray]) -> None:
    import evaluate

    # The microscope's purple and saturated flat colours, which few photographs have, beside a photograph.
    flat = np.zeros((24, 24, 3), np.uint8)
    flat[:, :] = (250, 20, 120)
    stained = reduce_bicubic(load_photograph("immunohistochemistry")[:128, :128], 4)
    for lq in (held_out[1], stained, flat, flat[:, :, ::-1]):
        assert evaluate.colour_difference(enlarge(str(builtin_weights(name)), np.ascontiguousarray(lq)), lq) < 2


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(WeightsError, match=r"faithfull.*did you mean faithful"):
        builtin_weights("faithfull")


def test_the_list_of_photographs_keeps_some_out_of_each_source() -> None:
    entries = LISTED["photographs"]
    assert len({entry["sha256"] for entry in entries}) == len({entry["name"] for entry in entries}) == len(entries)
    held = [entry for entry in entries if entry["part"] == "held_out"]
    assert len(held) >= 5 and {entry["package"] for entry in held} == set(LISTED["versions"])
    assert all(entry["author"] and entry["licence"] for entry in entries)


def test_listed_pictures_of_scikit_image_are_those_that_it_ships() -> None:
    for entry in LISTED["photographs"]:
        if entry["package"] == "scikit-image":
            content = (Path(skimage.__file__).parents[1] / entry["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == entry["sha256"]


def test_prepared_pairs_are_whole_when_held_out_and_detailed_when_trained_on(tmp_path: Path) -> None:
    import prepare

    image = np.zeros((192, 352, 3), np.uint8)
    image[:, 224:] = np.random.default_rng(0).integers(0, 256, (192, 128, 3))
    assert prepare.write_pairs({"name": "a", "part": "held_out"}, image, tmp_path) == 1
    np.testing.assert_array_equal(read_image(tmp_path / "held_out/HR/a.png"), image)
    # The first of the two sub-images is flat: it teaches nothing.
    assert prepare.write_pairs({"name": "a", "part": "train"}, image, tmp_path) == 1
    np.testing.assert_array_equal(read_image(tmp_path / "train/HR/a_s002.png"), image[:, 160:])
    assert read_image(tmp_path / "train/LR_bicubic/X4/a_s002.png").shape == (48, 48, 3)


def test_preparing_names_a_package_that_is_missing_and_a_picture_that_is_another(tmp_path: Path) -> None:
    import prepare

    with pytest.raises(UserError, match="apt-get download mate-backgrounds"):
        prepare.unpack(tmp_path, "mate-backgrounds", tmp_path)
    entry = next(entry for entry in LISTED["photographs"] if entry["package"] == "scikit-image")
    with pytest.raises(DataError, match=r"photographs\.json lists"):
        prepare.read_listed(entry, {"scikit-image": tmp_path})
