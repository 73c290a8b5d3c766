# `make` prints what there is to make.

TOOLS := e2e/tools/bin
MINIO := $(TOOLS)/minio
MINIO_ADMIN := $(TOOLS)/minio-admin
LINT  := $(TOOLS)/golangci-lint
# npm's own record of what it has installed.
AZURITE := e2e/tools/azurite/node_modules/.package-lock.json
AXE   := e2e/tools/axe/node_modules/.package-lock.json
GCS   := $(TOOLS)/fake-gcs-server
POCKETBASE := $(TOOLS)/pocketbase
COMPOSE := $(TOOLS)/docker-compose
MC    := $(TOOLS)/mc
PROMETHEUS := $(TOOLS)/prometheus
VULN  := $(TOOLS)/govulncheck
SBOM  := $(TOOLS)/cyclonedx-gomod
NFPM  := $(TOOLS)/nfpm
DEBIAN := $(TOOLS)/debian.tar

# The same commit gives the same bytes on every machine: neither folders nor the
# state of a work tree are in the program.
BUILD := go build -trimpath -buildvcs=false

# What demo passes on, and which packages test and bench are about.
ARGS ?=
PKG  ?= ./...

# For which sizes of state bench measures promotions, and where it says so.
SIZES ?= 100MiB,1GiB,5GiB
OUT   ?= docs/benchmarks.md

# Where bench says how backups compare with others' tools, and which program is kopia,
# if somebody has built it: in its source `go build -tags nohtmlui` is enough.
BESIDE ?= docs/beside.md
KOPIA  ?=

# Where bench says how streams compare with others' tools, of servers of which sizes it
# measures promotions, and which program is WAL-G, if somebody has built it: in its source
# `go build ./main/pg` is enough.
STREAMS ?= docs/beside-streams.md
SERVERS ?= 100MiB,2GiB
WALG    ?=

# How long fuzz runs each target, and which ones (a regular expression).
FUZZTIME ?= 1m
FUZZ     ?= .

# What release names its packages by, and for which systems it builds.
VERSION ?= 0.0.0
TARGETS ?= linux/amd64 linux/arm64

# What only computes, on what it is handed: the race detector makes it ten times slower, and
# would see nothing in it but a buffer of ours that two use. The packages that hand it their
# buffers are tested with all of it under the detector. None may have a sync.Map, as fastcdc
# has: the linker might take its copy of that, which the detector does not see, for all.
COMPUTES := github.com/klauspost/compress/... github.com/zeebo/blake3/... modernc.org/sqlite/lib
HANDS    := backup/pack|backup/stream|backup/source/sqlite

# lint vets everything, and nobody looks into these programs with a debugger.
TEST := go test -race -vet=off -ldflags=-w

# How many seeds soak runs, and the first of them.
SEEDS ?= 10000
FIRST ?= 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo build setup packages test soak fuzz lint vulncheck release bench growth clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## run the whole story on this machine (ARGS=--once: then exit)
	bin/understudy demo $(ARGS)

build: ## build bin/understudy
	$(BUILD) -ldflags "-X main.commit=$$(git rev-parse HEAD 2>/dev/null)" -o bin/understudy ./cmd/understudy

setup: packages $(DEBIAN) $(SBOM) $(NFPM) $(MINIO) $(MINIO_ADMIN) $(MC) $(GCS) $(POCKETBASE) $(COMPOSE) $(AZURITE) $(AXE) $(PROMETHEUS) ## install what the tests need: servers of object stores, PostgreSQL, PocketBase, Prometheus, Docker, Node.js, Chromium, a C compiler, zstd, restic, pgBackRest

packages:
	e2e/tools/packages

# The end-to-end tests start whole clusters: they come last and alone, so that
# nothing competes with them for a small machine's cores. Those that may run side
# by side mostly wait. Those that measure run by themselves.
test: setup ## run all tests (PKG=./blobstore/...: only those)
	@set -e; all=$$(go list $(PKG)); \
	hands=$$(echo "$$all" | grep -E '/($(HANDS))$$' || :); last=$$(echo "$$all" | grep '/e2e$$' || :); \
	first=$$(echo "$$all" | grep -vE '/($(HANDS)|e2e)$$' || :); \
	[ -z "$$hands" ] || $(TEST) -timeout 30m $$hands; \
	export GOFLAGS="$$(go env GOFLAGS) $(COMPUTES:%=-gcflags=%=-race=false)"; \
	[ -z "$$first" ] || $(TEST) -timeout 30m $$first; \
	[ -z "$$last" ] || $(TEST) -timeout 60m -parallel 3 $$last

soak: ## run the protocol's simulator for longer (SEEDS=1000000 FIRST=10001)
	go test -count=1 -timeout 0 ./ha/sim -run TestProtocolHoldsUnderFaults -sim.first $(FIRST) -sim.seeds $(SEEDS)

fuzz: ## run every fuzz target for a while (FUZZTIME=10m FUZZ=FuzzTree PKG=./backup/...)
	@set -e; for p in $$(go list $(PKG)); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' | grep -E '$(FUZZ)' || :); do \
			echo "$$p $$f"; go test $$p -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME); \
		done; done

lint: $(LINT) ## check formatting, vet, run the linters, and check that modules are as they were published
	@unformatted=$$(gofmt -l .) && if [ -n "$$unformatted" ]; then echo "run gofmt on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(LINT) run
	go mod verify

vulncheck: $(VULN) ## look for known faults in what the program is made of; asks vuln.go.dev
	$(VULN) ./cmd/...

release: $(SBOM) $(NFPM) ## build what is shipped, in bin/release: programs, packages, bills of materials, checksums (VERSION=1.2.3 TARGETS=linux/amd64)
	cmd/understudy/packaging/release $(VERSION) bin/release $(TARGETS)

bench: setup ## run the benchmarks, and measure promotions, and backups beside other tools (KOPIA=/path/of/kopia WALG=/path/of/wal-g: beside those, too; SIZES=100MiB,1GiB: of less; PKG=./backup/...: only those benchmarks)
	go test -run '^$$' -bench . -skip 'Growth|IdleAgent' -benchmem -timeout 60m $(PKG)
	[ '$(PKG)' != ./... ] || KOPIA='$(abspath $(KOPIA))' go test -count=1 -v -timeout 60m ./e2e -run 'TestBesideOthers$$' -args -beside.files=11500 -beside.size=740MiB -beside.tries=5 -beside.dir=/dev/shm -beside.out='$(abspath $(BESIDE))'
	[ '$(PKG)' != ./... ] || go test -count=1 -v ./e2e -run 'TestABackupIsSoonInTheCache$$' -args -commit.tries=15
	[ '$(PKG)' != ./... ] || WALG='$(abspath $(WALG))' go test -count=1 -v -timeout 90m ./e2e -run 'TestStreamsBesideOthers$$' -args -streams.seconds=20 -streams.tries=5 -streams.pairs=120 -streams.sizes='$(SERVERS)' -streams.turns=3 -streams.dir=/dev/shm -streams.out='$(abspath $(STREAMS))'
	[ '$(PKG)' != ./... ] || go test -count=1 -v -timeout 180m ./e2e -run TestPromotionTimes -args -promotion.sizes='$(SIZES)' -promotion.tries=3 -promotion.out='$(abspath $(OUT))'

# One after the other: each measures the processors' time.
growth: setup ## measure how cost grows with files, backups, standbys and databases, into docs/growth.md (an hour, and 40 GB below TMPDIR)
	mkdir -p bin
	go test -p 1 -run '^$$' -bench 'Growth|IdleAgent' -benchtime 1x -timeout 0 ./backup/source/directory ./backup/source/postgres ./ha/control ./e2e | tee bin/growth.txt
	go test -count=1 ./e2e -run TestGrowthPage -args -growth.in='$(abspath bin/growth.txt)' -growth.out='$(abspath docs/growth.md)'

clean: ## remove what was built
	rm -rf bin e2e/out $(TOOLS) $(dir $(AZURITE) $(AXE))

# Each tool has a module of its own, so that its dependencies are neither the
# program's nor another tool's.
$(MINIO): e2e/tools/minio/go.mod e2e/tools/minio/go.sum
	cd $(<D) && go build -o ../bin/minio github.com/minio/minio && touch ../bin/minio

$(MINIO_ADMIN): e2e/tools/minio/go.mod e2e/tools/minio/go.sum e2e/tools/minio/admin/main.go
	cd $(<D) && go build -o ../bin/minio-admin ./admin && touch ../bin/minio-admin

$(GCS): e2e/tools/fakegcs/go.mod e2e/tools/fakegcs/go.sum
	cd $(<D) && go build -o ../bin/fake-gcs-server github.com/fsouza/fake-gcs-server && touch ../bin/fake-gcs-server

$(POCKETBASE): e2e/tools/pocketbase/go.mod e2e/tools/pocketbase/go.sum
	cd $(<D) && go build -o ../bin/pocketbase github.com/pocketbase/pocketbase/examples/base && touch ../bin/pocketbase

$(MC): e2e/tools/mc/go.mod e2e/tools/mc/go.sum
	cd $(<D) && go build -o ../bin/mc github.com/minio/mc && touch ../bin/mc

$(COMPOSE): e2e/tools/compose/go.mod e2e/tools/compose/go.sum
	cd $(<D) && go build -ldflags=-w -o ../bin/docker-compose github.com/docker/compose/v5/cmd && touch ../bin/docker-compose

$(LINT): e2e/tools/lint/go.mod e2e/tools/lint/go.sum
	cd $(<D) && go build -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint && touch ../bin/golangci-lint

$(VULN): e2e/tools/vuln/go.mod e2e/tools/vuln/go.sum
	cd $(<D) && go build -o ../bin/govulncheck golang.org/x/vuln/cmd/govulncheck && touch ../bin/govulncheck

$(SBOM): e2e/tools/sbom/go.mod e2e/tools/sbom/go.sum
	cd $(<D) && go build -o ../bin/cyclonedx-gomod github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod && touch ../bin/cyclonedx-gomod

$(NFPM): e2e/tools/nfpm/go.mod e2e/tools/nfpm/go.sum
	cd $(<D) && go build -o ../bin/nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm && touch ../bin/nfpm

$(PROMETHEUS): e2e/tools/prometheus
	e2e/tools/prometheus && touch -h $@

$(DEBIAN): e2e/tools/debian | packages
	e2e/tools/debian

# Azurite's newest version asks for Node.js 22; it runs on Debian's 18 as well,
# with a warning. None of its packages needs its installation script.
$(AZURITE): e2e/tools/azurite/package.json e2e/tools/azurite/package-lock.json | packages
	cd e2e/tools/azurite && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

$(AXE): e2e/tools/axe/package.json e2e/tools/axe/package-lock.json | packages
	cd e2e/tools/axe && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
