"The questionnaire and the glossary are complete, and what leads to them, and from them, arrives."
import json, re
from pathlib import Path
import pytest
from smalldocs.markdown import pandoc_id
from outputs import NBS, NOTEBOOKS, nb_name

LINK = re.compile(r'\]\(([\w./-]*\.ipynb)?#([\w.-]+)\)')
CHECK = re.compile(r'^\s*(assert|test_\w+\(|with expect_fail)', re.M)


def cells(path): return [(c['cell_type'], ''.join(c['source'])) for c in json.loads(path.read_text(encoding='utf-8'))['cells']]


def places(path):
    "The anchors of a page: its headings, figures and exported names"
    found = set()
    for kind, source in cells(path):
        if kind == 'markdown':
            for heading in re.findall(r'^#+ (.*)$', source, re.M):
                name = base = pandoc_id(heading.replace('`', ''))
                n = 0
                while name in found: name, n = f'{base}-{n+1}', n+1
                found.add(name)
        else:
            found |= set(re.findall(r'^#\| label: (\S+)', source, re.M))
            if '#| export' in source: found |= {o.lower() for o in re.findall(r'^(?:def|class) (\w+)', source, re.M)}
    return found


def sections(path):
    "The cells below each heading of the third level, as {heading: [(kind, source)]}"
    res, heading = {}, None
    for kind, source in cells(path):
        if kind == 'markdown' and source.startswith('#'):
            first, *rest = source.split('\n', 1)
            heading = first[4:] if first.startswith('### ') else None
            source = ''.join(rest)
            if heading: res[heading] = []
        if heading and source.strip(): res[heading].append((kind, source))
    return res


@pytest.mark.parametrize('path', NOTEBOOKS, ids=nb_name)
def test_links_to_a_place_arrive(path):
    lost = [(page, place) for kind, source in cells(path) if kind == 'markdown' for page, place in LINK.findall(source)
            if place not in places(path.parent/page if page else path)]
    assert not lost


QUESTIONS = sections(NBS/'11_questionnaire.ipynb')
TERMS = sections(NBS/'13_glossary.ipynb')


def test_all_37_questions_are_there():
    assert [int(o.split('.')[0]) for o in QUESTIONS] == list(range(1, 38))
    assert sum(any(k == 'code' and CHECK.search(s) for k, s in v) for v in QUESTIONS.values()) >= 27


@pytest.mark.parametrize('question', QUESTIONS, ids=lambda q: q.split('.')[0])
def test_a_question_has_a_folded_answer_and_its_place(question):
    text = '\n'.join(s for k, s in QUESTIONS[question] if k == 'markdown')
    assert re.search(r'::: \{\.callout-tip title="Answer" collapse="true"\}\n[^:]{20}', text)
    assert re.search(r'Taught in \[[^]]+\]\((workshop/)?\d\d[a-z]?_\w+\.ipynb#[\w-]+\)', text)


@pytest.mark.parametrize('term', TERMS)
def test_a_term_has_a_sentence_its_place_and_an_example(term):
    (_, text), (kind, code) = TERMS[term]
    assert re.search(r'\S.*First in \[[^]]+\]\((workshop/)?\d\d[a-z]?_\w+\.ipynb(#[\w-]+)?\)', text)
    assert kind == 'code' and CHECK.search(code)


def test_the_list_from_a_to_z_has_every_term():
    listed = next(re.findall(r'\[([^]]+)\]\(#([\w-]+)\)', s) for _, s in cells(NBS/'13_glossary.ipynb') if s.startswith('**A**'))
    assert [name for name, _ in listed] == sorted(TERMS, key=str.lower)
    assert [place for _, place in listed] == [pandoc_id(name) for name, _ in listed]


@pytest.mark.parametrize('path', [p for p in NOTEBOOKS if re.match(r'0[1-69]_', nb_name(p))], ids=lambda p: p.stem)
def test_a_page_leads_to_the_glossary(path):
    assert any('(13_glossary.ipynb#' in source for kind, source in cells(path) if kind == 'markdown')
