"""``basicsr new photos``: looks at a folder of photographs and at the machine, and writes what a training needs."""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.analysis.arguments import resolve_device
from basicsr.analysis.generators import find_weights_file
from basicsr.data.transforms import mod_crop, reduce_bicubic
from basicsr.preparation.folders import make_folder
from basicsr.preparation.generation_recipes import second_order_recipe
from basicsr.starting.growth import SCALE, grow_compact
from basicsr.starting.photos_file import Recipe, write_photos_file
from basicsr.starting.plan import Plan, find_machine, make_plan, patch_side
from basicsr.starting.sub_images import cut_photographs
from basicsr.starting.survey import SHARE, Photograph, Survey, name_left_out, survey_folder
from basicsr.utils.atomic import atomic_write_json, atomic_write_text
from basicsr.utils.errors import DataError, UserError, count
from basicsr.utils.images import image_to_tensor, read_image, round_to_8_bits, write_png
from basicsr.utils.img_util import tensor2img
from basicsr.utils.meta_info import format_meta_line
from basicsr.weights.architectures import recognise
from basicsr.weights.builtin import BUILTIN, builtin_weights
from basicsr.weights.files import write_tensors
from basicsr.weights.networks import read_weights

logger = logging.getLogger("basicsr")

HELD_OUT_SIDE = 768
"""Largest side of the pieces of held-out pictures, in pixels."""
SLOW_SECONDS = 0.06
"""Mean time to read a picture from which it is worth to cut pictures."""
RECORD = "record.json"


class Place:
    """The option file and the folder of what goes with it.

    Args:
        file: The option file.
        data: The folder of photographs.
        is_forced: Replace what is there.

    Raises:
        UserError: If the file is there, or would lie among the photographs.
        DataError: If nothing can be written there.
    """

    def __init__(self, file: Path, data: Path, is_forced: bool) -> None:
        self.file = file.expanduser().absolute()
        self.folder = self.file.with_name(f"{self.file.stem}_photos")
        if self.file.is_dir():
            raise UserError(f"-o {file} is a folder; name a file in it, such as {file / 'photos.yml'}")
        if self.file.resolve().is_relative_to(data.resolve()):
            raise UserError(f"{self.file} would lie among the photographs; name a file elsewhere with -o")
        # What is in the folder counts from when the file is there, which is written last.
        if self.file.exists() and not is_forced:
            raise UserError(f"{self.file} is there already; choose another with -o, or replace it with --force")
        if (self.folder / RECORD).exists() and not is_forced:
            raise UserError(
                f"{self.folder} is there already, of another option file; choose another name with -o, or replace "
                "it with --force"
            )
        make_folder(self.file.parent)

    @property
    def train_list(self) -> Path:
        """Of the pictures that are trained on."""
        return self.folder / "train.txt"

    @property
    def held_out(self) -> Path:
        """Folder of ``HR`` and ``LQ``."""
        return self.folder / "held_out"


def run_photos(args: argparse.Namespace) -> dict[str, str]:
    """Does what the command line says; returns the next command lines, by what they do."""
    data, name = Path(args.data).expanduser().absolute(), args.name or f"photos_{args.kind}_x{args.scale}"
    if not args.name and args.output:
        name = Path(args.output).stem
    if not data.is_dir():
        raise DataError(f"--data {data}: {'is a file, not a folder' if data.exists() else 'no such folder'}")
    machine = find_machine(resolve_device(args.on_device))
    place = Place(Path(args.output or f"{name}.yml"), data, args.force)
    given = None if args.start == "faithful" else start_from(args.start, args.scale)
    # The pictures.
    survey = survey_folder(data, patch_side(machine, args.scale, args.objective))
    everything = [*survey.train, *survey.held_out]
    largest = max(one.height * one.width for one in everything)
    plan = make_plan(machine, args.scale, args.kind, args.objective, largest)
    network, start, note = given or start_from_faithful(plan, args.scale, place.folder)
    write_held_out(survey, place.held_out, args.scale, args.kind)
    root, images = data, [one.name for one in survey.train]
    if args.cut:
        root = place.folder / "sub_images"
        images = cut_photographs(survey, root)
    atomic_write_text("".join(f"{format_meta_line([name])}\n" for name in images), place.train_list)
    write_record(survey, place.folder / RECORD, args)
    runs = place.file.parent / "experiments"
    commands = list_commands(place, runs / name)
    recipe = Recipe(
        name, args.scale, args.kind, args.objective, plan, machine, root, place.train_list, place.held_out, runs,
        start, note, network, (len(survey.train), len(survey.held_out), len(survey.left_out)), len(images),
        note_speed(survey, plan, args.cut), commands, second_stage(args, data, place, runs / name),
    )  # fmt: skip
    atomic_write_text(write_photos_file(recipe), place.file)
    report(survey, place)
    return commands


def list_commands(place: Place, run: Path) -> dict[str, str]:
    """What to do next, from any folder."""
    file, upscaled = str(place.file), str(place.folder / "upscaled")
    return {
        "check": shlex.join(["basicsr", "train", "-opt", file, "--check"]),
        "train": shlex.join(["basicsr", "train", "-opt", file]),
        "upscale": shlex.join(["basicsr", "upscale", str(place.held_out / "LQ"), "-m", str(run), "-o", upscaled]),
    }


def second_stage(args: argparse.Namespace, data: Path, place: Place, run: Path) -> str:
    """The command line that writes a file with critics, which goes on from this run."""
    file = place.file.with_name(f"{place.file.stem}_dualformer.yml")
    head = ["basicsr", "new", "photos", "--data", str(data), "--scale", str(args.scale), "--kind", args.kind]
    head += ["--cut"] * bool(args.cut) + (["--device", args.on_device] if args.on_device != "auto" else [])
    return shlex.join([*head, "--objective", "dualformer", "--start", str(run), "-o", str(file)])


def note_speed(survey: Survey, plan: Plan, is_cut: bool) -> list[str]:
    """What is to be said of the time that reading pictures takes."""
    seconds = float(np.mean([one.seconds for one in survey.train]))
    if is_cut or seconds < SLOW_SECONDS:
        return []
    batch = seconds * plan.batch / max(1, plan.workers)
    text = f"Reading a picture takes {1000 * seconds:.0f} ms here, a batch {batch:.1f} s; with --cut it takes a tenth."
    logger.warning("%s --cut makes sub-images once, as PNG files", text)
    return [text]


def write_held_out(survey: Survey, folder: Path, scale: int, kind: str) -> None:
    """Writes the middle of each held-out picture to ``HR``, and what is to be enlarged to ``LQ``, as 8-bit PNG."""
    for part in ("HR", "LQ"):
        for former in (folder / part).glob("*.png"):
            former.unlink()
    recipe = second_order_recipe(scale, survey.seed)
    for one in survey.held_out:
        image = round_to_8_bits(read_image(survey.folder / one.name))
        height, width = (min(side, HELD_OUT_SIDE) for side in image.shape[:2])
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        hr = np.ascontiguousarray(mod_crop(image[top : top + height, left : left + width], scale))
        if kind == "clean":
            lq = reduce_bicubic(hr, scale)
        else:
            drawn = recipe.draw(one.digest, *hr.shape[:2])
            lq = tensor2img(recipe.degrade(image_to_tensor(hr)[None], drawn))
        for part, made in (("HR", hr), ("LQ", lq)):
            write_png(made, folder / part / f"{unique_stem(one)}.png")


def unique_stem(one: Photograph) -> str:
    """A file name for a picture of any sub-folder."""
    return f"{Path(one.name).stem[:60]}_{one.digest[:6]}"


def write_record(survey: Survey, file: Path, args: argparse.Namespace) -> None:
    """Writes what became of each picture, and by which rule."""
    rule = f"the first {SHARE:.0%} by SHA-256 of '{survey.seed} DIGEST', where DIGEST is that of the 8-bit BGR pixels"
    digests: dict[str, Mapping[str, str]] = {
        key: {one.name: one.digest for one in part}
        for key, part in (("held_out", survey.held_out), ("train", survey.train))
    }
    settings: dict[str, Any] = {"folder": str(survey.folder), "scale": args.scale, "kind": args.kind}
    atomic_write_json({**settings, "seed": survey.seed, "rule": rule, **digests, "left_out": survey.left_out}, file)


Start = tuple[dict[str, Any], str, str]
"""The generator's block, the weights that it begins with, and what these are."""


def start_from(wanted: str, scale: int) -> Start:
    """Begins with the weights of a network as ``basicsr upscale -m`` takes them.

    Raises:
        UserError: If the weights are missing, or those of an unknown network or another scale.
    """
    file = find_weights_file(wanted)
    block = recognise(read_weights(file, prefer="params_ema"))
    if block is None:
        raise UserError(f"--start {wanted}: the network of {file} is not known; name another one")
    found = block.get("upscale", block.get("scale", SCALE))
    if found != scale:
        raise UserError(f"--start {wanted} enlarges ×{found}, not ×{scale}; choose another, or --scale {found}")
    start = wanted if wanted in BUILTIN else str(file)
    return dict(block), start, "Goes on from these weights, whose network this is (--start)."


def start_from_faithful(plan: Plan, scale: int, folder: Path) -> Start:
    """Begins with the shipped network, grown to the sizes of a plan; grown weights go into the folder."""
    block = {
        "type": "SRVGGNetCompact",
        "num_in_ch": 3,
        "num_out_ch": 3,
        "num_feat": plan.num_feat,
        "num_conv": plan.num_conv,
        "upscale": scale,
        "act_type": "prelu",
    }
    source = builtin_weights("faithful")
    state = read_weights(source)
    if recognise(state) == block:
        note = "Starts from `faithful`, the network that the package ships (docs/default_network.md)."
        return block, "faithful", note
    grown = folder / "start.safetensors"
    write_tensors(grow_compact(state, plan.num_feat, plan.num_conv, scale), grown, {}, "params")
    averaged = ", averaged over 2×2 pixels" if scale != SCALE else ""
    note = f"Starts from `faithful`, the ×{SCALE} network of the package, grown to this size: its pictures are the same"
    return block, str(grown), f"{note}{averaged}."


def report(survey: Survey, place: Place) -> None:
    """Says what was found and written."""
    total = sum(map(len, (survey.train, survey.held_out, survey.left_out)))
    parts = f"{len(survey.train)} to train on, {len(survey.held_out)} held out, {len(survey.left_out)} left out"
    logger.info("%s: %s, %s", survey.folder, count(total, "picture"), parts)
    for line in name_left_out(survey.left_out):
        logger.info("  left out: %s", line)
    logger.info("wrote %s and %s", place.file, place.folder)
