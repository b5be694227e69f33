#!/usr/bin/env bash
# Builds the components of the examples and of the benchmark into target/plugins, with `pelton build`.
#
#   PELTON_WASM_TOOLCHAIN   "rustup" or "debian": the compiler for WebAssembly, instead of the one that is there; a
#                           compiler that has to be fetched is kept under target/tools
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

locked=()
[ "${CI:-}" = true ] && locked=(--locked)

# From the whole workspace, so that no second set of features is compiled.
cargo build --workspace --bin pelton "${locked[@]}"
export PELTON_TOOLS=${PELTON_TOOLS:-$PWD/target/tools}
build() { target/debug/pelton build --profile plugin "$@" -- "${locked[@]}"; }
build --config plugins/hotel/pelton.toml --config plugins/payment/pelton.toml --config plugins/library/pelton.toml
build --crate plugins/bench/accounts --crate plugins/bench/ledger --crate plugins/bench/raw --out target/plugins
build --crate plugins/mutants/handler --crate plugins/mutants/projection --crate plugins/mutants/saga --out target/plugins
