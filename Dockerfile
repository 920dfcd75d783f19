# The hub for a cluster: no broker in it, no root, nothing writable but /data and /tmp; its hot path is compiled.
FROM python:3.13-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN python -m venv /opt/hub && python -m venv /opt/build
COPY requirements-run.lock requirements-build.lock ./
RUN /opt/hub/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r requirements-run.lock
RUN /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY consent consent
COPY streams streams
COPY connectors connectors
COPY hub hub
RUN HATCH_BUILD_HOOK_ENABLE_MYPYC=true \
    /opt/build/bin/pip wheel --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir /opt/wheel . \
    && /opt/hub/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /opt/wheel/*.whl \
    && /opt/hub/bin/hub --version | grep -F '(compiled)' \
    && /opt/hub/bin/python -m compileall -q /opt/hub/lib

FROM python:3.13-slim
RUN useradd --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin hub \
    && install -d -o hub -g hub -m 0700 /data
COPY --from=build /opt/hub /opt/hub
ENV PATH=/opt/hub/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HUB_DATA=/data \
    HUB_WEB_HOST=0.0.0.0
USER hub
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=4)"]
CMD ["hub", "up"]
