"""A process that has imported everything, and makes a copy of itself for each page.

Its text is given to `python -c`, so that a page finds the path as in a process of its
own. Importing takes longer than most pages do. What is read while PyTorch loads,
threads and instructions, is decided for all its pages by the environment it starts in.
Where there is no fork, it becomes the process of the first page, and ends with it.
"""
import gc, importlib, json, os, sys

answer = os.fdopen(os.dup(1), 'w', encoding='utf-8')
os.dup2(2, 1)  # nobody takes for an answer what an import prints


def page(path, folder, log, env):
    "Be the process of one page: what `nbdev-test --save` runs, in `folder`"
    os.environ.update(env)
    os.chdir(folder)
    for fd, name in enumerate((os.devnull, log, log)):
        to = os.open(name, os.O_RDWR|os.O_CREAT|os.O_APPEND)
        os.dup2(to, fd)
        os.close(to)
    sys.stdin = sys.__stdin__ = open(0)
    numpy.random.seed()  # Python's own generator sees to this itself
    nbdev_test.__wrapped__(path, save=True, n_workers=0)


def serve():
    "Read which pages to run, one a line, and say how each ended"
    for line in sys.stdin:
        if not (pid := os.fork() if hasattr(os, 'fork') else 0):
            return page(**json.loads(line))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(status, file=answer, flush=True)


import numpy, torch
from nbdev.test import nbdev_test
# As if another page had imported fastai in this process: that gives tensors a
# comparison that takes tensors only.
torch.Tensor.__array_eq__ = lambda a, b: torch.equal(a, b) if a.dim() else a==b
for o in sys.argv[1:]: importlib.import_module(o)
gc.collect()
gc.freeze()
serve()
