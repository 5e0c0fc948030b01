"""Install the oldest versions that settings.ini asks for, and run the tests with them.

    python tools/oldest.py FOLDER                      all tests
    python tools/oldest.py FOLDER tests/test_data.py   what pytest is told

FOLDER gets two environments: `core` holds what the package itself needs, and imports all modules;
`dev` holds what its tests need. uv (on PyPI) finds the versions and installs them.
"""
import argparse, configparser, importlib.util, os, re, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPORT_ALL = ('import importlib, sys; [importlib.import_module(f"mnist_basics.{o}")'
              ' for o in sys.argv[1:]]; print(len(sys.argv)-1, "modules import")')


def uv():
    "How uv is called"
    if found := shutil.which('uv'): return [found]
    if importlib.util.find_spec('uv'): return [sys.executable, '-m', 'uv']
    sys.exit('uv is missing: pip install uv')


def bounds(*keys):
    "The lower bounds of settings.ini, as {name: version}"
    ini = configparser.ConfigParser()
    ini.read(ROOT/'settings.ini', encoding='utf-8')
    wanted = ' '.join(ini['DEFAULT'][f'{o}requirements'] for o in keys).split()
    return dict(o.split('>=') for o in wanted)


def environment(folder, what, keys):
    "A fresh environment at `folder` with `what`; its Python, and a line on what is newer"
    python = folder/('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    subprocess.run([*uv(), 'venv', '-q', '--clear', '-p', '3.11', folder], check=True)
    pip = [*uv(), 'pip']
    subprocess.run([*pip, 'install', '-q', '--python', python,
                    '--resolution', 'lowest-direct', '-e', what], cwd=ROOT, check=True)
    listed = subprocess.run([*pip, 'freeze', '-q', '--python', python],
                            capture_output=True, text=True, check=True).stdout
    got = dict(re.findall(r'^([^\s=]+)==(\S+)$', listed, re.M))
    asked = bounds(*keys)
    newer = [f'{k} {got[k]} for {v}' for k, v in asked.items()
             if got[k].split('+')[0] != v]
    print(f'{folder}: {len(asked)} bounds;', 'newer, as others need it:' if newer
          else 'all are met exactly', ', '.join(newer), flush=True)
    return python


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('folder', type=Path, help='where the environments go')
    folder, rest = (args := ap.parse_known_args())[0].folder.resolve(), args[1]
    python = environment(folder/'core', '.', [''])
    modules = sorted(o.stem for o in (ROOT/'mnist_basics').glob('[!_]*.py'))
    subprocess.run([python, '-W', 'error::DeprecationWarning', '-c', IMPORT_ALL,
                    *modules], check=True)
    python = environment(folder/'dev', '.[dev]',
                         ['', 'notebooks_', 'onnx_', 'dev_'])
    sys.exit(subprocess.run([python, '-m', 'pytest', *rest], cwd=ROOT).returncode)


if __name__ == '__main__': main()
