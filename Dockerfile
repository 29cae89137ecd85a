# The service without the bundled Postgres: it runs as an unprivileged user and requires REGISTRY_DATABASE_URL.
# With another base image: docker build --build-arg PYTHON_IMAGE=…
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
RUN python -m venv /opt/registry
COPY requirements.txt requirements-build.txt ./
RUN /opt/registry/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.txt
RUN python -m venv /opt/build && \
    /opt/build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY registry registry
COPY migrations migrations
RUN /opt/build/bin/hatchling build -t wheel && \
    /opt/registry/bin/pip install --no-cache-dir --no-deps dist/*.whl

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --home-dir /data registry && install -d -o registry -g registry -m 700 /data
COPY --from=build /opt/registry /opt/registry
ENV PATH=/opt/registry/bin:$PATH PYTHONUNBUFFERED=1 \
    REGISTRY_HOST=0.0.0.0 REGISTRY_PORT=8000 REGISTRY_DATA_DIR=/data
USER registry
# Contains the log's signing key: back it up.
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD \
    ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['REGISTRY_PORT'] + '/health/ready', timeout=2)"]
CMD ["registry", "serve"]
