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
    from nbdev.quarto import refresh_quarto_yml
    from nbdev.serve import proc_nbs
    from smalldocs.config import load
    from smalldocs.layout import inline_md
    from smalldocs.site import Site
except ImportError as e: sys.exit(f"{e}: the site needs the extra `dev`, as in: pip install -e '.[dev]'")

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT/'_docs'
SOURCE_LINK = re.compile(r'^\[source\]\(/blob/.*\n', re.M)  # what nbdev's `show_doc` links to when no repository was set
DUNDER = re.compile(r'^### [\w.]*__[\w.]*$', re.M)  # a heading such as `DataLoader.__iter__`, which Markdown would set in bold
LINKED_TWICE = re.compile(r'\[(\[`[^`\]]+`\]\([^)]+\))\]\([^)]+\)')  # a link on a name in backticks, which nbdev has made a link itself
MATH = re.compile(r'<span class="math (inline|display)">\\[(\[](.*?)\\[)\]]</span>', re.S)
FIGURE = re.compile(r'<div id="(fig-[\w-]+)"((?:(?!<div id=).)*?)<figure', re.S)
CAPTION = re.compile('(<figcaption>)(.*?)(?=</figcaption>)', re.S)
FOLDED = re.compile(r'<div (class="callout-header[^>]*data-bs-toggle[^>]*>)(.*?)</div>(<div id="callout-\d+-contents")', re.S)
REMOTE_IMPORT = re.compile(r'@import\s*(?:url\()?\s*["\']?(?:https?:)?//[^"\')]*["\']?\)?[^;]*;')
CSS_URL = re.compile(r'url\(\s*["\']?([^"\')]+)|@import\s+["\']([^"\']+)')
NAMED = re.compile(r'cell-output-markdown">\s*<hr />\s*<h3 id="([^"]+)"')  # the heading of an exported function
LESSON = re.compile(r'0\d\w*\.ipynb')  # a page of the course, which is read, where others are looked up
WARNED = re.compile(r'cell-output-stderr">\s*<pre><code>([^<]*(?:Warning:|site-packages/)[^<]*)')
EXPECTED = re.compile('broken link|output-file|format-links|html-math-method')  # warnings for what we check or do ourselves
SHADED = re.compile(r'(background-color: (#[0-9a-f]{6});\s*color: )#[0-9a-f]{6}')  # a cell that pandas has coloured by its value
SECTION = re.compile(r'<a [^>]*data-bs-target="#(quarto-sidebar-section-\d+)"[^>]*><span class="menu-text">(.*?)</span></a>'
    r'<a class="sidebar-item-toggle.*?</a></div><ul ([^>]*)class="collapse ')
FINISH = [(re.compile(a, re.S), b) for a,b in [  # what smalldocs' pages lack for readers who use keyboard or ears
    ('(<body[^>]*>)', r'\1<a class="skip-link" href="#quarto-document-content">Skip to the text</a>'),
    ('<main ', '<main tabindex="-1" '),
    ('<nav (id="quarto-sidebar")', r'<nav aria-label="Pages" \1'),
    ('<nav class="quarto-secondary-nav">(.*?</nav>.*?)</nav>', r'<div class="quarto-secondary-nav">\1</div>'),
    ('<nav (id="TOC")', r'<nav aria-labelledby="toc-title" \1'),
    ('<h2 id="toc-title">(.*?)</h2>', r'<p id="toc-title">\1</p>'),
    ('<nav class="page-navigation', '<nav aria-label="Previous and next page" class="page-navigation'),
    ('(aria-controls="quarto-sidebar") aria-label="[^"]*"', r'\1 aria-expanded="false" aria-label="Pages and search"'),
    ('<a class="(quarto-color-scheme-toggle[^"]*)" href="" title="[^"]*" onclick="[^"]*">(.*?)</a>',
        r'<button type="button" class="\1" title="Light or dark" aria-label="Light or dark" onclick="smalldocsToggleScheme()">\2</button>'),
    (SECTION.pattern, r'<span class="sidebar-heading" id="\1-title">\2</span></div><ul aria-labelledby="\1-title" \3class="'),
    (r'<th>(?:\s|&nbsp;)*</th>', '<td></td>'),
    (r'<th class="blank[^>]*>&nbsp;</th>', '<td></td>')]]

# ---- building

def one_by_one(source):
    "The source of an `exports` cell in parts with one public function or class each"
    lines = source.splitlines()
    public = [o for o in ast.parse(source).body if isinstance(o, (ast.FunctionDef, ast.ClassDef)) and (o.name[0]!='_' or o.name[:2]=='__')]
    cuts = [0, *(o.end_lineno for o in public[:-1]), len(lines)]
    parts = ['\n'.join(lines[i:j]).strip('\n') for i,j in zip(cuts, cuts[1:])]
    directives = '\n'.join(o for o in lines if o.startswith('#|'))
    parts = parts[:1] + [f'{directives}\n{o}' for o in parts[1:]]
    if len(parts)==1: return parts
    return [re.sub('^(#[|] code-summary: ).*', rf'\1"{o.name}"', part, flags=re.M) for part,o in zip(parts, public)]

def part_exports(path):
    "Part the exports of notebook `path`, since nbdev gets the headings wrong of two functions in a cell and of two cells in a row"
    nb = read_nb(path)
    for i,c in reversed(list(enumerate(nb.cells))):
        if c.cell_type!='code' or not c.source.startswith('#| exports'): continue
        nb.cells[i:i+1] = [o for part in one_by_one(c.source) for o in (mk_cell('<!-- -->', 'markdown'), mk_cell(part))]
    write_nb(nb, path)

def captioned_pictures(path):
    "Let a figure that describes itself in HTML keep its caption: smalldocs captions pictures, and takes their words from `fig-alt`"
    nb = read_nb(path)
    for c in nb.cells:
        if c.cell_type!='code' or '#| fig-alt:' not in c.source: continue
        for o in c.outputs:
            if 'image/png' in o.get('data', {}): o['data'].pop('text/html', None)
    write_nb(nb, path)

def only_imports(path):
    "Let nbdev run, for the documentation of functions, cells with nothing but imports; any other needs the cells before it"
    nb = read_nb(path)
    for c in nb.cells:
        if c.cell_type!='code' or c.source.startswith('#| export'): continue
        try: kinds = {type(o) for o in ast.parse(c.source).body}
        except SyntaxError: continue  # a line for the shell
        if kinds - {ast.Import, ast.ImportFrom}: c.source = f'#| eval: false\n{c.source}'
    write_nb(nb, path)

def process(work):
    "Let nbdev process a copy of the notebooks in `work`, the current folder, and return the folder of the results"
    for f in ('pyproject.toml', '_quarto.yml'): shutil.copy(ROOT/f, work)
    shutil.copytree(ROOT/'nbs', work/'nbs', ignore=shutil.ignore_patterns('.*', 'nbdev.yml', 'sidebar.yml'))
    for nb in (work/'nbs').rglob('*.ipynb'):
        for prepare in (part_exports, captioned_pictures, only_imports): prepare(nb)
    os.environ['PYTHONWARNINGS'] = 'ignore'  # what an import says when nbdev runs it here would stand on the page
    refresh_quarto_yml()
    try: return proc_nbs(force=True)
    except Exception as e: sys.exit(f"nbdev could not process a notebook: {e}")

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

def luminance(colour):
    "How light a colour such as `#1a5ea8` is, 0..1, as WCAG reckons"
    parts = [int(colour[i:i+2], 16)/255 for i in (1,3,5)]
    return sum(w*(p/12.92 if p<=.04045 else ((p+.055)/1.055)**2.4) for w,p in zip((.2126,.7152,.0722), parts))

def readable(match):
    "Black or white on the colour that pandas gave to a cell: whichever can be read better"
    light = luminance(match[2])
    return match[1] + ('#000000' if (light+.05)/.05 > 1.05/(light+.05) else '#ffffff')

def notebook_links(cfg, src):
    "Where the notebook `src`, such as `workshop/02_files.ipynb`, can be run, and had: what to call each place, its address, and its icon"
    path = f'github.com/{cfg.user}/{cfg.repo}/blob/{cfg.branch}/{cfg.nbs_path.name}/{src}'
    up = '../'*src.count('/')
    places = [('Open in Colab', f'https://colab.research.google.com/{path.replace("github.com", "github", 1)}', 'play-circle'),
              ('Open in Kaggle', f'https://kaggle.com/kernels/welcome?src=https://{path}', 'play-circle')]
    return (places if cfg.git_url else []) + [('Download the notebook', f'{up}notebooks/{src}', 'download')]

def links_html(links):
    "A list of links as it stands below the title of a page"
    items = [f'<li><a href="{html.escape(url)}"{" download" if icon=="download" else ""}><i class="bi bi-{icon}" aria-hidden="true"></i> {text}</a></li>' for text,url,icon in links]
    return f'<ul class="notebook-links">{"".join(items)}</ul>'

def as_lesson(page):
    "The HTML of a page of the course: functions are steps of the lesson, and not entries of its table of contents"
    for name in NAMED.findall(page): page = re.sub(f'<li><a href="#{re.escape(name)}" id="toc-[^>]*>[^<]*</a></li>', '', page)
    page = re.sub(r'<details open="" class="code-fold">(?=\s*<summary>Exported source)', '<details open="" class="code-fold plain">', page)
    return page.replace('<ul></ul>', '').replace('<body class="', '<body class="lesson ', 1)

def finished(page):
    "The HTML of a whole page with all that smalldocs leaves out"
    for pattern,new in FINISH: page = pattern.sub(new, page)
    return SHADED.sub(readable, page)

class Pages(Site):
    "The site as smalldocs makes it, with nbdev's page names, maths as MathML, and links to the repository only when there is one"
    def __init__(self, folder, cfg):
        super().__init__(load(folder), quiet=True)
        self.cfg = cfg
        if not cfg.doc_url: self.project.website.pop('site-url', None)
        if not cfg.git_url: self.project.website.pop('repo-url', None)

    def read(self, src):
        page = super().read(src)
        page.out = page.out.with_name(page.front.get('output-file', page.out.name))
        page.body = LINKED_TWICE.sub(r'\1', page.body)
        page.body = DUNDER.sub(lambda m: m[0].replace('_', r'\_'), page.body)
        page.body = SOURCE_LINK.sub('', page.body)
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

    def finish(self):
        "Complete the pages that are written, and lay their notebooks beside them"
        for page in self.pages.values():
            path,links = self.out/page.out, ''
            if (ROOT/'nbs'/page.src).suffix=='.ipynb':
                links,copy = links_html(notebook_links(self.cfg, str(page.src))),self.out/'notebooks'/page.src
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT/'nbs'/page.src, copy)
            text = finished(path.read_text(encoding='utf-8'))
            if LESSON.fullmatch(str(page.src)): text = as_lesson(text)
            up = '../'*(len(page.out.parts)-1)
            text = text.replace('src="site.js"', f'src="{up}site.js"')
            if 'data-explorable=' in text: text = text.replace('</body>', f'<script type="module" src="{up}explore/host.js"></script></body>', 1)
            path.write_text(text.replace('<div class="quarto-title-meta"></div>', links, 1), encoding='utf-8')
        for f in self.out.rglob('*.css'): f.write_text(REMOTE_IMPORT.sub('', f.read_text(encoding='utf-8')), encoding='utf-8')

MOVED = {'data.html': 'workshop/data.html', '00_data.html': 'workshop/data.html'}  # where pages were, and where they are

REDIRECT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="0; url={to}">
<link rel="canonical" href="{to}">
<title>This page has moved</title>
</head>
<body>
<main>
<h1>This page has moved</h1>
<p><a href="{to}">Here it is.</a></p>
</main>
</body>
</html>
"""

def add_redirects(docs, moved=MOVED):
    "Lay a small page at each old address that leads to the new one; an error if a page is there"
    for old,new in moved.items():
        to = os.path.relpath(docs/new, (docs/old).parent).replace(os.sep, '/')
        with open(docs/old, 'x', encoding='utf-8') as f: f.write(REDIRECT.format(to=to))

def add_drawing(docs):
    "Lay the page on which one draws, with the networks that judge it, into the folder `draw` of `docs`"
    from mnist_basics.draw import export_web
    export_web(docs/'draw')

def add_explorables(docs):
    "Lay the figures that one can touch into the folder `explore` of `docs`"
    from mnist_basics.explorables import explore_folder
    shutil.copytree(explore_folder(), docs/'explore')

def build(docs=DOCS):
    "Build the site into the folder `docs`; what is wrong with it"
    with tempfile.TemporaryDirectory() as tmp, chdir(tmp):
        site = Pages(process(Path(tmp)), get_config())
        site.build()
        site.finish()
        add_redirects(site.out)
        if (ROOT/'mnist_basics'/'draw.py').exists(): add_drawing(site.out)
        add_explorables(site.out)
        if docs.exists(): shutil.rmtree(docs)
        shutil.move(site.out, docs)
    print(f"{len(site.pages)} pages in {docs}")
    return check(docs) + [w for w in site.warnings if not EXPECTED.search(w)]

# ---- checking

class PageParser(HTMLParser):
    "Collect what a page offers and what it refers to"
    def __init__(self):
        super().__init__()
        self.ids,self.links,self.loads,self.bare,self.css,self.headings = set(),[],[],[],[],[]
        self.in_style = False

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.in_style = tag=='style'
        if a.get('id'): self.ids.add(a['id'])
        if re.fullmatch('h[1-6]', tag): self.headings.append(int(tag[1]))
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

def bad_headings(levels):
    "What is wrong with the headings of a page, given as their levels in order, or None"
    if levels.count(1)!=1: return f"{levels.count(1)} headings of level 1, where a page has one"
    if jump := next(((a,b) for a,b in zip(levels, levels[1:]) if b>a+1), None): return f"a heading of level {jump[1]} follows one of level {jump[0]}"

def check(docs):
    "Every broken link, picture without alternative text, heading out of order, warning shown, and file from another host, as a line of text"
    docs = docs.resolve()
    pages = {p:parse(p) for p in sorted(docs.rglob('*.html'))}
    loads = {p:o.loads for p,o in pages.items()}
    loads |= {p:css_urls(p.read_text(encoding='utf-8')) for p in docs.rglob('*.css')}
    res = [(p,f"picture without alternative text: {src}") for p,o in pages.items() for src in o.bare]
    res += [(p,f"shows a warning: {m.strip()[:80]}") for p in pages for m in WARNED.findall(p.read_text(encoding='utf-8'))]
    res += [(p,bad) for p,o in pages.items() if (bad := bad_headings(o.headings))]
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
    sub.add_parser('build', help="write the site and check it").add_argument('--out', type=Path, default=DOCS, help="the folder to write; _docs/ by default")
    sub.add_parser('serve', help="serve _docs/ on this machine").add_argument('--port', type=int, default=8000)
    args = parser.parse_args()
    if args.command=='serve': return serve(args.port)
    problems = build(args.out.resolve())
    if problems: sys.exit('\n'.join([f"{len(problems)} problem(s):", *problems]))

if __name__=='__main__': main()
