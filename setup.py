"""Puts the files of ``options/train`` into the wheel for ``basicsr new``; all else is in ``pyproject.toml``."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithTemplates(build_py):
    """Copies the option files to ``basicsr/templates``; an editable installation finds them in its checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "basicsr", "templates")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree("options/train", target)


setup(cmdclass={"build_py": BuildWithTemplates})
