# lighter's short commands. The build itself is meson's; what a target needs is installed by tools/setup.
BUILD ?= build
PREFIX ?= /usr/local

.PHONY: all demo test fuzz bench install clean format modes-table

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) lighter

$(BUILD)/build.ninja:
	@command -v meson >/dev/null || { echo "meson is missing; 'tools/setup build' installs what a build needs (as root)"; exit 1; }
	meson setup $(BUILD) --prefix=$(PREFIX) $(MESON_FLAGS)

demo:
	tools/setup build demo
	$(MAKE) all
	tools/demo $(BUILD)/lighter

test:
	tools/setup build demo test
	tools/test $(BUILD)

# FUZZ=100 makes it longer. What is found lies below build-checked/tests/corpus; it joins tests/fuzz/corpus with its repair.
fuzz: FUZZ ?= 10
fuzz:
	tools/setup build demo test
	LIGHTER_FUZZ_TIMES=$(FUZZ) tools/test $(BUILD) fuzz

# BENCH='--only cold,unchanged' measures less, BENCH='--runs 9' more often.
bench: all
	tools/setup build demo test bench
	tools/bases >/dev/null
	tools/peers buildkit || echo "BuildKit cannot be had here: measured without it"
	bench/bench $(BUILD)/lighter $(BENCH)

install: all
	install -D -m 0755 $(BUILD)/lighter $(DESTDIR)$(PREFIX)/bin/lighter

modes-table: all
	tools/setup build demo test
	LIGHTER_WRITE_DOCS=1 LIGHTER=$(CURDIR)/$(BUILD)/lighter /usr/bin/python3 -m pytest -q -p no:cacheprovider tests/e2e/test_mode_table.py

format:
	clang-format -i $$(git ls-files 'src/*.[ch]' 'tests/*.[ch]')

clean:
	rm -rf $(BUILD)
