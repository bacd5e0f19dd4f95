# pmet: build, test, install.  make help

CC      ?= cc
PREFIX  ?= /usr/local
DESTDIR ?=
REAL    ?= float
SAN     ?=
FUZZ    ?=
BLAS    ?= $(shell pkg-config --exists openblas 2>/dev/null && echo openblas || echo none)
CFLAGS  ?= -O3 -march=native
CXX     ?= g++
NVCC    ?= nvcc
CUDA    ?= $(if $(shell command -v $(NVCC) 2>/dev/null),1,0)
CUDA_ARCH ?= 80 90
INSTALL ?= install

COMMA    := ,
VERSION  := $(shell sed -n 's/.*PMET_VERSION "\(.*\)"/\1/p' include/pmet.h)
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wvla -Wdouble-promotion \
            -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wwrite-strings -Wundef -Werror
B        := $(if $(FUZZ),build/fuzz,build/$(REAL)$(if $(SAN),-san)$(if $(filter none,$(BLAS)),-plain))
FUZZ_SAN := address,undefined,float-cast-overflow
PACKAGES := jansson libutf8proc yaml-0.1 zlib libzstd $(filter openblas,$(BLAS))
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -Iinclude -I. -Ibuild/generated $(WARNINGS) -ffp-contract=off -fopenmp -g -MMD -MP \
              -ffile-prefix-map=$(CURDIR)=. $(if $(filter double,$(REAL)),-DPMET_REAL_DOUBLE) \
              $(if $(filter openblas,$(BLAS)),-DPMET_OPENBLAS) \
              $(if $(SAN),-fsanitize=address$(COMMA)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer) \
              $(if $(FUZZ),-fsanitize=fuzzer-no-link$(COMMA)$(FUZZ_SAN) -fno-sanitize-recover=all \
                  -fno-omit-frame-pointer -Wno-pass-failed) \
              $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null) $(CFLAGS)
ALL_LDLIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lm -ldl -fopenmp $(if $(SAN),-fsanitize=address$(COMMA)undefined)

LIB_SRC  := $(sort $(wildcard tensors/*.c tokenizer/*.c ref/*.c ref/*/*.c))
CLI_SRC  := $(sort $(filter-out cli/main.c,$(wildcard cli/*.c)))
TEST_SRC := $(sort $(wildcard tests/test_*.c))
HELP_SRC := $(sort $(filter-out $(TEST_SRC) tests/example.c,$(wildcard tests/*.c)))
BENCHES  := $(patsubst %.c,$(B)/%,$(sort $(wildcard bench/bench_*.c)))
TESTS    := $(TEST_SRC:%.c=$(B)/%)
obj       = $(patsubst %.c,$(B)/%.o,$(1))

# kernels/ twice: by nvcc into the library that the program opens at run time, and by the C++ compiler over
# tests/cuda_on_cpu/ for the tests.
KERNELS  := $(sort $(wildcard kernels/*.cu))
CUDA_LIB := $(if $(filter 1,$(CUDA)),$(if $(SAN),,$(B)/libpmet_cuda.so))
NEWEST   := $(lastword $(CUDA_ARCH))
NVFLAGS  := -std=c++17 -O3 --fmad=false -Iinclude -I. -MMD -MP --Werror all-warnings \
            -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra $(if $(filter double,$(REAL)),-DPMET_REAL_DOUBLE) \
            $(foreach a,$(CUDA_ARCH),-gencode arch=compute_$(a),code=sm_$(a)) \
            -gencode arch=compute_$(NEWEST),code=compute_$(NEWEST)
ON_CPU   := $(KERNELS:%.cu=$(B)/cuda_on_cpu/%.o) $(patsubst %,$(B)/%.o,$(basename $(wildcard tests/cuda_on_cpu/*.cpp))) \
            $(patsubst %.cu,$(B)/cuda_on_cpu/%.o,$(wildcard tests/cuda_on_cpu/*.cu))
CXX_FLAGS := -std=c++17 -D_GNU_SOURCE -Itests/cuda_on_cpu -Iinclude -I. -Wall -Wextra -Wshadow -Werror -ffp-contract=off \
             -fPIC -fvisibility=hidden -fno-exceptions -fno-rtti -fno-threadsafe-statics -U_FORTIFY_SOURCE -g -MMD -MP \
             -ffile-prefix-map=$(CURDIR)=. $(if $(filter double,$(REAL)),-DPMET_REAL_DOUBLE) \
             $(if $(SAN),-fsanitize=address$(COMMA)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer) $(CFLAGS)

.DEFAULT_GOAL := all
.PHONY: all
all: $(B)/pmet $(CUDA_LIB) ## the pmet command, in build/float/, and with nvcc its CUDA library

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(ALL_CFLAGS) -c $< -o $@

# A file of tables as C arrays: [NAME] begins a table, and each line after it is an element.
to_c = mkdir -p $(@D) && awk -v type='$(1)' -v left='$(2)' -v right='$(3)' ' \
    /^\[/ { if (n++) print "};"; print "static const " type, substr($$0, 2, length($$0) - 2) "[] = {"; next } \
    n { print left $$0 right "," } \
    END { print "};" }' $< > $@.part && mv $@.part $@

build/generated/punkt_tables.h: golden/punkt/english.txt
	@$(call to_c,char *const,",")

build/generated/unicode_tables.h: golden/unicode/ranges.txt
	@$(call to_c,struct pmet_range,{,})

build/generated/nfkd_tables.h: golden/unicode/nfkd.txt
	@$(call to_c,struct pmet_range,{,})

$(B)/ref/text/punkt.o: build/generated/punkt_tables.h
$(B)/tokenizer/unicode.o $(B)/ref/text/points.o: build/generated/unicode_tables.h
$(B)/tokenizer/unicode.o: build/generated/nfkd_tables.h

$(B)/kernels/%.o: kernels/%.cu
	@mkdir -p $(@D)
	@echo "  nvcc $<"
	@$(NVCC) $(NVFLAGS) -c $< -o $@

$(B)/cuda_on_cpu/%.o: %.cu
	@mkdir -p $(@D)
	@echo "  c++ $<"
	@$(CXX) $(CXX_FLAGS) -DPMET_CUDA_ROWS=32 -Dpmet_ops_cuda=pmet_ops_cuda_on_cpu -x c++ -c $< -o $@

$(B)/tests/cuda_on_cpu/%.o: tests/cuda_on_cpu/%.cpp
	@mkdir -p $(@D)
	@echo "  c++ $<"
	@$(CXX) $(CXX_FLAGS) -c $< -o $@

# What the CUDA library takes from tensors/: its messages.
MESSAGES := $(B)/kernels/status.o $(B)/kernels/text.o
$(MESSAGES): $(B)/kernels/%.o: tensors/%.c
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -c $< -o $@

$(B)/libpmet_cuda.so: $(KERNELS:%.cu=$(B)/%.o) $(MESSAGES)
	@$(NVCC) -shared -Wno-deprecated-gpu-targets $^ -o $@ -lcublas

# The program on the layer, for shell tests: LD_LIBRARY_PATH=build/float/cuda_on_cpu build/float/pmet ... --device cuda
$(B)/cuda_on_cpu/libpmet_cuda.so: $(filter-out %/broken.o,$(ON_CPU)) $(MESSAGES)
	@$(CXX) -shared $(if $(SAN),-fsanitize=address$(COMMA)undefined) -Wl,--defsym=pmet_ops_cuda=pmet_ops_cuda_on_cpu $^ -o $@ -lm

$(B)/libpmet.a: $(call obj,$(LIB_SRC))
	@rm -f $@
	@ar rcs $@ $^

# The CUDA library is looked for beside the command, or in ../lib.
$(B)/pmet: $(B)/cli/main.o $(call obj,$(CLI_SRC)) $(B)/libpmet.a
	@$(CC) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN:$$ORIGIN/../lib' $^ -o $@ $(ALL_LDLIBS)

$(B)/tests/test_%: $(B)/tests/test_%.o $(call obj,$(HELP_SRC)) $(call obj,$(CLI_SRC)) $(B)/libpmet.a $(ON_CPU)
	@$(CC) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/..' $^ -o $@ $(ALL_LDLIBS)

$(B)/bench/bench_%: $(B)/bench/bench_%.o $(B)/bench/common.o $(B)/bench/model.o $(B)/bench/operators.o $(B)/libpmet.a
	@$(CC) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/..' $^ -o $@ $(ALL_LDLIBS)

.PHONY: tests
tests: $(B)/pmet $(TESTS) $(patsubst %.c,$(B)/%.o,$(wildcard tests/fuzz/*.c)) $(if $(filter $(REAL)$(SAN),float),$(B)/cuda_on_cpu/libpmet_cuda.so $(B)/bench/bench_cuda $(CUDA_LIB))

PYTHON   ?= python3
LONG     := build/float/tests/test_kill build/float/tests/test_work
SCRIPTS  := $(sort $(wildcard tests/test_*.sh))
# entries of REAL, DEVICE, TESTS for tests/run.sh
on = $(addprefix build/$(1)/tests/,$(foreach t,$(3),$(firstword $(subst :, ,$(t)))@$(2)$(if $(findstring :,$(t)),:$(lastword $(subst :, ,$(t))))))
OPS_TESTS := $(notdir $(basename $(sort $(wildcard tests/test_ops_*.c))))
# On the layer all operators, and of the goldens what takes a second there; edits are in test-long. In double only what
# has an element type: the solve is in double anyway.
ON_LAYER := $(call on,float,cuda-on-cpu,$(OPS_TESTS) test_golden_forward:every_tensor test_property_solve:auto_takes) \
            $(call on,double,cuda-on-cpu,test_ops_attention test_ops_matmul test_ops_norm test_golden_forward:every_tensor)
# On the plain table its operators, a forward pass and an optimisation of each model; whole edits are in test-long.
PLAIN_GOLDENS := test_golden_forward:every_tensor test_golden_forward:keys_of test_golden_edit:optimisation_pmet_alt
ON_PLAIN := $(call on,float,plain,$(OPS_TESTS) $(PLAIN_GOLDENS)) \
            $(call on,double,plain,$(filter-out test_ops_algebra,$(OPS_TESTS)) $(PLAIN_GOLDENS))
LONG_PLAIN := $(foreach r,float double,$(call on,$(r),plain,test_golden_forward:second_moments test_golden_edit:edit_from))
LONG_LAYER := $(call on,float,cuda-on-cpu,test_property_solve test_golden_edit:optimisation_pmet_alt test_golden_edit:edit_from \
              test_golden_edit:edit_of_memit test_golden_rome)
ALL_TESTS = $(TEST_SRC:%.c=build/float/%) $(TEST_SRC:%.c=build/double/%) $(ON_LAYER) $(ON_PLAIN) $(SCRIPTS)

.PHONY: deps
deps: ## installs what is missing, with apt where it can
	@tests/deps.sh

.PHONY: demo
demo: deps ## builds, gives golden/demo/gptj a hundred facts, evaluates it before and after
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
test-long: sanitize ## the sanitizer build of every test; then a kill and a failure at every call
	@$(MAKE) --no-print-directory REAL=float $(LONG) build/float/tests/test_golden_edit build/float/tests/test_golden_rome build/float/tests/test_golden_forward \
	    build/float/tests/test_property_solve build/float/pmet \
	    build/float/cuda_on_cpu/libpmet_cuda.so build/float/bench/bench_cuda
	@$(MAKE) --no-print-directory REAL=double build/double/tests/test_golden_edit build/double/tests/test_golden_forward
	@cp build/test.log build/sanitize.log
	@PMET_LONG=1 tests/run.sh $(LONG) $(LONG_LAYER) $(LONG_PLAIN) tests/test_cuda.sh > build/long.out; status=$$?; cat build/long.out; \
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

FUZZ_CC      ?= clang
FUZZ_SECONDS ?= 10
TARGETS      ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
HAS_FUZZER   := $(if $(filter fuzz,$(MAKECMDGOALS)),$(shell echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
                $(FUZZ_CC) -fopenmp -fsanitize=fuzzer,$(FUZZ_SAN) -x c - -o /dev/null 2> /dev/null && echo 1))

$(B)/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/target.o $(call obj,$(CLI_SRC)) $(B)/libpmet.a
	@$(CC) -fsanitize=fuzzer,$(FUZZ_SAN) $^ -o $@ $(ALL_LDLIBS)

.PHONY: fuzz-targets
fuzz-targets: $(TARGETS:%=$(B)/fuzz_%)

.PHONY: fuzz
fuzz: deps ## every reader of files under clang's libFuzzer: FUZZ_SECONDS=10 each, TARGETS="docs npz"
ifeq ($(HAS_FUZZER),1)
	@$(MAKE) --no-print-directory FUZZ=1 REAL=float BLAS=none CC="$(FUZZ_CC)" CFLAGS=-O1 fuzz-targets
	@tests/fuzz/run.sh build/fuzz $(FUZZ_SECONDS) $(TARGETS)
else
	@echo "no libFuzzer in $(FUZZ_CC) (apt-get install clang libclang-rt-dev libomp-dev): damaged files of the tests' own instead"
	@$(MAKE) --no-print-directory faults
endif

.PHONY: faults
faults: deps ## thousands of damaged files of every kind, and every failing call: some ten minutes
	@$(MAKE) --no-print-directory REAL=float tests
	@PMET_LONG=1 tests/run.sh build/float/tests/test_fuzz build/float/tests/test_cli_faults

.PHONY: spec-check
spec-check: ## equations of SPEC.md that no source or no test cites
	@tests/spec_check.sh

.PHONY: book
book: spec-check ## build/book.html: SPEC.md on one page, each equation beside its code and tests (PYTHON=)
	@$(PYTHON) tests/book/book.py --out build/book.html

.PHONY: bench
bench: deps ## rates on this machine, beside its ceiling and the peers (PYTHON=python3)
	@$(MAKE) --no-print-directory $(BENCHES) $(CUDA_LIB)
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
	$(if $(CUDA_LIB),$(INSTALL) -m 755 $(CUDA_LIB) $(DESTDIR)$(PREFIX)/lib/libpmet_cuda.so)
	printf 'prefix=%s\nName: pmet\nDescription: precise model editing in a transformer\nVersion: %s\nCflags: -I$${prefix}/include\nLibs: -L$${prefix}/lib -lpmet -lm -ldl -fopenmp\nRequires: %s\n' \
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
