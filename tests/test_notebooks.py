"Every notebook runs from top to bottom, in a process of its own."
import os, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path):
    command = [Path(sys.executable).with_name('nbdev-test'), path]
    run = subprocess.run(command, cwd=ROOT, env={**os.environ, 'OMP_NUM_THREADS': '1'}, capture_output=True, text=True)
    assert run.returncode == 0 and 'Success.' in run.stdout, run.stdout + run.stderr
