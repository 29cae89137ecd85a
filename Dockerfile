# The service as an unprivileged user. With REGISTRY_DATABASE_URL it uses that Postgres, else the bundled one in /data.
# Another base: docker build --build-arg PYTHON_IMAGE=NAME@sha256:… A new digest of this one: docker buildx imagetools inspect python:3.13-slim
ARG PYTHON_IMAGE=python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
# The service's environment has no pip: the build environment's pip installs into it.
RUN python -m venv /opt/build && python -m venv --without-pip /opt/registry
# requirements-otel.txt adds what sends traces.
ARG REQUIREMENTS=requirements.txt
COPY requirements.txt requirements-build.txt requirements-otel.txt ./
RUN /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r requirements-build.txt && \
    /opt/build/bin/pip --python /opt/registry/bin/python install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        -r "$REQUIREMENTS"
COPY pyproject.toml README.md LICENSE ./
COPY registry registry
COPY migrations migrations
RUN /opt/build/bin/hatchling build -t wheel && \
    /opt/build/bin/pip --python /opt/registry/bin/python install --no-cache-dir --no-deps --no-index dist/*.whl

FROM ${PYTHON_IMAGE}
ARG REVISION=
LABEL org.opencontainers.image.title="investment-registry" \
      org.opencontainers.image.description="A registry of investment commitments whose every answer can be dated, explained and proved." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 registry && \
    useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin registry && \
    install -d -o 10001 -g 10001 -m 700 /data
COPY --from=build /opt/registry /opt/registry
ENV PATH=/opt/registry/bin:$PATH PYTHONUNBUFFERED=1 \
    REGISTRY_HOST=0.0.0.0 REGISTRY_PORT=8000 REGISTRY_DATA_DIR=/data
# By number: an orchestrator that refuses root (runAsNonRoot) cannot look up a name.
USER 10001:10001
# Contains the log's signing key: back it up.
VOLUME /data
EXPOSE 8000
# http.client, because urllib would ask the proxy that HTTP_PROXY names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD \
    ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['REGISTRY_PORT']), timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]
CMD ["registry", "serve"]
