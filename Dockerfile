# A drop-in for the images registry:2 and registry:3: the same port, volume, configuration path and
# commands. docs/container.md describes it.
#
#   docker build -t registry-server .
#   docker run -d -p 5000:5000 -v registry:/var/lib/registry registry-server
#
# It needs no BuildKit. PYTHON_IMAGE names another base: a mirror, or a digest.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# Another package index, by the variables of pip; PyPI unless set.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
COPY docker/certificates /usr/local/share/ca-certificates
COPY requirements/run.lock /build/run.lock
# pip runs from a separate environment and is not in the image.
RUN update-ca-certificates \
    && python -m venv /build/pip \
    && python -m venv --without-pip /opt/registry/venv \
    && PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
        /build/pip/bin/pip --python /opt/registry/venv/bin/python install \
        --no-cache-dir --disable-pip-version-check --no-compile \
        --require-hashes --no-deps --only-binary :all: -r /build/run.lock
COPY LICENSE /opt/registry/LICENSE
COPY registry_server /opt/registry/app/registry_server
COPY storage /opt/registry/app/storage
COPY docker/server_process.py docker/healthcheck.py docker/launcher.py /opt/registry/image/
COPY docker/list_commands.py /build/list_commands.py
# Sources of extension modules, type stubs, tests and scripts of packages are not needed. Bytecode
# without dates is the same in each build.
RUN cd /opt/registry/venv \
    && find bin -type f -delete \
    && find lib -type f '(' -name '*.pyi' -o -name '*.py[xd]' -o -name '*.px[di]' \
        -o -name '*.[ch]' ')' -delete \
    && find lib -depth -type d -name tests -exec rm -r '{}' + \
    && echo /opt/registry/app >"$(bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/registry.pth" \
    && bin/python /build/list_commands.py >/opt/registry/commands \
    && find /opt/registry -depth -type d -name __pycache__ -exec rm -r '{}' + \
    && bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/registry

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG DEBIAN_MIRROR
LABEL org.opencontainers.image.title="registry-server" \
    org.opencontainers.image.description="A self-hosted container registry, in place of registry:2 and registry:3" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY docker/certificates /usr/local/share/ca-certificates
# wget is BusyBox's, as in the Alpine image, because health checks written for that image use it.
# The base's pip is removed, because no command of this image installs packages.
# registry:2 calls its program "registry", and registry:3 keeps its configuration in
# /etc/distribution.
RUN update-ca-certificates \
    && cp -a /etc/apt /tmp/apt \
    && mirror="${DEBIAN_MIRROR:+$DEBIAN_MIRROR/debian}" \
    && find /tmp/apt -type f -exec sed -i "s|https\?://[^/ ]*/debian|${mirror:-&}|" '{}' + \
    && apt-get -qq -o Dir::Etc=/tmp/apt update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dir::Etc=/tmp/apt install -y --no-install-recommends busybox \
    && ln -s busybox /usr/bin/wget \
    && find / -xdev '(' -path '*/python3*/*-packages/pip*' -o -path '*/python3*/ensurepip' \
        -o -path '/usr/local/bin/pip*' ')' -prune -exec rm -r '{}' + \
    && rm -rf /tmp/apt /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /var/cache/ldconfig/* \
    && ln -s /opt/registry/image/launcher.py /usr/local/bin/registry-server \
    && ln -s /opt/registry/image/launcher.py /bin/registry \
    && mkdir -p /etc/docker/registry /var/lib/registry \
    && ln -s /etc/docker/registry /etc/distribution
COPY --from=build /opt/registry /opt/registry
COPY docker/entrypoint.sh /entrypoint.sh
COPY docker/config.yml /etc/docker/registry/config.yml
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    REGISTRY_CONFIGURATION_PATH=/etc/docker/registry/config.yml
# It runs as root, like registry:2, because the volumes of registry:2 belong to root. With a volume of
# another user, `docker run --user` works.
VOLUME /var/lib/registry
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["/opt/registry/venv/bin/python", "-EsS", "/opt/registry/image/healthcheck.py"]
ENTRYPOINT ["/entrypoint.sh"]
CMD ["serve", "/etc/docker/registry/config.yml"]
