"What holds for the project as a whole: files that follow from others, light imports, and the rules of the house."
import ast, configparser, importlib, inspect, json, re, shutil, subprocess, sys
from pathlib import Path
import pytest
from fastcore.docments import docments
import mnist_basics
from outputs import NBS, NOTEBOOKS, nb_name

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
MODULES = sorted(p.stem for p in (ROOT/'mnist_basics').glob('*.py') if not p.stem.startswith('_'))
HEAVY = {'fastai', 'IPython', 'matplotlib', 'torchvision', 'sklearn'}


def cells(path, kind): return [c for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == kind]
def source(cell): return ''.join(cell['source'])


@pytest.fixture
def copy(tmp_path):
    "A copy of the notebooks, the package and their configuration"
    skip = shutil.ignore_patterns('idx', '__pycache__', '.ipynb_checkpoints', '_quarto.yml')
    for d in 'nbs', 'mnist_basics': shutil.copytree(ROOT/d, tmp_path/d, ignore=skip)
    for f in 'pyproject.toml', 'settings.ini': shutil.copy(ROOT/f, tmp_path)
    return tmp_path


def assert_unchanged(copy, pattern):
    for p in sorted(copy.glob(pattern)):
        assert p.read_bytes() == (ROOT/p.relative_to(copy)).read_bytes(), f'{p.relative_to(copy)} differs'


def test_export_changes_nothing(copy):
    for p in copy.glob('mnist_basics/*.py'):
        if p.stem != '__init__': p.unlink()
    subprocess.run([BIN/'nbdev-export'], cwd=copy, check=True)
    assert {p.name for p in copy.glob('mnist_basics/*.py')} == {p.name for p in ROOT.glob('mnist_basics/*.py')}
    assert_unchanged(copy, 'mnist_basics/*.py')


def test_clean_changes_nothing(copy):
    subprocess.run([BIN/'nbdev-clean'], cwd=copy, check=True)
    assert_unchanged(copy, 'nbs/**/*.ipynb')


def test_readme_is_made_from_the_index():
    run = subprocess.run([sys.executable, ROOT/'tools'/'readme.py', '--check'], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_readme_opens_with_two_commands():
    first, second = re.findall(r'^```bash\n(.*?)\n```$', (ROOT/'README.md').read_text(encoding='utf-8'), re.M | re.S)[:2]
    assert '\n' not in first + second
    assert first.endswith('mnist-basics') and second.endswith('pytest')


def test_version_stands_in_settings_only():
    ini = configparser.ConfigParser()
    ini.read(ROOT/'settings.ini')
    assert mnist_basics.__version__ == ini['DEFAULT']['version'], 'reinstall the project: pip install -e ".[dev]"'


def test_imports_light():
    "The command needs nothing but Python; no module needs what only notebooks use"
    ways = [['mnist_basics', 'mnist_basics.command'], [f'mnist_basics.{o}' for o in MODULES]]
    for names, heavy in zip(ways, (HEAVY | {'torch', 'numpy'}, HEAVY)):
        code = f'''import importlib, sys
for name in {names}:
    importlib.import_module(name)
    print(name, *{{o.split(".")[0] for o in sys.modules}} & {heavy})'''
        run = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
        assert run.stdout.split('\n')[:-1] == names


def test_modules_import_from_earlier_stages_only():
    "The workshop lies below the lessons, and on either floor a page stands on those before it"
    split = {p: p.stem.partition('_') for p in NOTEBOOKS if p.stem != 'index'}
    number = {name: (p.parent == NBS, n) for p, (n, _, name) in split.items()}
    for m in MODULES:
        tree = ast.parse((ROOT/'mnist_basics'/f'{m}.py').read_text(encoding='utf-8'))
        used = {n.module.split('.')[-1] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.level or (n.module or '').startswith('mnist_basics.'))}
        assert all(number[u] < number[m] for u in used - {'mnist_basics', '__main__'}), f'{m} imports from {used}'


def test_names_are_of_one_module():
    "Pages are linked by the names that they explain; a module may also list a name that it imports"
    homes = {}
    for m in MODULES:
        mod = importlib.import_module(f'mnist_basics.{m}')
        for k in mod.__all__:
            if getattr(getattr(mod, k), '__module__', None) in (None, mod.__name__): homes.setdefault(k, []).append(m)
    assert {k for k, v in homes.items() if len(v) > 1} == {'main'}, homes


@pytest.mark.parametrize('module', MODULES)
def test_public_names_are_documented(module):
    mod = importlib.import_module(f'mnist_basics.{module}')
    for name in mod.__all__:
        o = getattr(mod, name)
        if not callable(o): continue
        assert inspect.getdoc(o), f'{name} has no docstring'
        methods = [(f'{name}.{k}', f) for k, f in vars(o).items() if inspect.isfunction(f) and not k.startswith('_')] if inspect.isclass(o) else [(name, o)]
        for label, f in methods:
            assert inspect.getdoc(f), f'{label} has no docstring'
            docs = docments(f, args_kwargs=True)
            missing = [p for p in inspect.signature(f).parameters if p not in ('self', 'cls') and not docs.get(p)]
            assert not missing, f'{label}: no word on {missing}'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=nb_name)
def test_saved_outputs(path):
    code = [c for c in cells(path, 'code') if source(c).strip()]
    outputs = [(c, o) for c in code for o in c['outputs']]
    assert outputs or not code, 'no saved outputs'
    for c, o in outputs:
        where = source(c)[:80]
        assert o['output_type'] != 'error', where
        data = o.get('data', {})
        described = 'fig-alt' in source(c) or ' alt="' in ''.join(data.get('text/html', ''))
        assert described or not any(k.startswith('image/') for k in data), f'a figure without alt text: {where}'
        said = ''.join(o.get('text', '')) + ''.join(''.join(v) for k, v in data.items() if k.startswith('text/'))
        assert not re.search(r'Warning|\r|/(tmp|home|root|Users)/', said), f'{where}: {said[:200]}'


def test_links_between_notebooks_lead_somewhere():
    for path in NOTEBOOKS:
        for c in cells(path, 'markdown'):
            for target in re.findall(r'\]\(([^)\s#]+\.ipynb)', source(c)):
                assert (path.parent/target).exists(), f'{nb_name(path)} links to {target}'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_proofs_are_folded(path):
    "On the site, in Jupyter and in Colab; and nothing else begins like one"
    for c in cells(path, 'code'):
        if not re.search(r'^#\| *proof\b', source(c), re.M): continue
        fold = c['metadata'].get('jupyter', {}).get('source_hidden') and c['metadata'].get('cellView') == 'form'
        assert fold and source(c).startswith('#| proof\n#| code-fold: true\n#| code-summary: "Proof"\n'), source(c)[:80]


LESSONS = [p for p in NOTEBOOKS if p.parent.name == 'nbs' and re.match(r'0\d|13a', p.name)]

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_lessons_are_short(path):
    "What a reader meets before unfolding anything: short cells, no line wider than the page"
    for c in cells(path, 'code'):
        if c['metadata'].get('cellView') or re.search(r'^#\| *(hide|echo: *false|code-fold: *true)\b', source(c), re.M): continue
        lines = [o for o in source(c).splitlines() if o.strip() and not o.startswith('#|')]
        most = 40 if 'class MiniLearner' in source(c) else 12  # a whole Learner, at one glance
        assert len(lines) <= most and max(map(len, lines), default=0) <= 88, source(c)[:80]
