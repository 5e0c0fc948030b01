# STUB, replaced by the export of nbs/00_data.ipynb
import gzip, os, random
from pathlib import Path
import numpy as np, torch
def mnist(split, digits=range(10)):
    n={'train':'train','valid':'t10k'}[split]; p=Path(__file__).parent/'idx'
    x=np.frombuffer(gzip.open(p/f'{n}-images-idx3-ubyte.gz').read(),np.uint8,offset=16).reshape(-1,28,28)
    y=np.frombuffer(gzip.open(p/f'{n}-labels-idx1-ubyte.gz').read(),np.uint8,offset=8)
    k=np.isin(y,list(digits)); return torch.from_numpy(x[k].copy()),torch.from_numpy(y[k].astype(np.int64))
def sample_tensors(split, digits=(3,7)):
    x,y=mnist(split)
    ii=[i for d in digits for i in sorted((y==d).nonzero()[:,0].tolist(),key=lambda i:f'{i}.png')]
    return x[ii].float()/255,y[ii]
def set_seed(seed):
    random.seed(seed); np.random.seed(seed%2**32); torch.manual_seed(seed)
def default_device(): return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
def progress(items, desc, total=None):
    from tqdm.auto import tqdm
    return tqdm(items, desc=desc, total=total, disable=True)
