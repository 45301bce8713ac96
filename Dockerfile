# One image for all roles: the program, the libraries it needs, and a few lines of shell.
# Made by the classic builder as well as by BuildKit.

# The manifests and nothing of the code: what is built from them stays until they change.
FROM rust:1.95-bookworm AS manifests
WORKDIR /src
COPY . .
RUN deploy/image/skeleton /skeleton

FROM rust:1.95-bookworm AS build
ENV CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=symbols
WORKDIR /src
COPY --from=manifests /skeleton .
RUN cargo build --release --locked -p livestation
COPY . .
# Cargo goes by times, and the skeleton is younger than the code.
RUN find livestation media overlay proto services -type f -exec touch {} + \
 && cargo build --release --locked -p livestation

# What goes into the image: glibc's files as the program names them, certificates of public
# authorities, and busybox for the scripts.
FROM debian:bookworm-slim AS root
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox-static ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/livestation /usr/local/bin/livestation
COPY deploy/image/entry deploy/image/health deploy/image/pki-volumes deploy/image/token deploy/image/welcome /usr/local/bin/
COPY deploy/image/root /usr/local/bin/
RUN root /image

FROM scratch
COPY --from=root /image /
USER 10001:10001
WORKDIR /var/lib/livestation
# Operators' machines ask here; no compose file or Service opens it to others.
ENV PATH=/usr/local/bin:/bin LIVESTATION_METRICS=0.0.0.0:9600 LIVESTATION_LOG_FORMAT=json
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["entry"]
CMD ["--help"]
