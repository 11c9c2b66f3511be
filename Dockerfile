# One image for every process: `tidings api`, `engine`, `projector`, ... Our CI has no Docker, and does not build it.
# tests/test_image.py follows the steps of the first stage.

FROM python:3.13-slim AS build
WORKDIR /app
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
# /build compiles and packages; only /venv, which has what runs, goes into the image.
RUN python -m venv /build && python -m venv /venv
COPY requirements.txt requirements-build.txt requirements-image.txt ./
RUN /build/bin/pip install --no-cache-dir --require-hashes --requirement requirements-build.txt
RUN /build/bin/pip install --no-cache-dir --require-hashes --requirement requirements-image.txt
RUN /venv/bin/pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY pyproject.toml README.md LICENSE settings.py ./
COPY domain domain
COPY messages messages
COPY eventsourcing_kafka eventsourcing_kafka
COPY migrations migrations
COPY projections projections
COPY consumers consumers
COPY analysis analysis
COPY api api
COPY local local
COPY tidings_client tidings_client
RUN /build/bin/python -m local.compile --required
# A wheel has only the packages that pyproject.toml names, and the compiled modules.
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-index --find-links /wheels tidings
# What is in the image, as a CycloneDX bill of materials: docker run --entrypoint cat tidings /venv/sbom.cdx.json
RUN /build/bin/cyclonedx-py environment /venv/bin/python --output-reproducible --output-file /venv/sbom.cdx.json

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/tidings tidings
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TIDINGS_HOME=/var/lib/tidings \
    TIDINGS_HOST=0.0.0.0 \
    TIDINGS_LOG_FORMAT=json
USER tidings
WORKDIR /var/lib/tidings
VOLUME /var/lib/tidings
EXPOSE 8000
ENTRYPOINT ["tidings"]
CMD ["--help"]
