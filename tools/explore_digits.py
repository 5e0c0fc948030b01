"""Make the picture of digits that the explorables train on, from the data of the package.

    python tools/explore_digits.py            write mnist_basics/web/explore/digits.png
    python tools/explore_digits.py --check    exit 1 if it holds other images

First 1,000 threes and 1,000 sevens to train on, then 200 and 200 to validate with, each the first of
their kind in the official order: 50 images a row, 28 pixels each, 0 for white as in MNIST.
"""
import argparse, io, sys
import numpy as np
from PIL import Image
from mnist_basics.data import mnist
from mnist_basics.explorables import explore_folder, sprite_images
from mnist_basics.files import write_whole

COLUMNS, SIZES = 50, {'train': 1000, 'valid': 200}


def wanted():
    "All images, uint8 [n,28,28]"
    return np.concatenate([mnist(split, [d])[0][:n].numpy() for split, n in SIZES.items() for d in (3, 7)])


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--check', action='store_true', help='write nothing, say whether the file is right')
    images = wanted()
    if ap.parse_args().check:
        if not np.array_equal(sprite_images(), images): sys.exit('digits.png holds other images; run: python tools/explore_digits.py')
        return
    sheet, file = images.reshape(-1, COLUMNS, 28, 28).swapaxes(1, 2).reshape(-1, COLUMNS*28), io.BytesIO()
    Image.fromarray(sheet).save(file, 'PNG', optimize=True)
    write_whole(explore_folder()/'digits.png', file.getvalue())
    print(f'{len(images)} images, {len(file.getvalue())} bytes')


if __name__ == '__main__': main()
