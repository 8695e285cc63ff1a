# A drop-in for the registry:2 image: the same port, volume, configuration path and commands.
#
#   docker build -t registry-server .
#   docker run -d -p 5000:5000 -v registry:/var/lib/registry registry-server

FROM python:3.13-slim AS build
COPY requirements/run.lock /build/run.lock
RUN python -m venv /opt/registry/venv \
    && /opt/registry/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --no-deps --only-binary :all: -r /build/run.lock
COPY registry_server /opt/registry/app/registry_server
COPY storage /opt/registry/app/storage
COPY docker/healthcheck.py /opt/registry/healthcheck.py
RUN /opt/registry/venv/bin/python -m compileall -q /opt/registry/app

FROM python:3.13-slim
COPY --from=build /opt/registry /opt/registry
COPY --chmod=0755 docker/entrypoint.sh /entrypoint.sh
COPY --chmod=0755 docker/registry-server /usr/local/bin/registry-server
COPY docker/config.yml /etc/docker/registry/config.yml
# registry:2 is called "registry", and registry:3 keeps its configuration in /etc/distribution.
RUN ln -s /usr/local/bin/registry-server /bin/registry \
    && ln -s /etc/docker/registry /etc/distribution \
    && mkdir -p /var/lib/registry
ENV PYTHONPATH=/opt/registry/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# It runs as root, as registry:2 does, because the volumes of registry:2 belong to root. With a
# volume of one's own, `docker run --user` works.
VOLUME /var/lib/registry
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["/opt/registry/venv/bin/python", "-P", "/opt/registry/healthcheck.py"]
ENTRYPOINT ["/entrypoint.sh"]
CMD ["serve", "/etc/docker/registry/config.yml"]
