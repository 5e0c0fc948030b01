"""Every notebook runs from top to bottom, in its own process, and shows what is saved.

With `MNIST_BASICS_OLD_ARITHMETIC=1` those that train run with the instructions of an
old processor and two threads: what training decides must stay in its bands.
"""
import ast, base64, io, json, os, re, shutil, subprocess, sys
from contextlib import nullcontext
from itertools import count
from pathlib import Path
import matplotlib
import pytest
from PIL import Image
from mnist_basics.files import as_guest
from outputs import NOTEBOOKS, band_of, differences, joined, load, nb_name, runs

ROOT = Path(__file__).resolve().parent.parent
OLD = dict(ATEN_CPU_CAPABILITY='default', ONEDNN_MAX_CPU_ISA='SSE41',
           MKL_CBWR='COMPATIBLE', OMP_NUM_THREADS='2', OMP_WAIT_POLICY='passive')
old_arithmetic = bool(os.getenv('MNIST_BASICS_OLD_ARITHMETIC'))


def cells(path): return [o for o in load(path)['cells'] if runs(o)]
def trains(path): return any(band_of(o['source']) for o in cells(path))
def each(paths): return pytest.mark.parametrize('path', paths, ids=nb_name)


FASTAI = Path(os.getenv('FASTAI_HOME') or Path.home()/'.fastai')
SAMPLE = {'mnist_sample', 'mnist_sample/labels.csv', 'mnist_sample/train',
          'mnist_sample/valid'}
FASTAI_PAGE = re.compile(r'"(import|from) (fastai|fastbook|torchvision)')


def at_home(folder): return dict.fromkeys(('HOME', 'USERPROFILE'), str(folder))


class Mothers:
    """Processes that have imported what pages need, one for each environment of PyTorch
    and for pages with and without fastai; each page runs in a copy of one"""
    text = (Path(__file__).parent/'mother.py').read_text(encoding='utf-8')
    common = ('IPython', 'matplotlib.pyplot', 'matplotlib_inline.backend_inline',
              'pandas', 'torch._dynamo')  # an optimizer's first step imports the last
    fastai = 'torchvision', 'fastai.vision.all'

    def __init__(self, folder):
        self.homes = (folder/f'mother{i}' for i in count())
        self.running = {}

    def start(self, modules, env):
        home = next(self.homes)
        home.mkdir()
        with open(home.with_suffix('.log'), 'w') as said:
            return home, subprocess.Popen([sys.executable, '-c', self.text, *modules],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, cwd=home,
                encoding='utf-8', env={**os.environ, **at_home(home), **env})

    def run(self, path, folder, env):
        "Run the page at `path` in `folder`: its exit status, and what it has said"
        more = self.fastai if FASTAI_PAGE.search(path.read_text(encoding='utf-8')) else ()
        env = dict(FASTAI_HOME=str(FASTAI), MPLCONFIGDIR=matplotlib.get_cachedir(),
                   OMP_NUM_THREADS='1') | env
        key = more, *sorted(env.items())
        if key not in self.running:
            self.running[key] = self.start(self.common+more, env)
        home, mother = self.running[key]
        log, own = folder/'said', dict(IPYTHONDIR=str(folder/'ipython'))
        ask = dict(path=str(path), folder=str(folder), log=str(log),
                   env=own | at_home(folder/'home'))
        print(json.dumps(ask), file=mother.stdin, flush=True)
        status = mother.stdout.readline()
        if not status: # it has ended, as it does where there is no fork
            del self.running[key]
            status = mother.wait()
        assert not [*home.iterdir()], 'what is imported writes into the home'
        said = log if log.exists() else home.with_suffix('.log')
        return int(status), said.read_text(encoding='utf-8')

    def close(self):
        for home, mother in self.running.values(): mother.communicate()


@pytest.fixture(scope='session')
def mothers(tmp_path_factory):
    res = Mothers(tmp_path_factory.mktemp('mothers'))
    yield res
    res.close()


def execute(mothers, path, folder, **env):
    "The notebook at `path` after a run in `folder`, with an empty home in it"
    fresh = folder/'nbs'/path.name
    fresh.parent.mkdir()
    (folder/'home').mkdir()
    shutil.copy(ROOT/'pyproject.toml', folder)
    shutil.copy(path, fresh)
    status, said = mothers.run(fresh, folder, env)
    assert status == 0 and 'Success.' in said, f'exit status {status}\n{said}'
    return load(fresh)


def files(folder, *patterns):
    found = (o for p in patterns for o in folder.glob(p))
    return {o.relative_to(folder).as_posix() for o in found}


@each([o for o in NOTEBOOKS if trains(o)] if old_arithmetic else NOTEBOOKS)
def test_runs_and_shows_what_is_saved(path, mothers, tmp_path):
    shared = files(FASTAI/'data', '*', 'mnist_sample/*')
    fresh = execute(mothers, path, tmp_path, **OLD if old_arithmetic else {})
    found = differences(load(path), fresh).items()
    assert not found, '\n'.join(f'{path.name}, cell {i}: {what}' for i, what in found)
    left = files(tmp_path, 'nbs/**/*', 'home/**/*')
    onnxruntime = 'home/.cache', 'home/.cache/Microsoft'  # its device id, not ours
    assert {o for o in left if not o.startswith(onnxruntime)} == {f'nbs/{path.name}'}
    assert files(FASTAI/'data', '*', 'mnist_sample/*') <= shared | SAMPLE


@each(NOTEBOOKS)
def test_bands_are_valid(path):
    "Each is 'shape' or a number, or `band_of` raises, and has an output to compare"
    for cell in cells(path):
        source = joined(cell['source'])
        assert not re.search(r'^#\| *tolerance', source, re.M), cell['id']
        assert cell['outputs'] or not band_of(source), cell['id']


TRAINERS = re.compile(r'train_(?!baseline|rungs)\w+|learn\w*\.(fit|fit_one_cycle)')
MEASURED = re.compile(r'\d\.\d|"image/png"')  # a count or a shape is equal everywhere


def trained_in(source):
    "The calls that train in a cell, outside of the functions that it defines"
    body = [o for o in ast.parse(source).body if not hasattr(o, 'name')]
    found = (o for s in body for o in ast.walk(s) if isinstance(o, ast.Call))
    calls = [ast.unparse(o.func) for o in found]
    return [o for o in calls if TRAINERS.fullmatch(o)]


@each(NOTEBOOKS)
def test_a_cell_that_trains_and_measures_has_a_band(path):
    for cell in cells(path):
        source = re.sub(r'^ *[%!].*$', '', joined(cell['source']), flags=re.M)
        if MEASURED.search(json.dumps(cell['outputs'])) and not band_of(source):
            assert not trained_in(source), cell['id']


SETS = re.compile(r'^(.*filterwarnings\(|use_style\(|os\.environ\[.*\] *=|torch\.set_)', re.M)


@each(NOTEBOOKS)
def test_a_page_puts_back_what_it_sets(path):
    sources = [joined(o['source']) for o in cells(path)]
    closed = sources[-1].splitlines()
    if any(SETS.search(o) for o in sources): assert 'guest.close()' in closed


def picture(corner, size=(64, 64)):
    "A white picture with a black square, as a notebook holds it"
    im, out = Image.new('L', size, 255), io.BytesIO()
    im.paste(0, (*corner, corner[0]+16, corner[1]+16))
    im.save(out, 'PNG')
    return base64.b64encode(out.getvalue()).decode()


def table(*rows):
    body = ''.join(f'<tr><td>{a}</td><td>{b}</td></tr>' for a, b in rows)
    return f'<table>{body}</table>'


TABLE = ('digit', 'sure'), ('3', '0.9712')
SHOWN = dict(text='tensor(0.1114)', html=table(*TABLE), png=picture((8, 8)))


def notebook(band=None, printed='', **changed):
    "A notebook of one cell, with an output of each kind"
    text, html, png = (SHOWN | changed).values()
    source = f'#| band: {band}\ntrain()' if band else 'x'
    shown = dict(execute_result={'text/plain': text, 'text/html': html},
                 display_data={'image/png': png, 'text/plain': '<Figure>'})
    outputs = [dict(output_type='stream', name='stdout', text=printed),
               *(dict(output_type=k, data=v) for k, v in shown.items())]
    return dict(cells=[dict(id='a1', cell_type='code', source=source, outputs=outputs)])


DIGIT, WORD = dict(text='tensor(0.1115)'), dict(text='tenser(0.1114)')
INSIDE = dict(html=table(TABLE[0], ('3', '0.9751')))
OUTSIDE = dict(html=table(TABLE[0], ('3', '0.9912')))
MOVED, LARGER = dict(png=picture((32, 8))), dict(png=picture((8, 8), (64, 96)))
COLUMN = dict(html=table(('digit', 'probability'), TABLE[1]))
WIDER = dict(html=table(*TABLE).replace('</tr>', '<td>7</td></tr>'))
ROWS = dict(html=table(*TABLE, ('7', '0.5')))


@pytest.mark.parametrize('band,change', [
    (None, DIGIT), (None, WORD), (None, INSIDE), (None, MOVED), (None, LARGER),
    (None, COLUMN), (.01, WORD), (.01, OUTSIDE), (.01, LARGER), (.01, COLUMN),
    (.01, ROWS), ('shape', COLUMN), ('shape', WIDER)])
def test_a_planted_change_is_caught(band, change):
    assert list(differences(notebook(band), notebook(band, **change))) == ['a1']


@pytest.mark.parametrize('band,change', [
    (.01, DIGIT), (.01, INSIDE), (.01, MOVED), ('shape', WORD), ('shape', OUTSIDE),
    ('shape', MOVED), ('shape', LARGER), ('shape', ROWS)])
def test_what_training_decides_may_differ(band, change):
    assert not differences(notebook(band), notebook(band, **change))


@pytest.mark.parametrize('band', [None, .01, 'shape'])
def test_an_output_that_is_missing_is_caught(band):
    short = notebook(band)
    del short['cells'][0]['outputs'][-1]
    assert list(differences(notebook(band), short)) == ['a1']


def test_times_addresses_and_progress_may_differ():
    old = notebook(printed='10%\r100% took 1.2 s at 0x7f00aa11\n')
    new = notebook(printed='50%\r100% took 3.4 s at 0x7fee0001\n')
    assert not differences(old, new)


@pytest.mark.parametrize('band', ['', '0', '5', 'wide', '-0.1'])
def test_a_wrong_band_is_refused(band):
    with pytest.raises(ValueError, match="a band is 'shape' or a number"):
        band_of(f'#| band: {band}\ntrain()')


@pytest.mark.parametrize('holds', [True, False])
def test_a_claim_that_no_longer_holds_is_caught(holds, mothers, tmp_path):
    "Where only shapes are compared, the assert beside the output is what catches"
    accuracy = .97 if holds else .91
    sources = f'#| band: shape\naccuracy = {accuracy}\naccuracy', 'assert accuracy>0.95'
    new = dict(cell_type='code', metadata={}, execution_count=None, outputs=[])
    nb = dict(cells=[dict(new, id=f'a{i}', source=o) for i, o in enumerate(sources)],
              metadata={}, nbformat=4, nbformat_minor=5)
    (tmp_path/'claim.ipynb').write_text(json.dumps(nb))
    caught = pytest.raises(AssertionError, match='assert accuracy>0.95')
    with nullcontext() if holds else caught:
        execute(mothers, tmp_path/'claim.ipynb', tmp_path)


def test_a_cell_with_a_flag_is_left_out():
    old, new = notebook(), notebook(**DIGIT)
    old['cells'][0]['source'] = '#| cuda\nx'
    assert not differences(old, new)
    assert differences(notebook(), new)


PATCHED = re.compile(r'^@patch.*\ndef \w+\(self:(\w+)', re.M)


@each(NOTEBOOKS)
def test_a_page_puts_back_the_classes_that_it_patches(path):
    "A class of the package that one page has patched would meet all that follow in its process"
    text = '\n'.join(joined(o['source']) for o in cells(path))
    foreign = {o for o in PATCHED.findall(text) if not re.search(rf'^class {o}\b', text, re.M)}
    kept = re.search(r'^guest = as_guest\((.*)\)$', text, re.M)
    assert foreign <= set(kept[1].split(', ') if kept else ())


def test_a_guest_leaves_a_class_as_it_was():
    class Host: name, cbs = 'host', []
    before = dict(vars(Host))
    guest = as_guest(Host)
    Host.cbs, Host.more = [1], True
    del Host.name
    guest.close()
    assert dict(vars(Host)) == before and Host.cbs is before['cbs']
