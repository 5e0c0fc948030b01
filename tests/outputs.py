"""Compare the outputs saved in a notebook with those of a fresh run.

There are two kinds of truth. What data and seed decide is equal on every machine: text
once times, addresses and progress bars are out, numbers up to `TIGHT`, relatively,
pictures by the mean grey of small blocks. What training decides is compared as its cell
says:

- `#| band: 0.01`: a number may differ by that much, or by that share of it if it is
  above 1; tables are compared cell by cell, pictures by their size.
- `#| band: shape`: the kinds of output are compared, and of a table the columns. What
  the page claims of such an output is asserted in a cell beside it.
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
BLOCK, GREY = 8, .12  # side of a block in pixels; how far its mean grey may differ
NUMBER = re.compile(r'(?<![\w.])[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w)')
NOISE = [(re.compile(p), to) for p, to in [
    (r'[^\n]*\r', ''),                          # what a progress bar has overwritten
    (r'( at)? 0x[0-9a-fA-F]{6,}', ''),          # addresses: nbdev-clean takes them out
    (r'\b\d+:\d\d(:\d\d)?(\.\d+)?\b', 'TIME'),  # 01:23
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

    def columns(self):
        "The texts of the first row, and how many cells the widest has"
        head = [o.strip() for r in self.rows[:1] for o in r]
        return head, max(map(len, self.rows), default=0)

    def handle_starttag(self, tag, attrs):
        self.skip = tag in ('style', 'script')
        if tag == 'tr': self.rows.append([])
        if tag in ('td', 'th') and self.rows:
            self.rows[-1].append('')
            self.inside = True

    def handle_endtag(self, tag):
        self.skip = False
        if tag in ('td', 'th'): self.inside = False

    def handle_data(self, data):
        if self.skip: return
        if self.inside: self.rows[-1][-1] += data
        else: self.rest += data.strip()


def band_of(source):
    "The band of a cell: a number, 'shape', or None where outputs are equal everywhere"
    found = re.search(r'^#\| *band: *(\S*) *$', joined(source), re.M)
    if found is None: return None
    if found[1] == 'shape': return 'shape'
    try: band = float(found[1])
    except ValueError: band = 0.
    if 0 < band < 1: return band
    raise ValueError(f"a band is 'shape' or a number between 0 and 1, not {found[1]!r}")


def close(a, b, band):
    "Are two numbers, as printed, the same as far as `band` asks?"
    x, y = (float(o.replace(',', '')) for o in (a, b))
    if x == y: return True
    return abs(x-y) <= (band*max(1, abs(x)) if band else TIGHT*max(abs(x), abs(y)))


def text_difference(old, new, band=None):
    "What differs between two texts, or nothing"
    if band == 'shape': return ''
    for pattern, to in NOISE: old, new = pattern.sub(to, old), pattern.sub(to, new)
    bare = [' '.join(NUMBER.sub('#', o).split()) for o in (old, new)]
    if bare[0] != bare[1]:
        sides = old.splitlines(),new.splitlines()
        return '\n'.join(unified_diff(*sides, 'saved', 'run', lineterm='', n=0))
    pairs = zip(NUMBER.findall(old), NUMBER.findall(new))
    return '\n'.join(f'saved {a}, run {b}' for a, b in pairs if not close(a, b, band))


def table_difference(old, new, band=None):
    "What differs between two pieces of HTML, by the column and row of each cell"
    old, new = Table(old), Table(new)
    if band == 'shape':
        a, b = (t.columns() for t in (old, new))
        return '' if a == b else f'saved columns {a}, run {b}'
    if [len(r) for r in old.rows] != [len(r) for r in new.rows]:
        return (f'saved a table of {len(old.rows)} rows, run one of {len(new.rows)}, '
                'or of other columns')
    columns = zip(*(zip_longest(*t.rows, fillvalue='') for t in (old, new)))
    cells = ((c[0], i, d) for c, r in columns for i, (a, b) in enumerate(zip(c, r))
             if (d := text_difference(a, b, band)))
    said = [f'column {name.strip()!r}, row {i}: {d}' for name, i, d in cells]
    return '\n'.join([*said, text_difference(old.rest, new.rest, band)]).strip()


def greys(png):
    "Mean grey of each block of a picture on white paper, 0..1"
    im = Image.open(io.BytesIO(base64.b64decode(png))).convert('RGBA')
    paper = Image.new('RGBA', im.size, 'white')
    a = np.asarray(Image.alpha_composite(paper, im).convert('L'))/255
    h, w = (o//BLOCK*BLOCK for o in a.shape)
    return a[:h, :w].reshape(h//BLOCK, BLOCK, w//BLOCK, BLOCK).mean((1, 3))


def picture_difference(old, new, band=None):
    "What differs between two pictures, or nothing"
    if band == 'shape': return ''  # one of mistakes may have more rows elsewhere
    old, new = greys(old), greys(new)
    if max(abs(np.subtract(old.shape, new.shape))) > 1:
        return f'a picture of {new.shape} blocks instead of {old.shape}'
    if band: return ''
    h, w = np.minimum(old.shape, new.shape)
    diff = abs(old[:h, :w]-new[:h, :w])
    if diff.max() <= GREY: return ''
    at = tuple(BLOCK*int(i) for i in np.unravel_index(diff.argmax(), diff.shape))
    return f'the picture differs most, by {diff.max():.2f}, {at} pixels down, across'


def parts(cell):
    "What a cell has put out: {kind: text}, printed text in one piece"
    outputs, res = cell.get('outputs', []), {}
    for i, o in enumerate(o for o in outputs if o['output_type'] != 'stream'):
        data = o.get('data', {'error': o.get('ename', '')})
        if any(k.startswith('image/') for k in data):  # no name of the figure's class
            data = {k: v for k, v in data.items() if k != 'text/plain'}
        res.update({f'{i} {kind}': joined(v) for kind, v in data.items()})
    for o in outputs:
        if o['output_type'] == 'stream':
            res[o['name']] = res.get(o['name'], '') + joined(o['text'])
    return res


def cell_difference(old, new):
    "What differs between the outputs of a cell, a line or more for each kind"
    band, old, new, said = band_of(old['source']), parts(old), parts(new), []
    for kind in dict.fromkeys([*old, *new]):
        if kind not in old or kind not in new:
            where = 'saved outputs' if kind in old else 'run'
            said.append(f'{kind}: only in the {where}')
            continue
        compare = (picture_difference if kind.endswith('image/png') else
                   table_difference if kind.endswith('html') else text_difference)
        if d := compare(old[kind], new[kind], band): said.append(f'{kind}: {d}')
    return '\n'.join(said)


def runs(cell, skipped=('cuda',)):
    "Is it a cell of code that runs? `skipped` are flags of cells that do not."
    flags = rf"^#\| *({'|'.join(skipped)}|eval: *false)\b"
    source = joined(cell['source'])
    return cell['cell_type'] == 'code' and not re.search(flags, source, re.M)


def differences(old, new, skipped=('cuda',)):
    "Where two versions of a notebook differ in their outputs, as {cell id: what}"
    pairs = zip(old['cells'], new['cells'], strict=True)
    return {a['id']: d for a, b in pairs
            if runs(a, skipped) and (d := cell_difference(a, b))}


def load(path): return json.loads(path.read_text(encoding='utf-8'))
