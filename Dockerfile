# The image of the controller, and of the command line for pipelines.
#   docker build -t bellwether:0.1.0 .
# Without a daemon, and from a binary that is built already: make image
ARG RUST=docker.io/library/rust:1.95.0-slim-bookworm
# Both are Debian 12, so the C library is the one that the binary was linked with. Pin it by digest where images must be the
# same tomorrow. It has certificates of public authorities, no shell, and the user nonroot (65532).
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST} AS build
# ring has C and assembler in it.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# Neither the registry nor the dependencies are fetched and built anew for a change of ours.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --release --package bellwether --bin bellwether && \
    install -D -m 755 target/release/bellwether /out/bellwether

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Bellwether" \
      org.opencontainers.image.description="A progressive delivery controller for Kubernetes and Istio" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE /usr/share/doc/bellwether/LICENSE
COPY --from=build /out/bellwether /usr/local/bin/bellwether
# A number: with a name the kubelet could not tell that it is not root.
USER 65532:65532
WORKDIR /
# /healthz, /readyz and /metrics; and the hook API, if it is on.
EXPOSE 8080 8443
ENTRYPOINT ["/usr/local/bin/bellwether"]
