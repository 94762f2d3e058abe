# What people and CI run. The cluster's parts go into a cache folder outside the clone.
CARGO ?= cargo
# One choice of packages, and with --examples, of which there are none, the features that tests need: so no command here
# builds anew what another has built.
ALL := --workspace --locked
BUILD = $(CARGO) build $(ALL) --bins --examples
# Where cargo puts the programs, whatever the environment and its configuration say.
OUTPUT = $(shell $(CARGO) metadata --no-deps --locked --format-version 1 \
	| sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug
CACHE ?= $(or $(BELLWETHER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bellwether)
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
CARGO_CYCLONEDX_VERSION := 0.5.1
CARGO_CYCLONEDX := $(CACHE)/tools/cargo-cyclonedx-$(CARGO_CYCLONEDX_VERSION)/bin/cargo-cyclonedx
# Seeds that nobody played before: those of this minute.
UNSEEN := $(or $(UNSEEN),$(shell date -u +%Y%m%d%H%M)00000)

.PHONY: chart charts kustomize image sbom dashboards rules test test-all check unit sim sim-unseen docs deny jenkins e2e e2e-quick demo crds bench-hook fuzz-hook

test: ## everything that CI demands, with what the real cluster alone can show
	@.ci/stages check unit docs deny jenkins charts e2e-quick

test-all: ## the same with every story on the real cluster, and 20,000 rollouts that nobody played before
	@.ci/stages check unit docs deny jenkins charts e2e sim-unseen

check: ## format and lints
	$(CARGO) fmt --all --check || { echo "mend with: cargo fmt --all"; exit 1; }
	$(CARGO) clippy $(ALL) --all-targets -- -D warnings
	$(CARGO) clippy $(ALL) --test hook_load --test fake_jenkins -- -D warnings

unit: ## unit and property tests, the simulation, and the stories on the simulated cluster
	$(CARGO) test $(ALL)

sim: ## play rollouts under faults: N=1000000 for more, SEED=4711 for one, FROM=100000 for other seeds
	N=$(N) SEED=$(SEED) FROM=$(FROM) $(CARGO) test $(ALL) --test sim no_fault -- --nocapture

sim-unseen: ## play 20,000 rollouts on seeds that nobody played before; UNSEEN=... for those of an earlier run
	@echo "seeds from $(UNSEEN) on; the same again: make sim-unseen UNSEEN=$(UNSEEN), one of them: make sim SEED=..."
	@$(MAKE) --no-print-directory sim N=$(or $(N),20000) FROM=$(UNSEEN) SEED=

docs: ## rustdoc without warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(ALL) --no-deps --lib --examples

deny: $(CARGO_DENY) ## licences, sources, double versions, a second TLS provider
	$(CARGO_DENY) --locked check bans licenses sources

# Not optimised: it works for a second and is built for minutes.
$(CARGO_DENY):
	@echo "building cargo-deny $(CARGO_DENY_VERSION) into the cache, once, a few minutes"
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install cargo-deny --locked --debug --version $(CARGO_DENY_VERSION) \
		--root $(CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)

bench-hook: ## how soon a thousand clients of the hook API are told, and what they cost
	ulimit -n 4096 && $(CARGO) test $(ALL) --test hook_load -- measure

fuzz-hook: ## schemathesis against the hook API: SECONDS=600 for longer
	CARGO="$(CARGO)" tests/fuzz/hook.sh $(or $(SECONDS),60)

demo: ## a good and a bad release on the real cluster, to watch
	$(BUILD)
	@$(OUTPUT)/bellwether-e2e demo

jenkins: ## the Jenkins library on Jenkins' own Groovy, and the fake Jenkins under clients that others wrote
	@for tool in java mvn python3 curl; do command -v $$tool > /dev/null || { echo "make jenkins needs $$tool"; exit 1; }; done
	jenkins/test/run.sh
	$(CARGO) test $(ALL) --test fake_jenkins

e2e: ## every story on the real cluster: STORIES="good-release bad" for those with this in their names
	$(BUILD)
	$(OUTPUT)/bellwether-e2e test $(STORIES)

e2e-quick: ## the stories for what the real cluster alone can show
	$(BUILD)
	$(OUTPUT)/bellwether-e2e test --quick

dashboards: ## are the dashboards what their source makes, and has every expression data on made-up metrics?
	dashboards/check.sh
	dashboards/test.sh

rules: ## promtool on the alert rules and their tests
	rules/test.sh

crds: ## generate crds/ from the types
	$(BUILD)
	for name in canaries promotions promotionledgers commands approvals freezes clusterfreezes; do \
		$(OUTPUT)/bellwether crd $$name > crds/$$name.yaml || exit 1; \
	done
	@$(MAKE) --no-print-directory chart

chart: ## copy into the chart what it packs, and render the kustomize base from it
	charts/copies.sh
	@$(MAKE) --no-print-directory kustomize

kustomize: ## render the kustomize base from the chart; HELM=... for a Helm that is there already
	charts/kustomize.sh $(HELM)

charts: ## lint the chart, render it with every file of values, and compare its copies and the kustomize base
	charts/test.sh $(HELM)

image: ## the image of a binary that is built already, started once: BINARY=target/release/bellwether ARCHIVE=image.tar
	deploy/image.sh $(or $(BINARY),$(dir $(OUTPUT))release/bellwether) $(ARCHIVE)

# For the platform of this machine, and without what only tests need.
sbom: $(CARGO_CYCLONEDX) ## what the program is made of, as CycloneDX: target/sbom/bellwether.json
	$(CARGO_CYCLONEDX) cyclonedx --manifest-path Cargo.toml --format json --override-filename bellwether-sbom
	mkdir -p target/sbom && mv bellwether-sbom.json target/sbom/bellwether.json
	rm -f core/bellwether-sbom.json e2e/bellwether-sbom.json

$(CARGO_CYCLONEDX):
	@echo "building cargo-cyclonedx $(CARGO_CYCLONEDX_VERSION) into the cache, once, a few minutes"
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install cargo-cyclonedx --locked --debug --version $(CARGO_CYCLONEDX_VERSION) \
		--root $(CACHE)/tools/cargo-cyclonedx-$(CARGO_CYCLONEDX_VERSION)
