# The base is pinned by tag, so that a rebuild takes Debian's security updates. To pin it to the byte, append the
# digest that `docker buildx imagetools inspect python:3.11-slim-bookworm` prints: python:3.11-slim-bookworm@sha256:…
# and renew it on a schedule; a pinned digest that nobody renews keeps every hole it was made with.
FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1

WORKDIR /src

# What changes seldom comes first: a change of the code reuses the layer of the requirements.
# --build-arg REQUIREMENTS=requirements-cel.txt brings free expressions (CEL) in rules, and 50 MB;
# requirements-apprise.txt a hundred further services as receivers.
ARG REQUIREMENTS=requirements.txt
COPY requirements.txt requirements-cel.txt requirements-apprise.txt requirements-build.txt ./
RUN python -m venv /opt/cometwatch \
 && /opt/cometwatch/bin/pip install --require-hashes -r "${REQUIREMENTS}" \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements-build.txt

COPY pyproject.toml README.md LICENSE ./
COPY rules ./rules
COPY monitor ./monitor
# The running image has no installer: pip leaves the environment as the last thing it does.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/cometwatch/bin/pip install --no-deps /wheels/*.whl \
 && /opt/cometwatch/bin/pip uninstall --yes pip setuptools


FROM python:3.11-slim-bookworm

ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="cometwatch" \
      org.opencontainers.image.description="Watches the messages of chosen CometChat users and tells on-call people what matters" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"

COPY --from=build /opt/cometwatch /opt/cometwatch

# The bytecode was compiled at build time, and a read-only root has no place for more. The variable for the settings
# spares every command typed inside the container its --config. The port must be reached from outside the container;
# who may reach it is the network's business.
ENV PATH="/opt/cometwatch/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    COMETWATCH_CONFIG="/etc/cometwatch/cometwatch.yaml" \
    COMETWATCH_SERVER__LISTEN="0.0.0.0:9464"

# A number, not a name: Kubernetes can only check `runAsNonRoot` against a number.
RUN install --directory --owner=65532 --group=65532 --mode=0750 /var/lib/cometwatch
USER 65532:65532
VOLUME ["/var/lib/cometwatch"]
WORKDIR /var/lib/cometwatch
EXPOSE 9464

# SIGTERM ends polling, drains the deliveries and exits 0; allow it 30 seconds (`docker stop --time 30`).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["cometwatch", "healthcheck"]
ENTRYPOINT ["cometwatch"]
CMD ["run"]
