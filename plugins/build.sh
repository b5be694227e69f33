#!/usr/bin/env bash
# Builds components into target/plugins, with `pelton build`: those of the sets that are named (hotel, payment, library, bench,
# mutants), or all.
#
#   PELTON_BUILDER          the pelton that builds them; without it, the debug build, brought up to date first
#   PELTON_WASM_TOOLCHAIN   "rustup" or "debian": the compiler for WebAssembly, instead of the one that is there; a
#                           compiler that has to be fetched is kept under target/tools
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

locked=()
[ "${CI:-}" = true ] && locked=(--locked)

if [ -z "${PELTON_BUILDER:-}" ]; then
  # From the whole workspace, so that no second set of features is compiled.
  cargo build --workspace --bin pelton "${locked[@]}"
  PELTON_BUILDER=target/debug/pelton
fi
export PELTON_TOOLS=${PELTON_TOOLS:-$PWD/target/tools}
build() { "$PELTON_BUILDER" build --profile plugin "$@" -- "${locked[@]}"; }

[ $# -gt 0 ] || set -- hotel payment library bench mutants
configs=() crates=()
for set in "$@"; do
  case $set in
    hotel | payment | library) configs+=(--config "plugins/$set/pelton.toml") ;;
    bench) for crate in accounts bonus ledger raw; do crates+=(--crate "plugins/bench/$crate"); done ;;
    mutants) crates+=(--crate plugins/mutants/handler --crate plugins/mutants/projection --crate plugins/mutants/saga) ;;
    *) echo "build.sh: there is no set $set" >&2; exit 2 ;;
  esac
done
[ ${#configs[@]} = 0 ] || build "${configs[@]}"
[ ${#crates[@]} = 0 ] || build "${crates[@]}" --out target/plugins
