"""What a machine and an installation are like, and what is wrong with them; works where PyTorch cannot be imported."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import basicsr
from basicsr.utils.arguments import available_cores
from basicsr.utils.errors import first_line
from basicsr.utils.source_tree import find_commit

REQUIRED = {
    "torch": ("torch", "2.4"),
    "torchvision": ("torchvision", "0.19"),
    "numpy": ("numpy", "1.24"),
    "scipy": ("scipy", "1.10"),
    "opencv-python-headless": ("cv2", "4.8"),
    "Pillow": ("PIL", "10"),
    "PyYAML": ("yaml", "6.0"),
    "pydantic": ("pydantic", "2.12"),
    "lmdb": ("lmdb", "1.4"),
    "tensorboard": ("tensorboard", "2.14"),
    "google-crc32c": ("google_crc32c", "1.5"),
    "tqdm": ("tqdm", "4.65"),
    "torchmetrics": ("torchmetrics", "1.4"),
    "safetensors": ("safetensors", "0.4"),
    "matplotlib": ("matplotlib", "3.7"),
    "scikit-image": ("skimage", "0.22"),
    "tifffile": ("tifffile", "2022.8.12"),
}
"""Distributions of ``requirements.txt``, each with the module that it brings and its lowest version."""

LEAST_DISK = 2**30
LEAST_MEMORY = 2 * 2**30
LEAST_SHARED = 256 * 2**20
"""Bytes below which a small training fails: of disk, of memory, and of what loading processes hand over images in."""

_INSTALL = "install this one from its checkout: pip install -e ."


@dataclass
class Diagnosis:
    """What was found.

    Attributes:
        facts: Values by section and name, fit for JSON.
        numbers: Estimates of a training as plain numbers, for programs.
        problems: What is wrong, each with what to do.
    """

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def format(self) -> str:
        """Sections of ``name  value`` lines, then the problems."""
        lines = []
        for section, facts in self.facts.items():
            column = max(map(len, facts), default=0) + 2
            lines += [f"{section}:", *(f"  {name.ljust(column)}{value}" for name, value in facts.items()), ""]
        problems = [f"  - {problem}" for problem in self.problems]
        return "\n".join([*lines, "problems:", *problems] if problems else [*lines, "no problems"])


def examine(folder: Path) -> Diagnosis:
    """Looks at the installation and the machine.

    Args:
        folder: Where runs go; it need not exist.
    """
    found = Diagnosis()
    found.facts["versions"] = _examine_versions(found.problems)
    found.facts["this package"] = _examine_package(found.problems)
    found.facts["extras"] = dict(_list_extras())
    found.facts["devices"] = _examine_devices(found.problems)
    found.facts["room"] = _examine_room(folder, found.problems)
    return found


# --- software ---------------------------------------------------------------------------------------------------------


def _examine_versions(problems: list[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {"python": f"{platform.python_version()} ({sys.executable})", "system": platform.platform()}
    for name, (module, least) in REQUIRED.items():
        version, error = _find_version(name, module)
        facts[name] = version or "missing"
        if error:
            problems.append(f"{name} {version} cannot be imported ({error}): pip install --force-reinstall {name}")
        elif not version:
            problems.append(f"{name} is missing: pip install '{name}>={least}'")
        elif _numbers(version) < _numbers(least):
            problems.append(f"{name} {version} is too old: pip install --upgrade '{name}>={least}'")
    return facts


def _find_version(name: str, module: str) -> tuple[str, str]:
    """A distribution's version, empty if it is not there, and why its module cannot be imported."""
    version = ""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        # Another distribution may bring the same module, as opencv-python does.
        if importlib.util.find_spec(module) is None:
            return "", ""
    try:
        imported = importlib.import_module(module)
    except Exception as error:
        return version, first_line(error)
    return version or str(getattr(imported, "__version__", "unknown")), ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])


def _list_extras() -> Iterator[tuple[str, str]]:
    """Names of extras, and which of their distributions are there."""
    try:
        requirements = importlib.metadata.requires("basicsr") or []
    except importlib.metadata.PackageNotFoundError:
        return
    extras: dict[str, list[str]] = {}
    for text in requirements:
        match = re.match(r"([\w.-]+).*extra *== *[\"'](\w+)[\"']", text)
        if match and match[2] not in ("test", "dev"):
            extras.setdefault(match[2], []).append(match[1])
    for extra, names in extras.items():
        yield extra, ", ".join(f"{name} {_state_of(name)}" for name in names)


def _state_of(distribution: str) -> str:
    try:
        version = importlib.metadata.version(distribution)
        top = importlib.metadata.distribution(distribution).read_text("top_level.txt") or distribution.replace("-", "_")
        importlib.import_module(top.split()[0])
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
    except Exception as error:
        return f"{version}, which cannot be imported ({first_line(error)})"
    return version


def _examine_package(problems: list[str]) -> dict[str, Any]:
    """This package, and whatever else is called ``basicsr`` and could be taken for it."""
    home = Path(basicsr.__file__).resolve().parent
    facts: dict[str, Any] = {"version": basicsr.__version__, "folder": str(home), "commit": find_commit() or "-"}
    for other in importlib.metadata.distributions(name="basicsr"):
        if other.version != basicsr.__version__:
            problems.append(
                f"basicsr {other.version} is installed, too, another project's package of this name: "
                f"pip uninstall basicsr, then {_INSTALL}"
            )
    for entry in dict.fromkeys(Path(entry or ".").resolve() for entry in ["", *sys.path]):
        folder = entry / "basicsr"
        if (folder / "__init__.py").is_file() and folder.resolve() != home:
            problems.append(
                f"{folder} is another basicsr, which is imported instead of {home} where {entry} comes first: work in "
                "another folder, rename it, or uninstall it"
            )
    command = shutil.which("basicsr")
    facts["command"] = command or "not on PATH: python -m basicsr does the same"
    if command and (owner := _python_of(Path(command))) and owner.parent != Path(sys.executable).parent:
        problems.append(f"{command} belongs to {owner}, not to {sys.executable}: activate one environment")
    return facts


def _python_of(command: Path) -> Path | None:
    """The interpreter that a command's first line names, if it names one."""
    try:
        line = command.read_bytes().partition(b"\n")[0].decode()
    except (OSError, UnicodeDecodeError):
        return None
    return Path(line[2:].split()[0]) if line.startswith("#!/") and "python" in line.split()[0] else None


# --- hardware ---------------------------------------------------------------------------------------------------------


def _examine_devices(problems: list[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {"processor cores": f"{available_cores()} of {os.cpu_count()} for this process"}
    try:
        import torch
    except Exception:
        return facts  # said among the versions
    facts["PyTorch's threads"] = torch.get_num_threads()
    driver = _find_driver()
    facts["NVIDIA driver"] = driver or "none"
    if not torch.cuda.is_available():
        facts["CUDA"] = "none"
        if driver:
            remedy = "see https://pytorch.org/get-started for a build with CUDA that this driver can run"
            problems.append(f"PyTorch {torch.__version__} does not see the GPU of driver {driver}: {remedy}")
    for index in range(torch.cuda.device_count()):
        try:
            properties = torch.cuda.get_device_properties(index)
            free, total = torch.cuda.mem_get_info(index)
        except RuntimeError as error:
            problems.append(
                f"cuda:{index} cannot be used ({first_line(error)}): end what else uses it (nvidia-smi lists it)"
            )
            continue
        facts[f"cuda:{index}"] = f"{properties.name}, {_gib(free)} of {_gib(total)} free"
        kind = f"sm_{properties.major}{properties.minor}"
        known = torch.cuda.get_arch_list()
        if known and not any(kind[:4] == each[:4] for each in known):
            problems.append(f"PyTorch {torch.__version__} has no code for {properties.name} ({kind}): upgrade PyTorch")
        if free < LEAST_MEMORY:
            problems.append(f"cuda:{index} has {_gib(free)} free: end what else uses it (nvidia-smi lists it)")
    if torch.backends.mps.is_available():
        facts["MPS"] = "there; upscaling and analyses take it with --device mps, training does not"
    return facts


def _find_driver() -> str:
    """Version of NVIDIA's driver; empty if there is none."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return ""
    match = re.search(r"\d+\.\d+(\.\d+)?", text)
    return match[0] if match else "unknown"


def _examine_room(folder: Path, problems: list[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {}

    def note(name: str, free: int, least: int, remedy: str) -> None:
        facts[name] = f"{_gib(free)} free"
        if free < least:
            problems.append(f"{name} has {_gib(free)} left: {remedy}")

    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    note(f"disk of {folder}", shutil.disk_usage(there).free, LEAST_DISK, "make room, or set path.experiments_root")
    if not os.access(there, os.W_OK):
        problems.append(f"{there} cannot be written to: change its permissions, or work in another folder")
    if (free := _ask_memory()) is not None:
        note("memory", free, LEAST_MEMORY, "end other programs; smaller batches and images take less")
    if os.path.isdir("/dev/shm"):
        remedy = "docker run --shm-size=8g gives more, num_worker_per_gpu: 0 needs none"
        note("shared memory", shutil.disk_usage("/dev/shm").free, LEAST_SHARED, remedy)
    return facts


def _ask_memory() -> int | None:
    try:
        import torch

        from basicsr.upscaling.memory import find_free_memory
    except Exception:
        return None
    return int(find_free_memory(torch.device("cpu")))


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
