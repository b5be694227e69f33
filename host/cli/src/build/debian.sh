# Unpacks a compiler from Debian's packages that can build std for wasm32-unknown-unknown from source. No root is needed,
# and nothing is installed: everything lies under the folder of tools.
#
#   $1   the folder of tools; the compiler goes to rust-wasm in it
#   $2   the sysroot of the installed toolchain, which has a linker for WebAssembly
set -euo pipefail
target=wasm32-unknown-unknown
tools=$1
sysroot=$2
debian=$tools/rust-wasm

say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

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
# Debian's rustc, run from where `pelton build` unpacked it.
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

# The lock keeps two builds that start together from downloading twice.
exec 9>"$tools/rust-wasm.lock"
if command -v flock >/dev/null; then flock 9; fi
[ -x "$debian/bin/rustc" ] || fetch_debian_compiler
link_linker
