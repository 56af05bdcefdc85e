# The image of the deployment: the program and what it needs to run, no tools, not as root.
FROM python:3.13-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# All that the lock file names, tools included, each file checked by its hash. After this no index is asked: what is
# installed below can be nothing but these files, of which the program takes what it depends on and leaves the tools.
COPY requirements.lock ./
RUN ["pip", "download", "--require-hashes", "--no-deps", "--only-binary=:all:", "--dest=/wheels", "--requirement=requirements.lock"]

# The build backend is locked too, so no isolation.
RUN ["pip", "install", "--no-index", "--find-links=/wheels", "hatchling"]
COPY pyproject.toml README.md LICENSE ./
COPY consumer/ consumer/
COPY schemas/ schemas/
RUN ["pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir=/wheels", "."]

RUN ["python", "-m", "venv", "--without-pip", "/opt/opt-out"]
RUN ["pip", "--python=/opt/opt-out/bin/python", "install", "--no-index", "--find-links=/wheels", "offer-opt-out[registry,evidence,otel]"]
RUN ["pip", "--python=/opt/opt-out/bin/python", "check"]


FROM python:3.13-slim-trixie

LABEL org.opencontainers.image.title="offer-opt-out" \
      org.opencontainers.image.description="Tells the insurer of every offer that was presented and not bought" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/opt-out /opt/opt-out

# Probes come from outside of the container.
ENV PATH=/opt/opt-out/bin:$PATH \
    OPT_OUT_SERVER__HOST=0.0.0.0 \
    OPT_OUT_SERVER__PORT=8080
EXPOSE 8080

# A number, so that an orchestrator can tell that it is not root. It owns nothing: nothing is written to disk.
USER 10001:10001
WORKDIR /

# http.client and not urllib.request, which would send even this through a proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['OPT_OUT_SERVER__PORT']), timeout=4); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["opt-out"]
CMD ["run"]
