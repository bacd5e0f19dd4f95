# pmet: build, test, install.  make help

CC      ?= cc
PREFIX  ?= /usr/local
DESTDIR ?=
REAL    ?= float
SAN     ?=
BLAS    ?= $(shell pkg-config --exists openblas 2>/dev/null && echo openblas || echo none)
CFLAGS  ?= -O3 -march=native
INSTALL ?= install

COMMA    := ,
VERSION  := $(shell sed -n 's/.*PMET_VERSION "\(.*\)"/\1/p' include/pmet.h)
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wvla -Wdouble-promotion \
            -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wwrite-strings -Wundef -Werror
B        := build/$(REAL)$(if $(SAN),-san)$(if $(filter none,$(BLAS)),-plain)
PACKAGES := jansson libutf8proc $(filter openblas,$(BLAS))
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -Iinclude -I. $(WARNINGS) -ffp-contract=off -fopenmp -g -MMD -MP \
              -ffile-prefix-map=$(CURDIR)=. $(if $(filter double,$(REAL)),-DPMET_REAL_DOUBLE) \
              $(if $(filter openblas,$(BLAS)),-DPMET_OPENBLAS) \
              $(if $(SAN),-fsanitize=address$(COMMA)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer) \
              $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null) $(CFLAGS)
ALL_LDLIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lm -fopenmp $(if $(SAN),-fsanitize=address$(COMMA)undefined)

LIB_SRC  := $(sort $(wildcard tensors/*.c tokenizer/*.c ref/ops/*.c ref/model/*.c ref/edit/*.c ref/eval/*.c ref/api/*.c))
CLI_SRC  := $(sort $(filter-out cli/main.c,$(wildcard cli/*.c)))
TEST_SRC := $(sort $(wildcard tests/test_*.c))
HELP_SRC := $(sort $(filter-out $(TEST_SRC) tests/example.c,$(wildcard tests/*.c)))
BENCHES  := $(patsubst %.c,$(B)/%,$(sort $(wildcard bench/bench_*.c)))
TESTS    := $(TEST_SRC:%.c=$(B)/%)
obj       = $(patsubst %.c,$(B)/%.o,$(1))

.DEFAULT_GOAL := all
.PHONY: all
all: $(B)/pmet ## the pmet command, in build/float/

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(ALL_CFLAGS) -c $< -o $@

$(B)/libpmet.a: $(call obj,$(LIB_SRC))
	@rm -f $@
	@ar rcs $@ $^

$(B)/pmet: $(B)/cli/main.o $(call obj,$(CLI_SRC)) $(B)/libpmet.a
	@$(CC) $(LDFLAGS) $^ -o $@ $(ALL_LDLIBS)

$(B)/tests/test_%: $(B)/tests/test_%.o $(call obj,$(HELP_SRC)) $(call obj,$(CLI_SRC)) $(B)/libpmet.a
	@$(CC) $(LDFLAGS) $^ -o $@ $(ALL_LDLIBS)

$(B)/bench/bench_%: $(B)/bench/bench_%.o $(B)/bench/common.o $(B)/bench/model.o $(B)/libpmet.a
	@$(CC) $(LDFLAGS) $^ -o $@ $(ALL_LDLIBS)

.PHONY: tests
tests: $(B)/pmet $(TESTS)

PYTHON   ?= python3
LONG     := build/float/tests/test_kill build/float/tests/test_work
SCRIPTS  := $(sort $(wildcard tests/test_*.sh))
ALL_TESTS = $(TEST_SRC:%.c=build/float/%) $(TEST_SRC:%.c=build/double/%) $(SCRIPTS)

.PHONY: deps
deps: ## installs what is missing, with apt where it can
	@tests/deps.sh

.PHONY: demo
demo: deps ## builds, gives golden/demo/gptj a hundred facts, judges it before and after
	@$(MAKE) --no-print-directory REAL=float all
	@tests/demo.sh build/float/pmet

.PHONY: test
test: deps ## every test in both builds of real: float and double
	@$(MAKE) --no-print-directory REAL=float tests
	@$(MAKE) --no-print-directory REAL=double tests
	@PYTHON=$(PYTHON) tests/run.sh $(ALL_TESTS)

.PHONY: sanitize
sanitize: deps ## the tests under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory REAL=float SAN=1 CFLAGS=-O1 tests
	@ASAN_OPTIONS=detect_leaks=1 OMP_NUM_THREADS=2 tests/run.sh $(TEST_SRC:%.c=build/float-san/%)

.PHONY: test-long
test-long: sanitize ## the sanitizer build of every test; then a kill at every call
	@$(MAKE) --no-print-directory REAL=float $(LONG)
	@cp build/test.log build/sanitize.log
	@PMET_LONG=1 tests/run.sh $(LONG) > build/long.out; status=$$?; cat build/long.out; \
	    cat build/sanitize.log build/test.log | awk '{ p += $$1; f += $$3; s += $$5 } \
	    END { printf "%d passed, %d failed, %d skipped\n", p, f, s }'; exit $$status

GOLDENS  := golden/gptj-A golden/gptj-C golden/neox-A golden/neox-C

.PHONY: golden
golden: ## remakes the goldens with PyTorch, below build/golden/, and compares; so the bench's peer (PYTHON=)
	@$(PYTHON) golden/dump.py --out build/golden --remake $(GOLDENS)
	@$(PYTHON) bench/peer_edit.py --check $(GOLDENS)

.PHONY: demo-models
demo-models: ## trains the models of golden/demo anew with PyTorch, below build/demo-models/: about an hour (PYTHON=)
	@PYTHON=$(PYTHON) golden/demo/remake.sh build/demo-models

.PHONY: fuzz
fuzz: deps ## thousands of damaged files of every kind, and every failing call: some ten minutes
	@$(MAKE) --no-print-directory REAL=float tests
	@PMET_LONG=1 tests/run.sh build/float/tests/test_fuzz build/float/tests/test_cli_faults

.PHONY: spec-check
spec-check: ## equations of SPEC.md that no source or no test cites
	@tests/spec_check.sh

.PHONY: bench
bench: deps ## rates on this machine, beside its ceiling and the peers (PYTHON=python3)
	@$(MAKE) --no-print-directory $(BENCHES)
	@for b in $(BENCHES); do echo; echo "== $$b"; $$b || exit 1; done

BENCH_DIR := build/bench-peer

$(BENCH_DIR)/model/config.json: bench/peer_model.py
	@$(PYTHON) bench/peer_model.py $(BENCH_DIR)

.PHONY: bench-peer
bench-peer: deps ## statistics, deltas, keys and solve beside the published way in PyTorch (PYTHON=, PEER="--pairs 1")
	@$(MAKE) --no-print-directory REAL=float build/float/pmet build/float/bench/bench_solve $(BENCH_DIR)/model/config.json
	@$(PYTHON) bench/peer_edit.py --work $(BENCH_DIR) $(PEER)

# The demo model, or random weights of its shape.
EVAL_MODEL := $(if $(wildcard golden/demo/gptj/config.json),golden/demo/gptj,build/bench-eval/model)

build/bench-eval/model/config.json: bench/peer_model.py
	@$(PYTHON) bench/peer_model.py build/bench-eval --layers 8 --width 256 --vocab 4096

.PHONY: bench-peer-eval
bench-peer-eval: deps ## evaluation beside the published way in PyTorch (PYTHON=, PEER="--pairs 1 --records 10")
	@$(MAKE) --no-print-directory REAL=float build/float/pmet $(EVAL_MODEL)/config.json
	@$(PYTHON) bench/peer_eval.py --model $(EVAL_MODEL) --facts golden/demo/counterfact.json $(PEER)

.PHONY: install
install: all ## the command, the library, its header and pmet.pc: PREFIX=/usr/local DESTDIR=
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig
	$(INSTALL) $(B)/pmet $(DESTDIR)$(PREFIX)/bin/pmet
	$(INSTALL) -m 644 include/pmet.h $(DESTDIR)$(PREFIX)/include/pmet.h
	$(INSTALL) -m 644 $(B)/libpmet.a $(DESTDIR)$(PREFIX)/lib/libpmet.a
	printf 'prefix=%s\nName: pmet\nDescription: precise model editing in a transformer\nVersion: %s\nCflags: -I$${prefix}/include\nLibs: -L$${prefix}/lib -lpmet -lm -fopenmp\nRequires: %s\n' \
	    "$(PREFIX)" "$(VERSION)" "$(PACKAGES)" > $(DESTDIR)$(PREFIX)/lib/pkgconfig/pmet.pc

.PHONY: format
format: ## clang-format over all sources
	clang-format -i $(shell git ls-files '*.c' '*.h')

.PHONY: clean
clean: ## removes build/
	rm -rf build

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
