"Version, requirements and notebooks of the package; everything else about it stands in pyproject.toml."
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

cfg = ConfigParser()
cfg.read(Path(__file__).with_name('settings.ini'), encoding='utf-8')
cfg = cfg['DEFAULT']
def reqs(key): return cfg[key].split()

setup(
    version=cfg['version'],
    install_requires=reqs('requirements'),
    extras_require={
        'notebooks': reqs('notebooks_requirements'),
        'onnx': reqs('onnx_requirements'),
        'dev': reqs('notebooks_requirements') + reqs('onnx_requirements') + reqs('dev_requirements')},
    packages=['mnist_basics', 'mnist_basics.notebooks'],
    package_dir={'mnist_basics.notebooks': 'nbs'},
    package_data={
        'mnist_basics': ['py.typed', 'idx/*', 'web/*', 'web/explore/*'],
        'mnist_basics.notebooks': ['*.ipynb', 'workshop/*.ipynb']},
    include_package_data=False,
)
