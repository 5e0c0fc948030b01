"The cell that installs the package where a notebook is opened without it, as in Colab."
import importlib.util, json, shutil, subprocess, sys
from pathlib import Path
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from outputs import NOTEBOOKS, nb_name

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location('first_cell', ROOT/'tools'/'first_cell.py')
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.fixture
def published(tmp_path):
    "The root of a project whose repository has an address"
    shutil.copy(ROOT/'settings.ini', tmp_path)
    (tmp_path/'pyproject.toml').write_text('[project]\nname = "mnist_basics"\n[project.urls]\nRepository = "https://github.com/ada/mnist_basics"\n')
    return tmp_path


def notebook(*code): return dict(cells=[dict(cell_type='code', id=str(i), source=[o]) for i, o in enumerate(code)])


def test_notebooks_have_the_cell_that_the_address_asks_for():
    run = subprocess.run([sys.executable, ROOT/'tools'/'first_cell.py', '--check'], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_no_cell_without_an_address(published):
    (published/'pyproject.toml').write_text('[project]\nname = "mnist_basics"\n')
    assert tool.first_cell(notebook('import torch'), published) is None


def run_cell(source, missing):
    "Run the cell as Jupyter does where the packages `missing` are not there; what it asks `%pip` for"
    asked = []
    class Shell:
        def run_line_magic(self, name, line): asked.append((name, line))
    class Util:
        util = None
        find_spec = staticmethod(lambda o: None if o in missing else object())
    Util.util = Util
    code = TransformerManager().transform_cell(source).replace('import importlib.util', '')
    exec(code, dict(get_ipython=Shell, importlib=Util))
    return asked


@pytest.mark.parametrize('missing,asked', [((), 0), (('mnist_basics',), 1), (('fastbook',), 1), (('fastai',), 1)])
def test_it_installs_what_is_missing(published, missing, asked):
    cell = tool.first_cell(notebook('#| default_exp x', 'import fastbook\nfrom fastai.vision.all import *\n!ls'), published)
    want = [('pip', 'install -q "mnist_basics @ git+https://github.com/ada/mnist_basics" fastai fastbook')]
    assert run_cell(cell, missing) == want[:asked]


@pytest.mark.parametrize('path', NOTEBOOKS, ids=nb_name)
def test_each_notebook_gets_one(published, path):
    nb = json.loads(path.read_text(encoding='utf-8'))
    new = tool.with_first_cell(nb, published)
    assert tool.with_first_cell(new, published) == new, 'a second time changes something'
    assert len(run_cell(''.join(new['cells'][0]['source']), ('mnist_basics',))) == 1
    assert [c for c in new['cells'] if c['id'] != tool.ID] == [c for c in nb['cells'] if c['id'] != tool.ID]
