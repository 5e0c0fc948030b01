"""Make README.md, and the pictures it shows, from nbs/index.ipynb.

    python tools/readme.py            write them
    python tools/readme.py --check    exit 1 if they differ from the notebook
"""
import argparse, base64, json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INDEX = ROOT/'nbs'/'index.ipynb'


def text(source): return source if isinstance(source, str) else ''.join(source)


def split_options(source):
    "The `#| name: value` options at the top of a cell, and the code below them"
    lines = source.splitlines()
    n = next((i for i, l in enumerate(lines) if not l.startswith('#|')), len(lines))
    pairs = (l[2:].strip().partition(':') for l in lines[:n])
    return {k.strip(): v.strip().strip('"') for k, _, v in pairs}, '\n'.join(lines[n:]).strip('\n')


def output_md(output, options, pictures):
    "One saved output as Markdown; a picture is put into `pictures` under its path"
    data = output.get('data', {})
    if 'image/png' in data:
        path = f"nbs/images/{options['label']}.png"
        pictures[path] = base64.b64decode(text(data['image/png']))
        return f"![{options['fig-alt']}]({path})"
    if 'text/markdown' in data: return text(data['text/markdown'])
    out = text(output['text'] if 'text' in output else data['text/plain']).rstrip('\n')
    return f'```text\n{out}\n```'


def cell_md(cell, pictures):
    "A notebook cell as Markdown, or nothing for a hidden one"
    source = text(cell['source'])
    if cell['cell_type'] == 'markdown': return source
    options, code = split_options(source)
    if {'hide', 'default_exp'} & options.keys(): return ''
    shown = [] if options.get('echo') == 'false' or not code else [f'```python\n{code}\n```']
    return '\n\n'.join(shown + [output_md(o, options, pictures) for o in cell['outputs']])


def at_the_top(md):
    "Links and callouts of a page, as they must read in a file at the top of the repository"
    def moved(m): return f"](nbs/{m[1]})" if (ROOT/'nbs'/m[1].split('#')[0]).is_file() else m[0]
    md = re.sub(r'\]\((?!nbs/)([^)#\s][^)\s]*)\)', moved, md)
    box = re.compile(r'^::: ?\{\.callout-(\w+)[^}]*\}\n(.*?)\n:::$', re.M | re.S)
    md = box.sub(lambda m: f'> [!{m[1].upper()}]\n' + re.sub('^', '> ', m[2].strip(), flags=re.M), md)
    return re.sub(r'^:::.*\n?', '', md, flags=re.M)  # what only the site lays out


def build():
    "All files that follow from the index, as {path: bytes}"
    pictures = {}
    cells = json.loads(INDEX.read_text(encoding='utf-8'))['cells']
    blocks = [b for c in cells if (b := cell_md(c, pictures).strip())]
    note = '<!-- Made from nbs/index.ipynb by tools/readme.py: edit the notebook. -->'
    return {'README.md': at_the_top('\n\n'.join([note, *blocks]) + '\n').encode(), **pictures}


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--check', action='store_true', help='write nothing, say what differs')
    args = ap.parse_args()
    files = build()
    stale = [p for p, b in files.items() if not (ROOT/p).exists() or (ROOT/p).read_bytes() != b]
    if args.check:
        if stale: sys.exit(f"differs from nbs/index.ipynb: {', '.join(stale)}; run: python tools/readme.py")
        return
    for p in stale:
        (ROOT/p).parent.mkdir(exist_ok=True)
        (ROOT/p).write_bytes(files[p])
        print('wrote', p)


if __name__ == '__main__': main()
