# syntax=docker/dockerfile:1

# Two images from one file:
#   docker build --target operator --tag operator-svc .
#   docker build --target browser  --tag operator-browser .
# tests/project/test_image.py replays the steps of `wheels`, `environment` and `operator`.

# Debian 12 for its SQLite 3.40: newer ones take longer for a chat (docs/performance.md).
ARG PYTHON=3.14-slim-bookworm

# --- wheels: everything that is installed later, by the hashes of requirements-image.txt -------
FROM python:${PYTHON} AS wheels
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements-image.txt ./
RUN pip wheel --quiet --require-hashes --no-deps --only-binary :all: --wheel-dir /wheels \
    --requirement requirements-image.txt
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY src ./src
COPY sql ./sql
COPY migrations ./migrations
COPY clients/js/src ./clients/js/src
COPY clients/python ./clients/python
# What builds it (setuptools) is among the wheels too.
RUN pip wheel --quiet --no-deps --no-index --find-links /wheels --wheel-dir /wheels \
    ./clients/python .

# --- environment: the service and what it imports, nothing else ------------------------------
# (DL3013 asks for versions: /wheels holds exactly one of each.)
FROM python:${PYTHON} AS environment
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# hadolint ignore=DL3013
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    python -m venv --without-pip /opt/operator \
    && pip --python /opt/operator/bin/python install --quiet --no-index --find-links /wheels \
       "operator-svc[otel]"

FROM environment AS browser-environment
# hadolint ignore=DL3013
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip --python /opt/operator/bin/python install --quiet --no-index --find-links /wheels \
       "operator-svc[browser]"

# --- base: a Python without pip, and a user without rights ------------------------------------
FROM python:${PYTHON} AS base
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="VX11" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore setuptools wheel pip \
    && groupadd --gid 10001 vx11 \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp \
       --shell /usr/sbin/nologin vx11 \
    && install --directory --owner=10001 --group=10001 /data
# Byte code was written when the wheels were installed; at run time nothing is, so the root
# file system may be read-only.
ENV PATH=/opt/operator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
STOPSIGNAL SIGTERM

# --- operator-browser: Chromium, and the service that drives it -------------------------------
FROM base AS browser
LABEL org.opencontainers.image.title="operator-browser" \
      org.opencontainers.image.description="Opens web pages for Operator, apart from it"
# Debian replaces Chromium with each security release, so a pinned version would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends chromium-headless-shell fonts-liberation tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
COPY --from=browser-environment /opt/operator /opt/operator
ENV BROWSER_HOST=0.0.0.0 BROWSER_PORT=8012 BROWSER_EXECUTABLE=/usr/bin/chromium-headless-shell HOME=/tmp
USER 10001:10001
WORKDIR /tmp
EXPOSE 8012
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['BROWSER_PORT'] + '/health', timeout=4)"]
# tini passes SIGTERM on, and reaps what Chromium leaves behind.
ENTRYPOINT ["tini", "--", "operator-browser"]

# --- operator: the service (the last stage, so what a plain `docker build` makes) ------------
FROM base AS operator
LABEL org.opencontainers.image.title="operator-svc" \
      org.opencontainers.image.description="Operator, the conversation backend of VX11"
COPY --from=environment /opt/operator /opt/operator
ENV OPERATOR_HOST=0.0.0.0 OPERATOR_PORT=8011 OPERATOR_DATABASE_URL=sqlite:////data/operator.db
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8011
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['OPERATOR_PORT'] + '/health/live', timeout=4)"]
ENTRYPOINT ["operator-svc"]
CMD ["serve"]
