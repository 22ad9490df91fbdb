"""What a platform installs is all that web and worker need: they start without the laptop's and the tests' packages."""

import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

from tasks.local.processes import ROOT
from tests.support.requirements import normal, pins

#: What Python brings itself.
OWN = {"pip", "setuptools"}
STARTED = [
    "api.app, api.listen, uvicorn.main",
    "tasks.actors, dramatiq.cli",
    "tasks.local.processes",
    "tasks.local.standin.server",
]


@pytest.mark.parametrize("modules", STARTED)
def test_what_the_procfile_starts_needs_only_what_requirements_name(modules: str) -> None:
    installed = pins("requirements.txt").keys() | OWN
    others = [name for name, packages in packages_distributions().items() if not {*map(normal, packages)} & installed]
    assert "pytest" in others
    argv = [sys.executable, "-c", f"import sys; sys.modules.update(dict.fromkeys({others})); import {modules}"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
