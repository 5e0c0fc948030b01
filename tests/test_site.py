"What the site's builder promises of every page, each tried on a page that breaks it."
import importlib.util, re
from pathlib import Path
from types import SimpleNamespace
import pytest
from fastcore.nbio import mk_cell, new_nb, read_nb, write_nb
from outputs import NOTEBOOKS, nb_name

spec = importlib.util.spec_from_file_location('site_tool', Path(__file__).parents[1]/'tools'/'site.py')
site = importlib.util.module_from_spec(spec)
spec.loader.exec_module(site)

def problems(folder, body, css=''):
    "What `check` says of a site with two pages, of which the first has `body`"
    (folder/'index.html').write_text(f'<html><head><link rel="stylesheet" href="s.css"></head><body><h1>One</h1>{body}</body></html>')
    (folder/'two.html').write_text('<h1 id="here">Two</h1>')
    (folder/'s.css').write_text(css)
    return site.check(folder)

@pytest.mark.parametrize('body', [
    '<a href="two.html#here">a place</a><a href="./">home</a><a href="#">top</a>',
    '<a href="https://pytorch.org/">a link to elsewhere, which loads nothing</a>',
    '<img src="data:image/png;base64,AA" alt="A 3">',
    '<h2>a</h2><h3>b</h3><h4>c</h4><h2>d</h2>'])
def test_sound_page(tmp_path, body): assert problems(tmp_path, body) == []

@pytest.mark.parametrize('body,says', [
    ('<a href="three.html">x</a>', 'leads nowhere'),
    ('<a href="../outside.html">x</a>', 'leads nowhere'),
    ('<a href="two.html#there">x</a>', 'no such place'),
    ('<a href="#fig-lost">x</a>', 'no such place'),
    ('<a href="/two.html">x</a>', 'root of the host'),
    ('<img src="data:image/png;base64,AA">', 'without alternative text'),
    ('<div class="cell-output cell-output-stderr">\n<pre><code>x.py:1: FutureWarning: old</code></pre></div>', 'shows a warning'),
    ('<h1>another title</h1>', 'level 1'),
    ('<h2>a</h2><h4>c</h4>', 'level 4 follows one of level 2'),
    ('<img src="lost.png" alt="A 3">', 'leads nowhere'),
    ('<script src="https://cdn.example.org/x.js"></script>', 'another host'),
    ('<img src="//example.org/x.png" alt="A 3">', 'another host'),
    ('<style>@import url("https://fonts.example.org/css?a;b");</style>', 'another host')])
def test_broken_page(tmp_path, body, says):
    found = problems(tmp_path, body)
    assert len(found) == 1 and found[0].startswith('index.html: ') and says in found[0]

def test_old_addresses_lead_to_the_new_ones(tmp_path):
    moved = {'old.html': 'new/page.html', 'deep/old.html': 'new/page.html'}
    for folder in 'new', 'deep': (tmp_path/folder).mkdir()
    (tmp_path/'new'/'page.html').write_text('<h1>Here</h1>')
    site.add_redirects(tmp_path, moved)
    assert site.check(tmp_path) == []
    found = [re.search('content="0; url=(.*)"', (tmp_path/o).read_text())[1] for o in moved]
    assert found == ['new/page.html', '../new/page.html']
    with pytest.raises(FileExistsError): site.add_redirects(tmp_path, moved)
    (tmp_path/'new'/'page.html').unlink()
    assert len(site.check(tmp_path)) == 2

def test_css_from_another_host(tmp_path):
    css = '@import url(https://fonts.example.org/css2?family=Lato:wght@400;700&display=swap);body{color:red}'
    assert 's.css: loads' in problems(tmp_path, '', css)[0]
    assert site.REMOTE_IMPORT.sub('', css) == 'body{color:red}'

def test_maths():
    def mathml(tex, kind='inline'): return site.MATH.sub(site.to_mathml, rf'<span class="math {kind}">\({tex}\)</span>')
    assert '<mfrac><mi>a</mi><mi>b</mi></mfrac>' in mathml(r'\frac a b')
    assert '<mo>&#x0003C;</mo>' in mathml('x &lt; 0')
    assert mathml(r'\begin{aligned} a &amp;= b \\ &amp;= c \end{aligned}', 'display').count('<mtr>') == 2
    with pytest.raises(ValueError, match='unheardof'): mathml(r'\unheardof{x}')

def test_link_to_figure_leads_to_the_picture():
    page = '<div id="fig-a" class="cell"><p>code</p><figure class="figure"></figure></div><div id="fig-b" class="cell"></div>'
    res = site.FIGURE.sub(r'<div\2<figure id="\1"', page)
    assert '<figure id="fig-a" class="figure">' in res and '<div id="fig-b"' in res and res.count('fig-a') == 1

def test_link_on_a_name_is_one_link():
    assert site.LINKED_TWICE.sub(r'\1', 'see [[`f`](a.html#f)](00_a.ipynb), [`g`](b.html) and [h](c.html)') == 'see [`f`](a.html#f), [`g`](b.html) and [h](c.html)'

def test_folded_box_opens_from_the_keyboard():
    page = ('<div class="callout-header collapsed" data-bs-toggle="collapse"><div class="t">Why?</div></div>'
            '<div id="callout-1-contents" class="collapse">Because</div>')
    assert '<button type="button" class="callout-header' in site.FOLDED.sub(site.fold_button, page)
    assert not re.search('<button.*<div.*</button>', site.FOLDED.sub(site.fold_button, page))

def test_exports_are_parted_without_loss():
    cell = "#| exports\nA = 1\n\ndef f(): pass\n\ndef _g(): pass\n\n@cache\ndef h():\n    return _g()\n\nclass C: pass"
    parts = site.one_by_one(cell)
    assert [o.splitlines()[0] for o in parts] == ['#| exports']*3
    assert parts[1] == "#| exports\ndef _g(): pass\n\n@cache\ndef h():\n    return _g()"
    assert re.sub(r'\s', '', ''.join(parts)).replace('#|exports', '') == re.sub(r'\s', '', cell).replace('#|exports', '')
    assert site.one_by_one("#| exports\nimport torch") == ["#| exports\nimport torch"]
    folded = '#| exports\n#| code-summary: "g"\n'  # each fold is named after what is in it
    assert site.one_by_one(folded+'def f(): pass\ndef g(): pass') == [folded.replace('"g"', '"f"')+'def f(): pass', folded+'def g(): pass']

def test_sidebar_lists_all_notebooks_in_order():
    listed = re.findall(r'^ +- (\S+\.ipynb)$', (site.ROOT/'_quarto.yml').read_text(encoding='utf-8'), re.M)
    assert listed == ['index.ipynb', *(f'{nb_name(p)}.ipynb' for p in NOTEBOOKS if p.stem != 'index')]

def links(git_url, src='04_linear_model.ipynb'):
    cfg = SimpleNamespace(git_url=git_url, user='ada', repo='mnist_basics', branch='main', nbs_path=Path('nbs'))
    return dict(o[:2] for o in site.notebook_links(cfg, src))

def test_links_to_notebooks():
    assert links('') == {'Download the notebook': 'notebooks/04_linear_model.ipynb'}
    assert links('https://github.com/ada/mnist_basics') == {
        'Open in Colab': 'https://colab.research.google.com/github/ada/mnist_basics/blob/main/nbs/04_linear_model.ipynb',
        'Open in Kaggle': 'https://kaggle.com/kernels/welcome?src=https://github.com/ada/mnist_basics/blob/main/nbs/04_linear_model.ipynb',
        'Download the notebook': 'notebooks/04_linear_model.ipynb'}
    assert links('', 'workshop/02_files.ipynb') == {'Download the notebook': '../notebooks/workshop/02_files.ipynb'}

@pytest.mark.parametrize('ground', ['#ffffff', '#7d7d7d', '#777777', '#707070', '#6a6a6a', '#000000', '#1f9d80'])
def test_a_shaded_cell_can_be_read(ground):
    css = site.SHADED.sub(site.readable, f'#T_a {{ background-color: {ground};\n  color: #f1f1f1; }}')
    ink = re.search(r' color: (#\w+)', css)[1]
    dark, light = sorted(site.luminance(o) for o in (ground, ink))
    assert (light+.05)/(dark+.05) >= 4.5

def test_a_figure_in_html_keeps_its_caption(tmp_path):
    data = {'text/html': '<img alt="A 3">', 'image/png': 'AA', 'text/plain': 'x'}
    def cell(source): return mk_cell(source, outputs=[dict(output_type='display_data', metadata={}, data=dict(data))])
    cells = [cell('#| fig-alt: "A 3"\nshow()'), cell('table()')]
    write_nb(new_nb(cells), tmp_path/'a.ipynb')
    site.captioned_pictures(tmp_path/'a.ipynb')
    first, second = (o.outputs[0]['data'] for o in read_nb(tmp_path/'a.ipynb').cells)
    assert 'text/html' not in first and 'image/png' in first and 'text/html' in second
