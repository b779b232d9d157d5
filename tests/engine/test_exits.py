"""Ctrl-C while modules are loaded ends every command with one line, as it does later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import PROJECT, environment

# Missing flags are answered before anything is loaded.
FLAGS = {
    "check_dataset": "--gt photos",
    "create_lmdb": "--input photos --output photos.lmdb",
    "download_datasets": "Set5",
    "generate_hgd_dataset": "--input photos --hr_folder HR --lr_folder LR",
    "generate_meta_info": "--input photos --meta_info meta.txt",
    "generate_multiscale_DF2K": "--input photos --output smaller",
    "generate_realesrgan_dataset": "--input photos --hr_folder HR --lr_folder LR",
    "estimate_spectral_statistics": "--input photos --experiment_name x",
    "plot_spectral_profile": "--stats a=x.pth",
    "robustness_analysis_under_frequency_perturbation_ensemble": "--experiment_name x --net a --net2 b",
    "test_iqa": "--experiment_name x --test_set photos --test_set_guider guide.csv --test_set_name S",
}
COMMANDS = [
    "basicsr/train.py -opt x.yml",
    "basicsr/test.py -opt x.yml",
    "basicsr/cli.py score photos -m x",
    "basicsr/cli.py train -opt x.yml",
    *(
        f"{path.relative_to(PROJECT)} {FLAGS.get(path.stem, '')}"
        for pattern in ("scripts/*.py", "scripts/data_preparation/*.py")
        for path in sorted(PROJECT.glob(pattern))
    ),
    "scripts/study/study.py",
]

SIGNALLED_IMPORT = """
import os, runpy, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "numpy", "cv2"):
            try:
                os.kill(os.getpid(), number)
            except KeyboardInterrupt:
                pass  # as some libraries do

sys.meta_path.insert(0, Interrupt())
number, script = getattr(signal, sys.argv[1]), sys.argv[2]
sys.argv[:] = sys.argv[2:]
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("number", "command"),
    [
        *((name, COMMANDS[0]) for name in ("SIGTERM", "SIGHUP", "SIGUSR1")),
        *(("SIGINT", command) for command in COMMANDS),
    ],
)
def test_ctrl_c_while_libraries_load_ends_with_one_line(number: str, command: str, tmp_path: Path) -> None:
    script, *arguments = command.split()
    program = [sys.executable, "-c", SIGNALLED_IMPORT, number, str(PROJECT / script), *arguments]
    ended = subprocess.run(program, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False)
    assert (ended.returncode, ended.stderr, ended.stdout) == (130, "Interrupted.\n", "")
