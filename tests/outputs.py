"""Compare the outputs saved in a notebook with those of a fresh run.

Text must be equal after times, addresses and progress bars are taken out; numbers may differ by `TIGHT`, relatively. A cell that
trains says how far other machines may stray, as in `#| tolerance: 0.01`: a number may then differ by that much, or by that
share of it. Tables are compared column by column, figures by the mean grey of small blocks.
"""
import base64, io, json, re
from difflib import unified_diff
from html.parser import HTMLParser
from itertools import zip_longest
from pathlib import Path
import numpy as np
from PIL import Image

NBS = Path(__file__).resolve().parent.parent/'nbs'
NOTEBOOKS = [*sorted(NBS.glob('*.ipynb')), *sorted(NBS.glob('workshop/*.ipynb'))]
TIGHT = 1e-5
BLOCK, GREY = 8, .12  # side of a block in pixels; how far its mean grey may differ, in 0..1
NUMBER = re.compile(r'(?<![\w.])[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w)')
NOISE = [(re.compile(p), to) for p, to in [
    (r'[^\n]*\r', ''),                                        # what a progress bar has overwritten
    (r'( at)? 0x[0-9a-fA-F]{6,}', ''),                        # addresses, which nbdev-clean takes out
    (r'\b\d+:\d\d(:\d\d)?(\.\d+)?\b', 'TIME'),                # 01:23
    (r'\b[\d.,]+ ?(ns|µs|us|ms|s|sec|secs|seconds|min)\b', 'TIME')]]


def nb_name(path):
    "The name of a notebook seen from `nbs`, as in `workshop/02_files`"
    return path.relative_to(NBS).with_suffix('').as_posix()


def joined(o): return o if isinstance(o, str) else ''.join(o)


class Table(HTMLParser):
    "The rows of an HTML table, and what text there is outside of its cells"
    def __init__(self, html):
        super().__init__()
        self.rows, self.rest, self.inside, self.skip = [], '', False, False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.skip = tag in ('style', 'script')
        if tag == 'tr': self.rows.append([])
        if tag in ('td', 'th') and self.rows: self.rows[-1].append(''); self.inside = True

    def handle_endtag(self, tag):
        self.skip = False
        if tag in ('td', 'th'): self.inside = False

    def handle_data(self, data):
        if self.skip: return
        if self.inside: self.rows[-1][-1] += data
        else: self.rest += data.strip()


def close(a, b, tol):
    "Are two numbers, as printed, the same as far as `tol` asks?"
    x, y = (float(o.replace(',', '')) for o in (a, b))
    if x == y: return True
    return abs(x-y) <= (tol*max(1, abs(x)) if tol else TIGHT*max(abs(x), abs(y)))


def text_difference(old, new, tol=None):
    "What differs between two texts, or nothing"
    for pattern, to in NOISE: old, new = pattern.sub(to, old), pattern.sub(to, new)
    bare = [' '.join(NUMBER.sub('#', o).split()) for o in (old, new)]
    if bare[0] != bare[1]: return '\n'.join(unified_diff(old.splitlines(), new.splitlines(), 'saved', 'run', lineterm='', n=0))
    pairs = zip(NUMBER.findall(old), NUMBER.findall(new))
    return '\n'.join(f'saved {a}, run {b}' for a, b in pairs if not close(a, b, tol))


def table_difference(old, new, tol=None):
    "What differs between two pieces of HTML, by the column and row of each cell"
    old, new = Table(old), Table(new)
    if [len(r) for r in old.rows] != [len(r) for r in new.rows]: return f'saved a table of {len(old.rows)} rows, run one of {len(new.rows)}, or of other columns'
    columns = zip(*(zip_longest(*t.rows, fillvalue='') for t in (old, new)))
    cells = ((c[0], i, d) for c, r in columns for i, (a, b) in enumerate(zip(c, r)) if (d := text_difference(a, b, tol)))
    return '\n'.join([*(f'column {name.strip()!r}, row {i}: {d}' for name, i, d in cells), text_difference(old.rest, new.rest, tol)]).strip()


def greys(png):
    "Mean grey of each block of a picture on white paper, 0..1"
    im = Image.open(io.BytesIO(base64.b64decode(png))).convert('RGBA')
    a = np.asarray(Image.alpha_composite(Image.new('RGBA', im.size, 'white'), im).convert('L'))/255
    h, w = (o//BLOCK*BLOCK for o in a.shape)
    return a[:h, :w].reshape(h//BLOCK, BLOCK, w//BLOCK, BLOCK).mean((1, 3))


def picture_difference(old, new, tol=None):
    "What differs between two pictures, or nothing"
    old, new = greys(old), greys(new)
    if max(abs(np.subtract(old.shape, new.shape))) > 1: return f'a picture of {new.shape} blocks instead of {old.shape}'
    h, w = np.minimum(old.shape, new.shape)
    diff = abs(old[:h, :w]-new[:h, :w])
    if diff.max() <= (3*GREY if tol else GREY): return ''
    return f'the picture differs most, by {diff.max():.2f}, {tuple(BLOCK*int(i) for i in np.unravel_index(diff.argmax(), diff.shape))} pixels down and across'


def parts(cell):
    "What a cell has put out, as {kind: text}: printed text in one piece, then each output by its place and type"
    res = {}
    for i, o in enumerate(o for o in cell.get('outputs', []) if o['output_type'] != 'stream'):
        res.update({f'{i} {kind}': joined(v) for kind, v in o.get('data', {'error': o.get('ename', '')}).items()})
        if any(k.startswith('image/') for k in o.get('data', {})): res.pop(f'{i} text/plain', None)  # the name of the figure's class
    for o in cell.get('outputs', []):
        if o['output_type'] == 'stream': res[o['name']] = res.get(o['name'], '') + joined(o['text'])
    return res


def cell_difference(old, new):
    "What differs between the outputs of a cell, one line or more for each kind of output"
    tol = re.search(r'^#\| tolerance: *([\d.e-]+)', joined(old['source']), re.M)
    tol, old, new, said = tol and float(tol[1]), parts(old), parts(new), []
    for kind in dict.fromkeys([*old, *new]):
        if kind not in old or kind not in new: said.append(f"{kind}: only in the {'saved outputs' if kind in old else 'run'}"); continue
        compare = picture_difference if kind.endswith('image/png') else table_difference if kind.endswith('html') else text_difference
        if d := compare(old[kind], new[kind], tol): said.append(f'{kind}: {d}')
    return '\n'.join(said)


def differences(old, new, skipped=('cuda',)):
    "Where two versions of a notebook differ in their outputs, as {cell id: what}; `skipped` are flags of cells that do not run"
    skip = re.compile(rf"^#\| *({'|'.join(skipped)}|eval: *false)\b", re.M)
    pairs = [(a, b) for a, b in zip(old['cells'], new['cells'], strict=True) if a['cell_type'] == 'code' and not skip.search(joined(a['source']))]
    return {a['id']: d for a, b in pairs if (d := cell_difference(a, b))}


def load(path): return json.loads(path.read_text(encoding='utf-8'))
