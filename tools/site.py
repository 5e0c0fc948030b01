"Build the site from the saved outputs of the notebooks, as pages that load nothing from anywhere else, and check every link."
import argparse, ast, html, os, re, shutil, sys, tempfile
from contextlib import chdir
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

try:
    from fastcore.nbio import mk_cell, read_nb, write_nb
    from latex2mathml.converter import convert
    from nbdev.config import get_config
    from nbdev.quarto import nbdev_sidebar, refresh_quarto_yml
    from nbdev.serve import proc_nbs
    from smalldocs.config import load
    from smalldocs.layout import inline_md
    from smalldocs.site import Site
except ImportError as e: sys.exit(f"{e}: the site needs the extra `dev`, as in: pip install -e '.[dev]'")

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT/'_docs'
SOURCE_LINK = re.compile(r'^\[source\]\(/blob/.*\n', re.M)  # what nbdev's `show_doc` links to when no repository is set
DUNDER = re.compile(r'^### [\w.]*__[\w.]*$', re.M)  # a heading such as `DataLoader.__iter__`, which Markdown would set in bold
MATH = re.compile(r'<span class="math (inline|display)">\\[(\[](.*?)\\[)\]]</span>', re.S)
FIGURE = re.compile(r'<div id="(fig-[\w-]+)"((?:(?!<div id=).)*?)<figure', re.S)
CAPTION = re.compile('(<figcaption>)(.*?)(?=</figcaption>)', re.S)
FOLDED = re.compile(r'<div (class="callout-header[^>]*data-bs-toggle[^>]*>)(.*?)</div>(<div id="callout-\d+-contents")', re.S)
REMOTE_IMPORT = re.compile(r'@import\s*(?:url\()?\s*["\']?(?:https?:)?//[^"\')]*["\']?\)?[^;]*;')
CSS_URL = re.compile(r'url\(\s*["\']?([^"\')]+)|@import\s+["\']([^"\']+)')
EXPECTED = re.compile('broken link|output-file|format-links|html-math-method')  # warnings for what we check or do ourselves

# ---- building

def one_by_one(source):
    "The source of an `exports` cell in parts with one public function or class each"
    lines = source.splitlines()
    public = [o for o in ast.parse(source).body if isinstance(o, (ast.FunctionDef, ast.ClassDef)) and (o.name[0]!='_' or o.name[:2]=='__')]
    cuts = [0, *(o.end_lineno for o in public[:-1]), len(lines)]
    parts = ['\n'.join(lines[i:j]).strip('\n') for i,j in zip(cuts, cuts[1:])]
    directives = '\n'.join(o for o in lines if o.startswith('#|'))
    return parts[:1] + [f'{directives}\n{o}' for o in parts[1:]]

def part_exports(path):
    "Part the exports of notebook `path`, since nbdev gets the headings wrong of two functions in a cell and of two cells in a row"
    nb = read_nb(path)
    for i,c in reversed(list(enumerate(nb.cells))):
        if c.cell_type!='code' or not c.source.startswith('#| exports'): continue
        nb.cells[i:i+1] = [o for part in one_by_one(c.source) for o in (mk_cell('<!-- -->', 'markdown'), mk_cell(part))]
    write_nb(nb, path)

def process(work):
    "Let nbdev process a copy of the notebooks in `work`, the current folder, and return the folder of the results"
    for f in ('pyproject.toml', '_quarto.yml'): shutil.copy(ROOT/f, work)
    shutil.copytree(ROOT/'nbs', work/'nbs', ignore=shutil.ignore_patterns('.*', 'nbdev.yml', 'sidebar.yml'))
    for nb in (work/'nbs').glob('*.ipynb'): part_exports(nb)
    os.environ['PYTHONWARNINGS'] = 'ignore:Found cells containing imports'  # fine while such a cell needs no other
    refresh_quarto_yml()
    nbdev_sidebar.__wrapped__()
    try: return proc_nbs(force=True)
    except Exception as e: sys.exit(f"nbdev could not process a notebook (is there an import in a cell with other code?)\n{e}")

def to_mathml(match):
    "MathML for maths that smalldocs left as TeX; a formula that can't be converted in full is an error"
    kind,tex = match[1],html.unescape(match[2])
    res = convert(re.sub(r'\{(aligned|align|split)\}', '{align*}', tex), display='block' if kind=='display' else 'inline')
    if '\\' in res or '<mi>&</mi>' in res: raise ValueError(f"latex2mathml does not know all of the formula {tex!r}")
    return f'<span class="math {kind}">{res}</span>'

def fold_button(match):
    "The header of a folded box as a button, which the keyboard reaches"
    inner = re.sub('(</?)div', r'\1span', match[2])
    return f'<button type="button" {match[1]}{inner}</button>{match[3]}'

def notebook_links(cfg, src):
    "Links to notebook `src` where it can be run, for below the table of contents"
    return [dict(text='Open in Colab', icon='play-circle',
        href=f'https://colab.research.google.com/github/{cfg.user}/{cfg.repo}/blob/{cfg.branch}/{cfg.nbs_path.name}/{src}')]

class Pages(Site):
    "The site as smalldocs makes it, with nbdev's page names, maths as MathML, and links to the repository only when there is one"
    def __init__(self, folder, cfg):
        super().__init__(load(folder), quiet=True)
        self.cfg = cfg
        if not cfg.doc_url: self.project.website.pop('site-url', None)

    def read(self, src):
        page = super().read(src)
        page.out = page.out.with_name(page.front.get('output-file', page.out.name))
        page.body = DUNDER.sub(lambda m: m[0].replace('_', r'\_'), page.body)
        if self.cfg.git_url: page.meta['code-links'] = notebook_links(self.cfg, src)
        else: page.body = SOURCE_LINK.sub('', page.body)
        if self.cfg.doc_url: page.body = page.body.replace(f'({self.cfg.doc_url.rstrip("/")}/', '(/')
        return page

    def find_page(self, target):
        return super().find_page(target) or next((p for p in self.pages.values() if p.out==target), None)

    def render_page(self, page):
        super().render_page(page)
        page.html = CAPTION.sub(lambda m: m[1] + inline_md(html.unescape(m[2]), self, page), page.html)
        try: page.html = MATH.sub(to_mathml, page.html)
        except Exception as e: raise ValueError(f"{page.src}: {e}") from e
        page.html = FIGURE.sub(r'<div\2<figure id="\1"', page.html)  # a link to a figure leads to the picture, not to its code
        page.html = FOLDED.sub(fold_button, page.html)
        page.env['math'] = False  # no KaTeX

def build(docs=DOCS):
    "Build the site into the folder `docs`; what is wrong with it"
    with tempfile.TemporaryDirectory() as tmp, chdir(tmp):
        site = Pages(process(Path(tmp)), get_config())
        site.build()
        for f in site.out.rglob('*.css'): f.write_text(REMOTE_IMPORT.sub('', f.read_text(encoding='utf-8')), encoding='utf-8')
        if docs.exists(): shutil.rmtree(docs)
        shutil.move(site.out, docs)
    print(f"{len(site.pages)} pages in {docs}")
    return check(docs) + [w for w in site.warnings if not EXPECTED.search(w)]

# ---- checking

class PageParser(HTMLParser):
    "Collect what a page offers and what it refers to"
    def __init__(self):
        super().__init__()
        self.ids,self.links,self.loads,self.bare,self.css = set(),[],[],[],[]
        self.in_style = False

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.in_style = tag=='style'
        if a.get('id'): self.ids.add(a['id'])
        if tag=='a' and a.get('href'): self.links.append(a['href'])
        if tag=='link' and a.get('href'): self.loads.append(a['href'])
        self.loads += [a[k] for k in ('src', 'poster', 'data', 'srcset') if a.get(k)]
        if a.get('style'): self.css.append(a['style'])
        if tag=='img' and not (a.get('alt') or '').strip(): self.bare.append((a.get('src') or '')[:60])

    def handle_endtag(self, tag): self.in_style = False
    def handle_data(self, data):
        if self.in_style: self.css.append(data)

def parse(path):
    "The parsed page at `path`"
    p = PageParser()
    p.feed(path.read_text(encoding='utf-8'))
    p.loads += css_urls(*p.css)
    return p

def css_urls(*texts): return [a or b for t in texts for a,b in CSS_URL.findall(t)]

def is_remote(url): return url.startswith('//') or urlsplit(url).scheme not in ('', 'data')

def bad_link(url, path, pages, docs):
    "What is wrong with the link `url` in the file `path`, or None"
    u = urlsplit(url)
    if u.scheme or url=='#': return None
    if url.startswith('/'): return f"link {url} starts at the root of the host"
    target = (path.parent/unquote(u.path)).resolve() if u.path else path
    if target.is_dir(): target /= 'index.html'
    if not target.is_relative_to(docs) or not target.exists(): return f"link {url} leads nowhere"
    if u.fragment and target in pages and unquote(u.fragment) not in pages[target].ids: return f"link {url}: that page has no such place"

def check(docs):
    "Every broken link, picture without alternative text, and file from another host, as a line of text"
    docs = docs.resolve()
    pages = {p:parse(p) for p in sorted(docs.rglob('*.html'))}
    loads = {p:o.loads for p,o in pages.items()}
    loads |= {p:css_urls(p.read_text(encoding='utf-8')) for p in docs.rglob('*.css')}
    res = [(p,f"picture without alternative text: {src}") for p,o in pages.items() for src in o.bare]
    res += [(p,f"loads {u} from another host") for p,us in loads.items() for u in us if is_remote(u)]
    urls = [(p,u) for p,us in loads.items() for u in us if not is_remote(u)] + [(p,u) for p,o in pages.items() for u in o.links]
    res += [(p,bad) for p,u in urls if (bad := bad_link(u, p, pages, docs))]
    return [f"{p.relative_to(docs)}: {what}" for p,what in dict.fromkeys(res)]

# ---- the command

def serve(port):
    "Serve the site that was built, on this machine only"
    if not (DOCS/'index.html').exists(): sys.exit("there is no site yet: python tools/site.py build")
    server = ThreadingHTTPServer(('127.0.0.1', port), partial(SimpleHTTPRequestHandler, directory=DOCS))
    print(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C stops it)")
    try: server.serve_forever()
    except KeyboardInterrupt: pass

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    sub = parser.add_subparsers(dest='command', required=True)
    sub.add_parser('build', help="write the site into _docs/ and check it")
    sub.add_parser('serve', help="serve _docs/ on this machine").add_argument('--port', type=int, default=8000)
    args = parser.parse_args()
    if args.command=='serve': return serve(args.port)
    problems = build()
    if problems: sys.exit('\n'.join([f"{len(problems)} problem(s):", *problems]))

if __name__=='__main__': main()
