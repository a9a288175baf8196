# syntax=docker/dockerfile:1
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# Makes the wheel, and an environment that holds it and the versions of constraints.txt.
FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY config ./config
COPY policy ./policy
COPY proxy ./proxy
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --constraint constraints.txt build \
    && /opt/build/bin/python -m build --wheel --outdir /dist
RUN python -m venv /opt/trunkwarden \
    && /opt/trunkwarden/bin/pip install --constraint constraints.txt /dist/trunkwarden-*.whl \
    && /opt/trunkwarden/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON_IMAGE}
# PYTHONSAFEPATH: no module is ever taken from the working directory; the top-level packages here have common names.
ENV PATH=/opt/trunkwarden/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN groupadd --system --gid 10001 trunkwarden \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/trunkwarden --no-create-home --shell /usr/sbin/nologin trunkwarden \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/trunkwarden \
    && install --directory --mode 0755 /etc/trunkwarden
COPY --from=build /opt/trunkwarden /opt/trunkwarden
USER 10001:10001
WORKDIR /var/lib/trunkwarden
VOLUME /var/lib/trunkwarden
EXPOSE 5060/udp 8080/tcp
# Asks for readiness, so a lost ledger or a draining instance shows as unhealthy. Do not let an orchestrator kill for it:
# live calls need the process. It expects the HTTP side on port 8080.
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8080, timeout=3); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
CMD ["trunkwarden", "serve", "-c", "/etc/trunkwarden/trunkwarden.yaml"]
