# One image for web and worker: the command, one of the Procfile's names, makes it the one or the other.

FROM node:24.15.0-bookworm-slim AS page
WORKDIR /page
COPY frontend/package.json frontend/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY frontend/ ./
RUN npm run build

FROM python:3.11.14-slim-bookworm AS packages
WORKDIR /app
COPY requirements.txt ./
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt

# A model on the processor, for the profile `local` of docker-compose.yml.
FROM python:3.11.14-slim-bookworm AS model
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1
COPY requirements-local.txt ./
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-local.txt \
    && install -d -o 65534 -g 65534 /models
COPY tasks/ tasks/
USER 65534:65534

FROM python:3.11.14-slim-bookworm
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1
COPY --from=packages /app/.venv .venv
COPY --from=page /page/dist frontend/dist
COPY Procfile ./
COPY tasks/ tasks/
COPY api/ api/
# Compiled here, since the file system is read-only (and not the user's own) when it runs.
RUN python -m compileall -q tasks api
USER 65534:65534
EXPOSE 3500
CMD ["python", "-m", "tasks.local.processes", "web"]
