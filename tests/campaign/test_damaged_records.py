"""What the program has written down for itself may be damaged: the next command does without it, or names it."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from campaign_plan import Plan, Tally
from critic_runs import QUIET, save_experiment
from forks import Case, run_cases
from gated_run import prepare
from odd_files import PHOTOGRAPH
from PIL import Image
from test_damage import damage
from test_odd_files import run_script

from basicsr import cli, train
from basicsr.cli import run_parsed
from basicsr.commands import build_command_parser
from basicsr.preparation.downloads import download_dataset

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(0)]

WHOLE = 120
ZIP = "datasets/archives/OST_dataset.zip"


@dataclass(frozen=True)
class Record:
    """A file that one call of a command writes and the next one reads.

    Attributes:
        file: The file, in the folder that ``make`` fills.
        make: Makes all that the command needs, and the file.
        use: The command that reads it.
        results: What the command must leave as it leaves it beside a sound file.
    """

    file: str
    make: Callable[[], object]
    use: Callable[[], int]
    results: Sequence[str] = ()


def run_here(name: str, *arguments: str) -> int:
    """A script's exit code, without leaving this process."""
    try:
        return run_script(name, *arguments)
    except SystemExit as end:
        return int(end.code or 0)


def write_pictures() -> None:
    os.mkdir("pictures")
    for index in range(3):
        Image.fromarray(PHOTOGRAPH).rotate(90 * index).save(f"pictures/{index}.png")


def cut() -> int:
    return run_here(
        *("data_preparation/extract_subimages.py", "--input", "pictures", "--output", "subs"),
        *("--crop_size", "48", "--step", "48"),
    )


GENERATED = ("generate_realesrgan_dataset.py", "--input", "pictures", "--num_workers", "0")


def generate() -> int:
    return run_here(*GENERATED, "--hr_folder", "hr", "--lr_folder", "lr", "--scale", "4")


def reproduce() -> int:
    return run_here(*GENERATED, "--hr_folder", "hr2", "--lr_folder", "lr2", "--reproduce", "lr_manifest.json")


def probe() -> int:
    return run_parsed(
        lambda: build_command_parser("spectrum robustness"),
        ["--experiment_name", "experiments/dual", "--net", "S", "--input", "pictures", "--input_size", "32"]
        + ["--divide", "4", "--formats", "png", *QUIET],
    )


def measure_bands() -> int:
    return cli.main(
        [
            "spectrum",
            "bands",
            "--gt",
            "pictures",
            "--formats",
            "png",
            "--output",
            "bands",
            "--model_path",
            "bicubic",
            *QUIET,
        ]
    )


def write_run() -> None:
    file = prepare(Path.cwd())
    options = yaml.safe_load(file.read_text())
    options["datasets"]["train"] |= {"dataroot_gt": "data/train/HR", "num_worker_per_gpu": 0}
    for key in ("dataroot_gt", "dataroot_lq"):
        options["datasets"]["val"][key] = f"data/val/{key[-2:].upper().replace('GT', 'HR').replace('LQ', 'LR')}"
    options["val"] |= {"val_freq": 2, "spectra": True}
    options["train"]["total_iter"], options["logger"]["save_checkpoint_freq"] = 4, 2
    file.write_text(yaml.safe_dump(options))


def run() -> int:
    return train.main(["-opt", "tiny.yml", "--auto_resume"], Path.cwd())


def write_longer_run() -> None:
    write_run()
    run()
    text = Path("tiny.yml").read_text()
    Path("tiny.yml").write_text(text.replace("total_iter: 4", "total_iter: 6"))


def write_held_run() -> None:
    write_run()
    Path("experiments").mkdir()
    Path("experiments/.tiny.lock").write_text(
        '{"token": "0123456789abcdef", "host": "another", "machine": "m", "pid": 23, "started": "12345"}'
    )


def start() -> int:
    return train.main(["-opt", "tiny.yml"], Path.cwd())


def write_parts_run() -> None:
    write_run()
    Path("odd.py").write_text("from basicsr.losses import LOSS_REGISTRY\n\nVALUES = [1, 2, 3]\n")
    Path("tiny.yml").write_text("imports: [odd.py]\n" + Path("tiny.yml").read_text())


def check() -> int:
    return train.main(["-opt", "tiny.yml", "--check"], Path.cwd())


def export() -> int:
    return cli.main(["export", "experiments/tiny/models/net_g_latest.pth", "-o", "g.safetensors"])


def score_run() -> int:
    return cli.main(["score", "pictures", "-m", "experiments/dual", "--n_ensemble", "1", "--formats", "png", *QUIET])


def pack() -> None:
    write_pictures()
    os.makedirs("datasets/archives")
    with zipfile.ZipFile(ZIP, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in Path("pictures").iterdir():
            archive.write(path)


def unpack() -> int:
    from basicsr.engine.exits import run_to_exit_code

    return run_to_exit_code(lambda: download_dataset("OST", progress=False) and 0)


def both(*steps: Callable[[], object]) -> Callable[[], object]:
    return lambda: [step() for step in steps]


RECORDS = (
    Record("subs_manifest.jsonl", both(write_pictures, cut), cut, ["subs/*.png"]),
    Record("lr_manifest/0.json", both(write_pictures, generate), generate, ["lr/*.png", "hr/*.png"]),
    Record("lr_manifest.json", both(write_pictures, generate), reproduce),
    Record(
        "experiments/dual/robustness/cache/*.npz",
        both(write_pictures, lambda: save_experiment(Path("experiments/dual")), probe),
        probe,
        ["experiments/dual/robustness/S.csv"],
    ),
    Record("bands.json", both(write_pictures, measure_bands), measure_bands, ["bands.csv"]),
    Record("experiments/tiny/spectra.jsonl", write_longer_run, run),
    Record("experiments/tiny/summary.json", write_longer_run, export),
    Record("experiments/.tiny.lock", write_held_run, start),
    Record("odd.py", write_parts_run, check),
    Record(
        "experiments/dual/train.yml", both(write_pictures, lambda: save_experiment(Path("experiments/dual"))), score_run
    ),
    Record(
        ZIP,
        pack,
        unpack,
        ["datasets/OST/*/*.png", "datasets/OST/*.png"],
    ),
)


def read_results(record: Record) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for pattern in record.results for path in sorted(Path().glob(pattern))}


def make(record: Record) -> int:
    record.make()
    (found,) = Path().glob(record.file)
    Path("record.txt").write_text(str(found))
    return 0


def use(record: Record, made: Path, content: bytes, sound: Path) -> int:
    """Runs the command beside a changed file; 4: the results differ from those beside the sound one."""
    shutil.copytree(made, ".", dirs_exist_ok=True, symlinks=True)
    file = Path(Path("record.txt").read_text())
    stamp = file.stat()
    file.write_bytes(content)
    os.utime(file, (stamp.st_atime, stamp.st_mtime))
    code = record.use()
    if code:
        return code
    found = read_results(record)
    os.chdir(sound)
    return 0 if found == read_results(record) else 5


def test_damaged_records_are_done_without_or_named(plan: Plan, tally: Callable[[str], Tally], tmp_path: Path) -> None:
    chosen = RECORDS[: plan.count(WHOLE)]
    making = [Case(record.file, lambda record=record: make(record)) for record in chosen]
    for end in run_cases(making, tmp_path / "made", timeout=300):
        assert end.code == 0, f"{end.case.label}: {end.text}"
    # A command may add to what it reads, so each has a folder that it was run in beside the sound file.
    using = []
    for number, record in enumerate(chosen):
        made = tmp_path / "made" / str(number)
        file = made / (made / "record.txt").read_text()
        content = file.read_bytes()
        using.append(Case(record.file, lambda r=record, m=made, c=content: use(r, m, c, Path.cwd())))
    for end in run_cases(using, tmp_path / "sound", timeout=300):
        assert not end.fault, f"{end.case.label}: {end.text}"
    cases, kinds = [], {}
    for index, generator in enumerate(plan.draw("records", WHOLE)):
        number = index % len(RECORDS)
        record, made = RECORDS[number], tmp_path / "made" / str(number)
        content, note = damage((made / (made / "record.txt").read_text()).read_bytes(), generator)
        label = f"seed {plan.seed}, {index} ({record.file}: {note})"
        work = lambda r=record, m=made, c=content, n=number: use(r, m, c, tmp_path / "sound" / str(n))  # noqa: E731
        cases.append(Case(label, work))
        kinds[label] = record
    counts = tally("damaged records of the program's own")
    for end in run_cases(cases, tmp_path / "runs", timeout=300):
        name = Path(kinds[end.case.label].file).stem.lstrip(".*")
        if end.code == 5 or end.fault:
            counts.lose(end.case.label, end.fault if end.code != 5 else "other results")
        elif end.code and name not in end.text:
            counts.lose(end.case.label, f"exit code {end.code} without a name: {end.text[-300:]}")
        else:
            counts.add("named" if end.code else "right")
    counts.demand_none_lost()
