"What the command promises to a shell: exit codes, one line for an error, nothing overwritten, nothing half written."
import json, os, signal, subprocess, sys, threading
import pytest
from mnist_basics.command import copy_notebooks, main, make_parser, series_folder, write_whole

CALL = [sys.executable, '-c', 'import sys; from mnist_basics.command import main; sys.exit(main())']
KEYS = ['stage', 'what', 'parameters', 'accuracy', 'per_class', 'seconds', 'seed', 'device']
root = pytest.mark.skipif(hasattr(os, 'geteuid') and os.geteuid()==0, reason='root may write everywhere')


def start(*args, cwd): return subprocess.Popen([*CALL, *map(str, args)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_help_loads_nothing_large(tmp_path):
    code = 'import sys; from mnist_basics.command import main; main(["--help"]); main(["predict", "--help"]); print(*sys.modules, file=sys.stderr)'
    run = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert 'usage: mnist-basics' in run.stdout
    assert not {o.split('.')[0] for o in run.stderr.split()} & {'torch', 'numpy', 'PIL', 'fastai', 'pandas', 'matplotlib', 'tqdm', 'fastcore'}


@pytest.mark.parametrize('args', [['--help'], ['--version'], ['notebooks', '--help']])
def test_help_and_version_end_well(args, capsys):
    assert main(args) == 0
    out, err = capsys.readouterr()
    assert 'mnist-basics' in out and not err


@pytest.mark.parametrize('args,code,said', [
    (['--stages', 'liner_model'], 2, "did you mean 'linear_model'?"),
    (['--stages', ''], 2, 'there are baseline'),
    (['--stages', 'baseline,,linear_model'], 2, 'there are baseline'),
    (['--device', 'abacus'], 2, 'this machine has cpu'),
    (['--device', 'meta'], 2, 'this machine has cpu'),
    (['--seed', 'x'], 2, 'whole number'),
    (['--seed', '-1'], 2, 'whole number'),
    (['--seed', str(2**32)], 2, 'whole number'),
    (['--stage=baseline'], 2, '--stage'),
    (['--json'], 2, 'expected one argument'),
    (['predict'], 2, 'IMAGE'),
    (['predct', 'a.png'], 2, 'predct'),
    (['--seed', '1', 'data'], 2, '--seed does not go with data'),
    (['--json', 'a.json', 'notebooks', 'there'], 2, '--json does not go with notebooks'),
    (['data', '--digits', '3;7'], 2, 'names no digits'),
    (['data', '--digits', '7-3'], 2, 'names no digits'),
    (['notebooks'], 2, 'DEST'),
    (['predict', 'missing.png'], 1, 'missing.png'),
    (['predict', '.'], 1, 'folder'),
    (['predict', 'text.png'], 1, 'text.png'),
    (['predict', 'empty.png'], 1, 'empty.png'),
    (['predict', 'missing.png', '--device', 'abacus'], 2, 'abacus'),
    (['predict', 'missing.png', '--stages', 'x'], 2, 'unknown stage'),
    (['--json', '.'], 1, 'folder'),
    (['--json', 'nowhere/a.json'], 1, 'nowhere'),
    (['notebooks', 'text.png'], 1, 'text.png'),
    (['notebooks', 'text.png/below'], 1, 'text.png')])
def test_mistakes_get_one_line(args, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'text.png').write_text('this is no picture')
    (tmp_path/'empty.png').touch()
    def never(*a, **kw): raise AssertionError('trained before everything was looked at')
    for o in 'train_rungs', 'climb': monkeypatch.setattr(f'mnist_basics.ladder.{o}', never)
    before = sorted(tmp_path.rglob('*'))
    assert main(args) == code
    out, err = capsys.readouterr()
    assert not out and err.startswith('mnist-basics: ') and err.count('\n') == 1 and said in err
    assert sorted(tmp_path.rglob('*')) == before


@root
def test_no_permission(tmp_path, capsys):
    locked = tmp_path/'locked'
    locked.mkdir()
    (locked/'three.png').write_bytes(b'x')
    (locked/'three.png').chmod(0)
    locked.chmod(0o500)
    for args in ['predict', locked/'three.png'], ['--json', locked/'a.json'], ['notebooks', locked/'series'], ['notebooks', locked]:
        assert main([str(o) for o in args]) == 1
        out, err = capsys.readouterr()
        assert not out and err.startswith('mnist-basics: ') and err.count('\n') == 1 and 'ermission' in err


def test_outside_the_checkout_with_no_home(tmp_path):
    "The ladder as JSON and nothing else, from an empty folder; the same as `climb` gives here"
    from mnist_basics.ladder import climb
    env = {**os.environ, 'HOME': str(tmp_path/'none'), 'FASTAI_HOME': str(tmp_path/'none')}
    run = subprocess.run([*CALL, '--json', '-', '--device', 'cpu'], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, '')
    rungs = json.loads(run.stdout)
    for a, b in zip(rungs, climb(device='cpu'), strict=True):
        assert list(a) == KEYS
        assert {k: v for k, v in a.items() if k not in ('seconds', 'per_class', 'accuracy')} == {k: v for k, v in b.items() if k not in ('seconds', 'per_class', 'accuracy')}
        assert a['accuracy'] == pytest.approx(b['accuracy'], abs=2e-3)
        assert set(a['per_class']) == {'3', '7'} and all(0 <= v <= 1 for v in [a['accuracy'], *a['per_class'].values()])
        assert a['seconds'] > 0 and isinstance(a['parameters'], int)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('end', ['interrupt', 'close'])
def test_stopped_early(end, tmp_path):
    "Ctrl-C, or a reader that has seen enough, ends the run without a word and leaves the old result whole"
    target = tmp_path/'ladder.json'
    target.write_text('old')
    run = start('--json', target, '--device', 'cpu', cwd=tmp_path)
    assert run.stdout.readline().startswith('stage')
    if end=='interrupt': run.send_signal(signal.SIGINT)
    else: run.stdout.close()
    said = run.stderr.read()
    assert run.wait() == (130 if end=='interrupt' else 141)
    run.stderr.close()
    if end=='interrupt': run.stdout.close()
    assert not said
    assert target.read_text() == 'old' and os.listdir(tmp_path) == ['ladder.json']


def test_json_replaces_in_one_step(tmp_path, capsys):
    real, link = tmp_path/'real.json', tmp_path/'link.json'
    real.write_text('old')
    link.symlink_to(real)
    assert main(['--stages', 'baseline', '--device', 'cpu', '--json', str(link)]) == 0
    assert link.is_symlink() and json.loads(real.read_text())[0]['stage'] == 'baseline'
    assert sorted(os.listdir(tmp_path)) == ['link.json', 'real.json']
    assert '0.9511  0.9168  0.9854' in capsys.readouterr().out


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    old = tmp_path/'a.json'
    old.write_text('old')
    def full(*a): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError): write_whole(old, b'new')
    assert old.read_text() == 'old' and os.listdir(tmp_path) == ['a.json']


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no named pipes here')
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe, got = tmp_path/'pipe', []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_whole(pipe, b'[]')
    reader.join(10)
    assert got == [b'[]'] and pipe.is_fifo()


def test_predict_as_json(tmp_path, capsys):
    from PIL import Image
    from mnist_basics.data import mnist
    images, labels = mnist('valid', (3, 7))
    files = []
    for d in 3, 7:
        files.append(str(tmp_path/f'a {d}.png'))
        Image.fromarray(images[labels==d][0].numpy()).save(files[-1])
    assert main(['--device', 'cpu', 'predict', *files, '--json', '-']) == 0
    out, err = capsys.readouterr()
    seen = json.loads(out)
    assert not err and [o['file'] for o in seen] == [files[0]]*3 + [files[1]]*3
    assert {o['digit'] for o in seen if o['file']==files[1]} == {7}
    for o in seen:
        assert set(o) - {'distances', 'probabilities'} == {'file', 'stage', 'what', 'digit'}
        values = o.get('distances') or o['probabilities']
        assert o['digit'] == int((min if 'distances' in o else max)(values, key=values.get))


def test_options_before_and_after_predict_agree():
    a, b = (make_parser().parse_args(o) for o in (['--seed', '7', 'predict', 'x'], ['predict', 'x', '--seed', '7']))
    assert vars(a) == vars(b)


def test_notebooks_of_the_reader_are_kept(tmp_path, capsys):
    dest = tmp_path/'new'/'series'
    assert main(['notebooks', str(dest)]) == 0
    names = sorted(o.name for o in series_folder().glob('*.ipynb'))
    assert sorted(os.listdir(dest)) == names and '00_data.ipynb' in names
    assert all((dest/o).read_bytes() == (series_folder()/o).read_bytes() for o in names)
    mine, gone = dest/names[0], dest/names[1]
    mine.write_text('my notes')
    gone.unlink()
    stamp = (dest/names[2]).stat().st_mtime_ns
    capsys.readouterr()
    assert main(['notebooks', str(dest)]) == 1
    out, err = capsys.readouterr()
    assert f'1 copied, {len(names)-2} unchanged, 1 kept' in out and names[0] in err and '--force' in err
    assert mine.read_text() == 'my notes' and gone.exists() and (dest/names[2]).stat().st_mtime_ns == stamp
    assert main(['notebooks', str(dest), '--force']) == 0
    assert mine.read_bytes() == (series_folder()/names[0]).read_bytes()
    assert sorted(os.listdir(dest)) == names


def test_a_dangling_link_is_the_readers_too(tmp_path):
    source, dest = tmp_path/'source', tmp_path/'dest'
    for o in source, dest: o.mkdir()
    (source/'00_data.ipynb').write_text('as published')
    (dest/'00_data.ipynb').symlink_to(tmp_path/'elsewhere')
    assert copy_notebooks(dest, source=source) == {'00_data.ipynb': 'kept'}
    assert not (tmp_path/'elsewhere').exists()
