"Train the models of the drawing page from their fixed seeds, and write `weights.bin` and its manifest into the package."
from mnist_basics.__main__ import finish, hear


def main():
    from mnist_basics.draw import make_weights
    manifest = make_weights()
    print(f"{manifest['file']}: {manifest['bytes']:,} bytes, sha256 {manifest['sha256'][:12]}...")
    for name,share in manifest['accuracy'].items(): print(f'{name:10} {share:.4f}')


if __name__=='__main__':
    hear()
    raise SystemExit(finish(main))
