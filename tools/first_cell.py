"""Give every notebook a first cell that installs the package where it is missing, as in Colab and Kaggle.

    python tools/first_cell.py            write it
    python tools/first_cell.py --check    exit 1 where a notebook has another one

The address comes from `Repository` in pyproject.toml; while that is unset, the notebooks have no such cell.
"""
import argparse, ast, configparser, json, sys, tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ID = 'install0'
CELL = """#| hide
#| eval: false
# Where the package is missing, as in Colab and Kaggle: install it
import importlib.util
if not all(map(importlib.util.find_spec, {names})):
    %pip install -q {wanted}"""


def code_of(notebook): return [''.join(c['source']) for c in notebook['cells'] if c['cell_type'] == 'code' and c['id'] != ID]


def imported(source):
    "The packages that the code `source` imports, anywhere in it"
    lines = [' '*(len(l)-len(l.lstrip())) + 'pass' if l.lstrip().startswith(('%', '!')) else l for l in source.splitlines()]
    try: nodes = list(ast.walk(ast.parse('\n'.join(lines))))
    except SyntaxError: return set()
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module and not n.level]
    return {o.split('.')[0] for o in names}


def extras(root):
    "What the extras ask for beyond the package's own requirements, as {module: requirement}"
    ini = configparser.ConfigParser()
    ini.read(root/'settings.ini', encoding='utf-8')
    wanted = ' '.join(v for k, v in ini['DEFAULT'].items() if k.endswith('_requirements')).split()
    return {o.split('>=')[0].replace('-', '_'): o.split('>=')[0] for o in wanted}


def first_cell(notebook, root=ROOT):
    "The source of the cell for `notebook`, or None while the repository has no address"
    project = tomllib.loads((root/'pyproject.toml').read_text(encoding='utf-8'))['project']
    url = project.get('urls', {}).get('Repository')
    if not url: return None
    used, more = set().union(*map(imported, code_of(notebook))), extras(root)
    also = sorted(used & more.keys())
    wanted = [f'"{project["name"]} @ git+{url}"', *(more[o] for o in also)]
    return CELL.format(names=[project['name'], *also], wanted=' '.join(wanted))


def with_first_cell(notebook, root=ROOT):
    "`notebook` with the cell that it should have, and no other of its kind"
    cells, source = [c for c in notebook['cells'] if c.get('id') != ID], first_cell(notebook, root)
    if source: cells.insert(0, dict(cell_type='code', execution_count=None, id=ID, metadata={}, outputs=[], source=source.splitlines(True)))
    return {**notebook, 'cells': cells}


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--check', action='store_true', help='write nothing, say which notebooks differ')
    args = ap.parse_args()
    stale = {}
    nbs = ROOT/'nbs'
    for path in sorted([*nbs.glob('*.ipynb'), *nbs.glob('workshop/*.ipynb')]):
        old = json.loads(path.read_text(encoding='utf-8'))
        if (new := with_first_cell(old)) != old: stale[path] = new
    if args.check:
        if stale: sys.exit(f"have another first cell: {', '.join(str(p.relative_to(ROOT)) for p in stale)}; run: python tools/first_cell.py")
        return
    for path, nb in stale.items():
        path.write_text(json.dumps(nb, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
        print('wrote', path.relative_to(ROOT))


if __name__ == '__main__': main()
