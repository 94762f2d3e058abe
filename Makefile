# What people and CI run. The cluster's parts go into a cache folder outside the clone.
CARGO ?= cargo
BUILD := $(CARGO) build --workspace --locked
CACHE ?= $(or $(BELLWETHER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bellwether)
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny

.PHONY: test check unit sim docs deny jenkins e2e demo crds bench-hook fuzz-hook

test: check unit docs deny jenkins e2e ## everything that CI demands

check: ## format and lints
	$(CARGO) fmt --all --check || { echo "mend with: cargo fmt --all"; exit 1; }
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --package bellwether --test hook_load --locked -- -D warnings

unit: ## unit and property tests
	$(CARGO) test --workspace --locked

sim: ## play rollouts under faults: N=1000000 for more, SEED=4711 for one, FROM=100000 for other seeds
	N=$(N) SEED=$(SEED) FROM=$(FROM) $(CARGO) test --locked --package bellwether --test sim no_fault -- --nocapture

docs: ## rustdoc without warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

deny: $(CARGO_DENY) ## licences, sources, double versions, a second TLS provider
	$(CARGO_DENY) --locked check bans licenses sources

$(CARGO_DENY):
	@echo "building cargo-deny $(CARGO_DENY_VERSION) into the cache, once, a few minutes"
	$(CARGO) install cargo-deny --locked --version $(CARGO_DENY_VERSION) --root $(CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)

bench-hook: ## how soon a thousand clients of the hook API are told, and what they cost
	ulimit -n 4096 && $(CARGO) test --locked --package bellwether --test hook_load -- measure

fuzz-hook: ## schemathesis against the hook API: SECONDS=600 for longer
	CARGO="$(CARGO)" tests/fuzz/hook.sh $(or $(SECONDS),60)

demo: ## a good and a bad release on the real cluster, to watch
	$(BUILD)
	$(CARGO) run --locked --quiet --package bellwether-e2e -- demo

jenkins: ## the Jenkins library on Jenkins' own Groovy, and the fake Jenkins under clients that others wrote
	@for tool in java mvn python3 curl; do command -v $$tool > /dev/null || { echo "make jenkins needs $$tool"; exit 1; }; done
	jenkins/test/run.sh
	$(CARGO) test --locked --package bellwether-e2e --test fake_jenkins

e2e: ## the stories on the real cluster
	$(BUILD)
	$(CARGO) run --locked --package bellwether-e2e -- test

crds: ## generate crds/ from the types
	for name in canaries promotions commands approvals freezes clusterfreezes; do \
		$(CARGO) run --locked --quiet -- crd $$name > crds/$$name.yaml || exit 1; \
	done
