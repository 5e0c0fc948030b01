"An environment that lacks something, or holds it too old, is told how to mend it."
import sys
from importlib import metadata
import pytest
from mnist_basics.command import main
from mnist_basics.files import cache_folder, lacking, locked
from mnist_basics.learner import Learner
from mnist_basics.plots import image_table, use_style
from mnist_basics.resnet18 import make_resnet18


@pytest.fixture
def versions(monkeypatch):
    "What is installed, as a dict that a test may change: None means missing"
    changed, real = {}, metadata.version
    def version(name):
        res = changed[name] if name in changed else real(name)
        if res is None: raise metadata.PackageNotFoundError(name)
        return res
    monkeypatch.setattr(metadata, 'version', version)
    return changed


@pytest.mark.parametrize('name, modules, call', [
    ('matplotlib', ['matplotlib', 'matplotlib.pyplot'], use_style),
    ('pandas', ['pandas'], lambda: image_table(None)),
    ('pandas', ['pandas'], lambda: Learner.summary(None)),
    ('torchvision', ['torchvision', 'torchvision.models'], make_resnet18),
    ('platformdirs', ['platformdirs'], cache_folder),
    ('filelock', ['filelock'], lambda: locked('lock').__enter__())])
def test_a_function_names_what_it_misses(name, modules, call, versions, monkeypatch):
    for o in modules: monkeypatch.setitem(sys.modules, o, None)
    versions[name] = None
    with pytest.raises(ModuleNotFoundError) as e: call()
    assert str(e.value).startswith(f'{name} is missing') and '\n' not in str(e.value)
    assert f'pip install "{name}>=' in str(e.value)


def test_nothing_is_lacking_here(): assert lacking() == lacking('notebooks') == []


@pytest.mark.parametrize('version, wanted', [
    ('2.5.1+cpu', True), ('1.13.0', True), (None, True), ('2.6.0', False),
    ('2.6.0+cu124', False), ('2.10.0', False), ('3.0', False)])
def test_a_torch_that_is_too_old_is_lacking(version, wanted, versions):
    versions['torch'] = version
    assert [o.startswith('torch>=') for o in lacking()] == [True]*wanted


def test_the_command_says_what_mends_it(versions, capsys, tmp_path):
    versions['torch'], versions['pillow'] = '2.3.0', None
    assert main(['notebooks', str(tmp_path/'there')]) == 1
    out, err = capsys.readouterr()
    assert not out and err.count('\n') == 1 and 'pip install "pillow>=' in err
    assert '"torch>=' in err and not (tmp_path/'there').exists()


def test_notebooks_are_copied_and_what_they_take_is_named(versions, capsys, tmp_path):
    versions['fastai'] = None
    assert main(['notebooks', str(tmp_path)]) == 0
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and 'pip install "fastai>=' in err
    assert (tmp_path/'index.ipynb').exists()
    versions.clear()
    assert main(['notebooks', str(tmp_path)]) == 0
    assert not capsys.readouterr().err
