#!/usr/bin/env bash
# Builds the Rust plugins for wasm32-unknown-unknown and wraps each into a component: target/plugins/<package>.wasm
#
#   plugins/build.sh                 every plugin: the workspace's cdylib crates under plugins/, without the SDK
#   plugins/build.sh hotel-booking   only these packages
#
#   PELTON_WASM_TOOLCHAIN   "rustup": the target as rustup installs it. "debian": a compiler from Debian's packages, kept
#                           under target/tools, that builds std from source; nothing is installed, no root is needed.
#                           Unset: rustup's target where it is or can be had, otherwise Debian's compiler.
#   PELTON_COMPONENTIZE     the command that is called as `<command> IN.wasm -o OUT.wasm` (default: `pelton component`)
set -euo pipefail

target=wasm32-unknown-unknown
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
tools=$root/target/tools
debian=$tools/rust-wasm   # the unpacked compiler
out=$root/target/plugins
mkdir -p "$tools" "$out"

say() { printf 'plugins: %s\n' "$*" >&2; }
die() { printf 'plugins: error: %s\n' "$*" >&2; exit 1; }

locked=()
[ "${CI:-}" = true ] && locked=(--locked)

# ---- which plugins -------------------------------------------------------------------------------------------------

# Lines of "<package> <module file>", for every plugin of the workspace.
discover() {
  cargo metadata --no-deps --format-version 1 "${locked[@]}" | python3 -c '
import json, os, sys
meta = json.load(sys.stdin)
plugins = os.path.join(meta["workspace_root"], "plugins")
for package in sorted(meta["packages"], key=lambda p: p["name"]):
    place = os.path.relpath(package["manifest_path"], plugins).split(os.sep)
    if place[0] in ("..", "sdk"):
        continue
    for lib in package["targets"]:
        if "cdylib" in lib["crate_types"]:
            print(package["name"], lib["name"].replace("-", "_") + ".wasm")
'
}

found=$(discover) || die "cargo metadata failed"
declare -A module=()
while read -r package file; do
  [ -n "$package" ] && module[$package]=$file
done <<<"$found"

packages=("$@")
if [ $# -eq 0 ]; then
  mapfile -t packages < <(printf '%s\n' "${!module[@]}" | sort)
fi
if [ ${#module[@]} -eq 0 ]; then
  say "no plugin crates (cdylib) under plugins/ yet"
  exit 0
fi
selected=()
for package in "${packages[@]}"; do
  [ -n "${module[$package]:-}" ] || die "no plugin is called $package; there are: $(printf '%s ' "${!module[@]}")"
  selected+=(-p "$package")
done

# ---- which compiler ------------------------------------------------------------------------------------------------

sysroot=$(rustc --print sysroot) || die "rustc is not on PATH; see 'make check-tools'"

# rustup may report the target as up to date although its library is missing, so this looks for the library.
has_target() { compgen -G "$sysroot/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null; }

# Asks rustup once, and remembers a refusal, so that not every build tries the network.
ask_rustup() {
  local asked=$tools/rustup-target-refused
  [ ! -e "$asked" ] && command -v rustup >/dev/null || return 1
  timeout 120 rustup target add "$target" >/dev/null 2>&1 </dev/null || true
  has_target && return 0
  touch "$asked"
  return 1
}

toolchain=${PELTON_WASM_TOOLCHAIN:-}
case $toolchain in
  "") if has_target || ask_rustup; then toolchain=rustup; else toolchain=debian; fi ;;
  rustup) has_target || die "rustup's target $target is not installed; run: rustup target add $target" ;;
  debian) ;;
  *) die "PELTON_WASM_TOOLCHAIN is '$toolchain'; it can be 'rustup' or 'debian'" ;;
esac

# ---- Debian's compiler, unpacked under target/tools ----------------------------------------------------------------

# apt with its lists and cache under target/tools, so that neither root nor an earlier `apt-get update` is needed.
apt_private() {
  local command=$1; shift
  "$command" -qq -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 -o Dir::State::Lists="$tools/apt/lists" \
    -o Dir::Cache="$tools/apt/cache" "$@"
}

# The first package that $1 depends on whose name matches $2: names carry versions, and versions change.
dependency_of() {
  local name
  name=$(apt_private apt-cache depends --important "$1" | sed -n 's/^ *Depends: *//p' | grep -E -m 1 -- "$2") ||
    die "Debian's $1 depends on nothing like $2 here; PELTON_WASM_TOOLCHAIN=rustup is the other way"
  printf '%s\n' "$name"
}

fetch_debian_compiler() {
  local tool std llvm staging
  for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null || die "rustup's target $target is not installed, and there is no $tool to get Debian's
compiler with; run: rustup target add $target"
  done
  say "getting a compiler that can build std from Debian's packages (once, about 140 MB)"
  mkdir -p "$tools/apt/lists/partial" "$tools/apt/cache/archives/partial"
  apt_private apt-get update || die "apt-get update failed"
  std=$(dependency_of libstd-rust-web-dev '^libstd-rust-web-[0-9]')
  llvm=$(dependency_of "$std" '^libllvm[0-9]')
  staging=$debian.new
  rm -rf "$staging"
  mkdir -p "$staging/debs" "$staging/bin"
  (cd "$staging/debs" && apt_private apt-get download rustc-web libstd-rust-web-dev "$std" rust-web-src "$llvm") ||
    die "Debian's packages could not be downloaded"
  local deb
  for deb in "$staging"/debs/*.deb; do
    dpkg-deb -x "$deb" "$staging"
  done
  # Only std's source is needed; the rest takes 400 MB.
  find "$staging"/usr/src/rustc-* -mindepth 1 -maxdepth 1 ! -name library -exec rm -rf {} +
  rm -rf "$staging/debs" "$tools/apt" "$staging/usr/share"
  [ -e "$staging/usr/lib/rustlib/src/rust/library/std/Cargo.toml" ] || die "rust-web-src does not hold std's source"
  cat >"$staging/bin/rustc" <<'WRAPPER'
#!/bin/sh
# Debian's rustc, run from where plugins/build.sh unpacked it.
home=$(dirname "$(dirname "$(readlink -f "$0")")")
libraries=$home/usr/lib
for folder in "$home"/usr/lib/*-linux-gnu*; do libraries=$libraries:$folder; done
LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$home/usr/bin/rustc" "$@"
WRAPPER
  chmod +x "$staging/bin/rustc"
  "$staging/bin/rustc" --version >&2 || die "Debian's rustc does not run on this system"
  rm -rf "$debian"
  mv "$staging" "$debian"
}

# The wasm linker is the one of the installed toolchain: Debian's compiler looks for it on PATH.
link_linker() {
  local linker
  linker=$(compgen -G "$sysroot/lib/rustlib/*/bin/rust-lld" | head -n 1) || true
  [ -n "$linker" ] || linker=$(command -v rust-lld || command -v wasm-ld || command -v lld) ||
    die "no wasm linker: neither rust-lld in $sysroot nor wasm-ld on PATH; run: apt-get install lld"
  ln -sfn "$linker" "$debian/bin/rust-lld"
}

# ---- build ---------------------------------------------------------------------------------------------------------

build=(cargo build --profile plugin --target "$target" --target-dir target/wasm "${locked[@]}" "${selected[@]}")
if [ "$toolchain" = rustup ]; then
  "${build[@]}" || die "the plugins do not build"
else
  (
    # The lock keeps two builds that start together from downloading twice.
    if command -v flock >/dev/null; then flock 9; fi
    [ -x "$debian/bin/rustc" ] || fetch_debian_compiler
    link_linker
  ) 9>"$tools/rust-wasm.lock"
  PATH=$debian/bin:$PATH RUSTC_BOOTSTRAP=1 RUSTC=$debian/bin/rustc "${build[@]}" -Zbuild-std=std,panic_abort ||
    die "the plugins do not build"
fi

# ---- componentize --------------------------------------------------------------------------------------------------

if [ -n "${PELTON_COMPONENTIZE:-}" ]; then
  read -r -a componentize <<<"$PELTON_COMPONENTIZE"
else
  # Builds from the whole workspace, so that no second set of features is compiled.
  cargo build --workspace --bin pelton "${locked[@]}" || die "pelton, which makes the components, does not build"
  componentize=("$root/target/debug/pelton" component)
fi

for package in "${packages[@]}"; do
  made=$out/.$package.$$.wasm
  "${componentize[@]}" "target/wasm/$target/plugin/${module[$package]}" -o "$made" ||
    { rm -f "$made"; die "$package did not become a component"; }
  # An unchanged component keeps its modification time, so that a watcher of the folder sees only changes.
  if cmp -s "$made" "$out/$package.wasm"; then
    rm -f "$made"
  else
    mv -f "$made" "$out/$package.wasm"
    say "target/plugins/$package.wasm $(wc -c <"$out/$package.wasm") bytes ($toolchain)"
  fi
done
