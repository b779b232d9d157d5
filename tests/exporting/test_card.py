"""``basicsr card``: what the page of a real run says, and that all of it is true."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from statistics import fmean

import cv2
import pytest
import yaml
from tiny_run import close_log_files, write_images, write_options

from basicsr import cli, train
from basicsr.exporting.card import list_differing
from basicsr.exporting.card_run import list_files, read_card_run
from basicsr.options import load_options


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished training."""
    root = tmp_path_factory.mktemp("card")
    file = write_options(root, train={"total_iter": 4}, val={"val_freq": 2}, logger={"print_freq": 1})
    write_images(root / "data/val", 6, 40)
    assert train.main(["-opt", str(file)], root_path=root) == 0
    close_log_files()
    return root


@pytest.fixture(autouse=True)
def workplace(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(finished)
    return finished


def write(*arguments: str) -> str:
    assert cli.main(["card", "tiny", *arguments]) == 0
    target = Path(arguments[arguments.index("-o") + 1]) if "-o" in arguments else Path("experiments/tiny")
    return (target if target.suffix else target / "card.md").read_text(encoding="utf-8")


def test_the_card_is_whole_and_its_links_lead_to_files(capsys: pytest.CaptureFixture[str]) -> None:
    text = write("-o", "out", "--license", "CC0-1.0", "--pictures", "2")
    sections = ["How to use it", "Metrics", "Training", "Examples", "Recipe", "Data", "Origin"]
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == sections
    assert "| licence of the weights | CC0-1.0 |" in text and "| iterations | 4 |" in text
    assert "MSRResNet (num_in_ch 3, num_out_ch 3, num_feat 4, num_block 1, upscale 4)" in text
    digest = hashlib.sha256(Path("experiments/tiny/models/net_g_latest.pth").read_bytes()).hexdigest()
    assert f"`{digest}`" in text and "`params_ema`" in text
    assert "basicsr upscale photo.jpg -m net_g_latest.pth" in text and "basicsr: 2" in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) == 4 and all(link.startswith("card_pictures/") for link in links)
    assert all(Path("out", link).is_file() for link in links)
    for link in links[:3]:
        assert min(cv2.imread(str(Path("out", link))).shape[:2]) > 100
    assert "wrote out/card.md" in capsys.readouterr().out


def test_metrics_come_with_protocol_and_interval() -> None:
    text = write()
    assert "| licence of the weights | not stated |" in text
    images = json.loads(Path("experiments/tiny/summary.json").read_text())
    assert len(images) == 6
    for method, label in (("net_g", "this model"), ("bicubic", "bicubic")):
        mean = fmean(scores[method]["psnr"] for scores in images.values())
        row = re.search(rf"\| tiny_val \| 6 \| {label} \| ([\d.]+) \[([\d.]+), ([\d.]+)\] \|", text)
        assert row and float(row[1]) == pytest.approx(mean, rel=1e-3)
        assert float(row[2]) < float(row[1]) < float(row[3])
    assert re.search(r"^- psnr: PSNR.*8.bit.*4", text, re.MULTILINE)


def test_results_of_tests_are_shown_beside_it(tmp_path: Path) -> None:
    images = {f"{index}.png": {"net_g": {"psnr": 30.0 + index}} for index in range(3)} | {
        "x": {"net_g": {"psnr": None}}
    }
    content = {"Set3": {"protocols": {"psnr": "PSNR of something"}, "images": images}}
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    text = write("--results", str(tmp_path), "-o", str(tmp_path / "my card.md"))
    assert "| Set3 | 4 | this model | 31 (3 of 4) | – |" in text
    assert "- psnr: PSNR of something" in text and "Fewer than 5 images have no interval" in text
    assert "](my%20card_pictures/curves.png)" in text and (tmp_path / "my card_pictures/curves.png").is_file()
    assert cli.main(["card", "tiny", "--results", "nowhere"]) == 3


def test_the_recipe_lists_what_is_not_at_its_default() -> None:
    given = dict(list_differing(load_options("tiny.yml").typed))
    assert given["train.optim_g.lr"] == 1e-3 and given["losses.pix.type"] == "L1Loss"
    assert given["critics.d.network.type"] == "UNetDiscriminatorSN" and given["network_g.num_feat"] == 4
    # Given in the file, and equal to the default.
    assert yaml.safe_load(Path("tiny.yml").read_text())["train"]["pixel_opt"]["reduction"] == "mean"
    assert not [path for path in given if path.endswith("reduction") or path in ("path.models", "root_path")]
    assert "| `train.optim_g.lr` | `0.001` |" in write()


def test_data_are_counted_and_their_digest_tells_names_and_sizes(tmp_path: Path) -> None:
    text = write()
    row = re.search(r"\| `train\.dataroot_gt` \| `\S+/data/train/HR` \| 6 \| [\d.]+ KB \| `([0-9a-f]{16})` \|", text)
    assert row and row[1] == list_files("", "data/train/HR").digest
    write_images(tmp_path, 2, 16)
    first = list_files("x", str(tmp_path / "HR"))
    assert (first.images, list_files("x", "nowhere").images) == (2, None)
    (tmp_path / "HR/00.png").rename(tmp_path / "HR/02.png")
    second = list_files("x", str(tmp_path / "HR"))
    (tmp_path / "HR/01.png").write_bytes(b"other")
    assert len({first.digest, second.digest, list_files("x", str(tmp_path / "HR")).digest}) == 3


def test_one_checkpoint_of_a_run_and_what_is_none(tmp_path: Path) -> None:
    run = read_card_run("experiments/tiny/models/net_g_3.pth")
    assert (run.name, run.weights.name, run.entry) == ("tiny", "net_g_3.pth", "params_ema")
    # Scores and pictures are those of the latest weights.
    assert not run.scores and not run.find_pictures()
    assert cli.main(["card", "experiments/tiny/models/net_g_9.pth"]) == 3
    assert cli.main(["card", "nothing"]) == 2
    alone = tmp_path / "net.pth"
    alone.write_bytes(run.weights.read_bytes())
    assert cli.main(["card", str(alone)]) == 2
