# The server and its command line in one small image that runs without root.
#
#   docker build --tag herald .
#   docker run --rm herald --help

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package herald --bin herald \
    && cp target/release/herald /herald

FROM debian:bookworm-slim
RUN groupadd --system --gid 65532 herald \
    && useradd --system --uid 65532 --gid herald --no-create-home --shell /usr/sbin/nologin herald \
    && install --directory --owner=herald --group=herald --mode=0700 /var/lib/herald
COPY --from=build /herald /usr/local/bin/herald
USER 65532:65532
WORKDIR /var/lib/herald
# The API, and metrics with /readyz.
EXPOSE 7670 7671
ENV HERALD_LISTEN=0.0.0.0:7670 HERALD_METRICS_LISTEN=0.0.0.0:7671
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["herald", "ready"]
ENTRYPOINT ["herald"]
CMD ["serve"]
