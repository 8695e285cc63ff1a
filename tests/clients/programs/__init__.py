"""Programs that push an image with one client library each.

    PROGRAM HOST:PORT REPOSITORY FOLDER

The folder holds `layer` (a tar file), `config` and `manifest`, and `image.tar`, which is what
`docker save` writes. The image is pushed as `v1`. The exit code is not 0 when the push failed.
"""
