# wav2edge serve on a CPU. Build: docker build -t wav2edge .   Run: see compose.yaml.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE wav2edge.cdx.json constraints.txt ./
COPY src src
COPY export export
COPY calibration calibration
COPY graphs graphs
COPY measure measure
COPY devices devices
COPY runtime runtime
COPY serving serving
RUN python -m venv /opt/wav2edge \
 && /opt/wav2edge/bin/pip install --no-cache-dir -c constraints.txt ".[cpu,serve,media]"

FROM python:3.12-slim-bookworm
COPY --from=build /opt/wav2edge /opt/wav2edge
RUN useradd --system --uid 10001 --no-create-home wav2edge
ENV PATH=/opt/wav2edge/bin:$PATH PYTHONDONTWRITEBYTECODE=1 WAV2EDGE_CACHE=/tmp/wav2edge ORT_DISABLE_TELEMETRY=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", \
  "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["wav2edge"]
CMD ["serve", "--host", "0.0.0.0", "--log"]
