# Tocsin's image: every command, the default bundle, ONNX Runtime; no torch, no compiler, no root.
#   docker build -t tocsin --target cpu .
#   docker build -t tocsin:jobs --target cpu --build-arg LOCK=jobs .        with Ray and what trains
#   docker build -t tocsin:gpu --target gpu --build-arg TENSORRT_BASE=IMAGE .
# Contents follow from the locks and the sources: every package by its hash, byte code without times, files of one date.
# Two builds on a base named by its digest have the same files (tests/image/test_reproducible.py).
ARG BASE=python:3.11-slim
ARG LOCK=runtime
# No default that could be had: an image with CUDA, TensorRT's Python package and CPython 3.11 or later.
ARG TENSORRT_BASE=give-tensorrt-base

FROM ${BASE} AS locked
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    SOURCE_DATE_EPOCH=315532800
COPY requirements requirements
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --no-deps --require-hashes -r requirements/build.txt

FROM locked AS build
COPY pyproject.toml README.md LICENSE ./
COPY bundles bundles
COPY schemas schemas
COPY engines engines
COPY agents agents
COPY monitor monitor
RUN /opt/build/bin/python -m hatchling build -t wheel -d /dist

# torch (LOCK=jobs) brings a file of tests in the syntax of Python 3.12.
FROM locked AS installed
ARG LOCK
RUN python3 -m venv /opt/tocsin && /opt/tocsin/bin/pip install --no-deps --require-hashes -r requirements/$LOCK.txt
COPY --from=build /dist /dist
RUN /opt/tocsin/bin/pip install --no-deps /dist/*.whl \
 && /opt/tocsin/bin/pip uninstall -y -q setuptools pip \
 && find /opt/tocsin/lib -type d -name tests -prune -exec rm -r {} + \
 && python3 -m compileall -q -j 0 -x py312_intrinsics --invalidation-mode unchecked-hash /opt/tocsin/lib \
 && find /opt/tocsin -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

FROM ${BASE} AS cpu
COPY --from=installed /opt/tocsin /opt/tocsin
# Not by useradd, which writes the day of the build, and copies of what was there before. COPY dates the folder it makes.
RUN echo 'tocsin:x:10001:' >>/etc/group && echo 'tocsin:x:10001:10001::/tmp:/usr/sbin/nologin' >>/etc/passwd \
 && install -d -o 10001 -g 10001 /var/cache/tocsin \
 && touch -d @315532800 /etc/group /etc/passwd /var/cache /var/cache/tocsin /opt/tocsin
# All that is written is a cache of compiled engines, and temporary files: the rest may be read-only.
ENV PATH=/opt/tocsin/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/var/cache TOCSIN_HTTP_HOST=0.0.0.0
USER 10001:10001
EXPOSE 8321 8322
HEALTHCHECK --start-period=60s CMD ["python3", "-c", "import os, urllib.request as r; \
r.urlopen('http://127.0.0.1:%s/livez' % os.environ.get('TOCSIN_HTTP_PORT', '8321'), timeout=3)"]
ENTRYPOINT ["tocsin"]
CMD ["run"]

FROM ${TENSORRT_BASE} AS gpu
COPY --from=build /dist /dist
COPY --from=locked /src/requirements/cuda.txt /dist/
RUN python3 -m venv --system-site-packages /opt/tocsin \
 && /opt/tocsin/bin/pip install --no-cache-dir --no-deps --require-hashes -r /dist/cuda.txt \
 && /opt/tocsin/bin/pip install --no-cache-dir --no-deps /dist/*.whl \
 && groupadd -g 10001 tocsin && useradd -u 10001 -g 10001 -d /tmp -s /usr/sbin/nologin -M tocsin \
 && install -d -o 10001 -g 10001 /var/cache/tocsin
ENV PATH=/opt/tocsin/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/var/cache TOCSIN_HTTP_HOST=0.0.0.0
USER 10001:10001
EXPOSE 8321 8322
ENTRYPOINT ["tocsin"]
CMD ["run"]
