# tinyctr: `make` builds the program and the image `trusty`; `make help` lists the rest.
#
# Needs cargo, a C compiler driver for cargo to link with, and a POSIX shell. Nothing here asks
# for root: what needs it says so and stops.

CARGO ?= cargo
RUSTC ?= rustc
PREFIX ?= /usr/local
DESTDIR ?=
BINDIR = $(DESTDIR)$(PREFIX)/bin
SHAREDIR = $(DESTDIR)$(PREFIX)/share
DOCDIR = $(SHAREDIR)/doc/tinyctr
MANDIR = $(SHAREDIR)/man/man1
BASHDIR = $(SHAREDIR)/bash-completion/completions
ZSHDIR = $(SHAREDIR)/zsh/site-functions
FISHDIR = $(SHAREDIR)/fish/vendor_completions.d

RELEASE = target/release/tinyctr
# The file runs at one address, so its code may name addresses: a kilobyte less. Nothing else hangs
# on it, and it is not for the tests and build scripts, whose compiler wants to load plugins.
CODEGEN = -C relocation-model=static $(SMALL)
# What the compiler does for speed at the cost of size, two kilobytes of it: functions inlined but
# for the smallest, jump tables for a few cases, values kept in registers around a loop; and the
# linker merges the ends of strings.
SMALL = -C llvm-args=-inline-threshold=22 -C llvm-args=-min-jump-table-entries=8 \
    -C llvm-args=-disable-machine-licm -C llvm-args=-split-spill-mode=size -C link-arg=-Wl,-O2
# The linker that packs (examples/pack) leaves the names behind by itself.
PACK = target/pack
FOR_PACK = -C strip=none -C linker='$(CURDIR)/$(PACK)'
GENERATE = $(CARGO) run --quiet --locked --example generate --
GENERATED = target/completions
SKIPPED = $(CURDIR)/target/skipped-tests

# Handed to the recipes: a mirror, a suite other than the recipe's, a keyring.
export MIRROR SUITE KEYRING

.PHONY: all program image test lint bench compare generate docs install clean distclean help
.PHONY: trusty jessie bookworm binfmt-remove

all: program image ## the two that follow: what plain `make` does

program: ## build ./tinyctr
	@rootfs/need cargo cc
	@mkdir -p target
	$(RUSTC) --edition 2024 -O -o $(PACK) examples/pack/main.rs
	$(CARGO) rustc --release --locked --bin tinyctr -- $(CODEGEN) $(FOR_PACK)
	@cmp -s $(RELEASE) tinyctr || install -m 755 $(RELEASE) tinyctr

# The stand-in, where the real one can't be had within a few seconds.
image: ## build rootfs/trusty, or its stand-in
	@rootfs/build --or-stand-in trusty

trusty jessie bookworm: ## build this image (jessie and bookworm need root)
	@rootfs/build $@

binfmt-remove: ## take away the qemu handler that building a foreign image registered
	@rootfs/binfmt remove

test: all ## run every test that can run here; the others are listed with their reasons
	@rm -f $(SKIPPED)
	@TINYCTR=$(CURDIR)/tinyctr TINYCTR_SKIPS=$(SKIPPED) $(CARGO) test --locked --no-fail-fast; \
	status=$$?; tests/list-skipped $(SKIPPED); exit $$status

lint: ## formatting, clippy and shellcheck, warnings as errors
	@rootfs/need cargo shellcheck
	$(CARGO) fmt --check
	cd fuzz && $(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	shellcheck -x .ci/run bench/run tests/list-skipped tests/get-vm rootfs/build rootfs/binfmt \
	    rootfs/need rootfs/stand-in rootfs/*.sh rootfs/*.recipe

bench: program ## compare with the floor, unshare(1), bubblewrap and script(1) (as root)
	@bench/run
	@bench/relay

compare: program ## try what docs/security.md lists in runc and bubblewrap too (as root)
	@rootfs/need cargo cc
	TINYCTR=$(CURDIR)/tinyctr $(CARGO) test --locked --test sealing -- --ignored --nocapture \
	    the_document_is_written

generate: ## write the manual page and the completions, to target/
	@rootfs/need cargo cc
	@install -d $(GENERATED)
	$(GENERATE) man > target/tinyctr.1
	$(GENERATE) bash > $(GENERATED)/tinyctr.bash
	$(GENERATE) zsh > $(GENERATED)/_tinyctr
	$(GENERATE) fish > $(GENERATED)/tinyctr.fish

docs: ## write docs/syscalls.md again, from the code
	@rootfs/need cargo cc
	@install -d target
	$(GENERATE) syscalls > target/syscalls.md
	install -m 644 target/syscalls.md docs/syscalls.md

install: program generate ## install under $(PREFIX), DESTDIR respected
	install -d $(BINDIR) $(DOCDIR) $(MANDIR) $(BASHDIR) $(ZSHDIR) $(FISHDIR)
	install -m 755 tinyctr $(BINDIR)/tinyctr
	install -m 644 README.md CHANGELOG.md LICENSE LICENSE-APACHE LICENSE-MIT $(DOCDIR)
	install -m 644 target/tinyctr.1 $(MANDIR)/tinyctr.1
	install -m 644 $(GENERATED)/tinyctr.bash $(BASHDIR)/tinyctr
	install -m 644 $(GENERATED)/_tinyctr $(ZSHDIR)/_tinyctr
	install -m 644 $(GENERATED)/tinyctr.fish $(FISHDIR)/tinyctr.fish

clean: ## remove what the compiler made
	$(CARGO) clean
	rm -f tinyctr bench/floor bench/true

distclean: clean ## remove the images too
	@rootfs/build --remove-all

help: ## this list
	@grep -E '^[a-z ]+:.*## ' Makefile | while IFS= read -r line; do \
		printf '  make %-24s %s\n' "$${line%%:*}" "$${line##*## }"; done
