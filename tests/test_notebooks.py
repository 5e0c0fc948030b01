"Every notebook runs from top to bottom, in a process of its own, and shows what is saved in it."
import copy, os, shutil, subprocess, sys
from pathlib import Path
import pytest
from outputs import NOTEBOOKS, differences, load, nb_name

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize('path', NOTEBOOKS, ids=nb_name)
def test_runs_and_shows_what_is_saved(path, tmp_path):
    fresh = tmp_path/path.relative_to(ROOT)
    fresh.parent.mkdir(parents=True)
    for src, dst in ((ROOT/'pyproject.toml', tmp_path), (path, fresh)): shutil.copy(src, dst)
    command = [Path(sys.executable).with_name('nbdev-test'), '--save', fresh]
    run = subprocess.run(command, cwd=tmp_path, env={**os.environ, 'OMP_NUM_THREADS': '1'}, capture_output=True, text=True)
    assert run.returncode == 0 and 'Success.' in run.stdout, run.stdout + run.stderr
    found = differences(load(path), load(fresh))
    assert not found, '\n'.join(f'{nb_name(path)}, cell {i}: {what}' for i, what in found.items())


PLANTED = {  # a change in one saved output, by what it is
    'a number': ('text/plain', '0.1114', '0.1115'),
    'a word': ('text/plain', 'tensor', 'tenser'),
    'a cell of a table': ('text/html', '>9<', '>8<'),
    'a picture': ('image/png', None, None)}


def notebook(html='<table><tr><th>k</th><th>v</th></tr><tr><td>a</td><td>9</td></tr></table>', png=None, source=''):
    outputs = [{'output_type': 'stream', 'name': 'stdout', 'text': '10%\r100% took 1.2 s at 0x7f00aa11\n'},
               {'output_type': 'execute_result', 'data': {'text/plain': 'tensor(0.1114)', 'text/html': html}},
               {'output_type': 'display_data', 'data': {'image/png': png or picture((8, 8)), 'text/plain': '<Figure>'}}]
    return {'cells': [{'id': 'a1', 'cell_type': 'code', 'source': source, 'outputs': outputs}]}


def picture(corner):
    "A white picture with a black square, as a notebook holds it"
    import base64, io
    from PIL import Image
    im, out = Image.new('L', (64, 64), 255), io.BytesIO()
    im.paste(0, (*corner, corner[0]+16, corner[1]+16))
    im.save(out, 'PNG')
    return base64.b64encode(out.getvalue()).decode()


@pytest.mark.parametrize('kind', PLANTED)
def test_a_planted_change_is_found(kind):
    mime, old, new = PLANTED[kind]
    changed = notebook()
    data = next(o['data'] for o in changed['cells'][0]['outputs'] if mime in o.get('data', {}))
    data[mime] = data[mime].replace(old, new) if old else picture((32, 8))
    assert list(differences(notebook(), changed)) == ['a1']


def test_what_may_differ():
    other = notebook()
    other['cells'][0]['outputs'][0]['text'] = '50%\r100% took 3.4 s at 0x7fee0001\n'
    assert not differences(notebook(), other)


def test_a_cell_that_trains_has_its_own_tolerance():
    def trained(v): return notebook(html=f'<p>accuracy {v}</p>', source='#| tolerance: 0.01\ntrain()')
    assert not differences(trained(.9701), trained(.9712))
    assert differences(trained(.9701), trained(.9912))
    assert differences(notebook(html='<p>0.9701</p>'), notebook(html='<p>0.9712</p>'))


def test_a_cell_with_a_flag_is_left_out():
    skipped, changed = notebook(source='#| cuda\nx'), notebook(source='#| cuda\nx')
    changed['cells'][0]['outputs'] = []
    assert not differences(skipped, changed)
    assert differences(notebook(), copy.deepcopy(notebook()) | {'cells': changed['cells']})
