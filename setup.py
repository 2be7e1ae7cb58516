"""Owns the one step of a build that pyproject.toml cannot say: the files of `configs/` go into the wheel, as qasr_train/configs.

Input: the tree. Output: the wheel. An editable install takes `configs/` from the tree, where it stays.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """The usual build of Python files, then a copy of `configs/`."""

    def run(self) -> None:
        """Copy all that the wheel holds into the build folder."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "qasr_train" / "configs"
            shutil.rmtree(target, ignore_errors=True)  # of an earlier build, with files that have gone since
            shutil.copytree("configs", target)


setup(cmdclass={"build_py": BuildWithConfigs})
