"""Push with dockertarpusher, which takes the repository from the archive."""

import sys

from dockertarpusher import Registry

address, _, folder = sys.argv[1:]
pushed = Registry(f"http://{address}", f"{folder}/image.tar").processImage()
sys.exit(0 if pushed else 1)
