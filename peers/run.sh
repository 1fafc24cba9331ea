#!/bin/sh
# Measures the verifier beside its peers and prints one table: `peers/run.sh`.
set -eu
cd "$(dirname "$0")"
target="${CARGO_TARGET_DIR:-$PWD/target}"
josekit=josekit
if ! pkg-config --exists openssl 2>/dev/null && ! [ -e /usr/include/openssl/ssl.h ]; then
    echo "josekit is left out: it needs OpenSSL's headers (Debian: libssl-dev)"
    josekit=
fi
# Features add up within one program, so the verifier with aws-lc-rs is another one.
cargo build --release --quiet --features aws-lc-rs --bin ours-aws-lc-rs
cargo build --release --quiet --features "$josekit" --bin peers
# On one processor, so that the second program finds it as warm as the first one left it.
pin=
if command -v taskset >/dev/null; then pin="taskset -c 0"; fi
$pin "$target/release/peers" verify "$target/release/ours-aws-lc-rs"
"$target/release/peers" http "$target/release/ours-aws-lc-rs"
