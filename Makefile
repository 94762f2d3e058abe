# What people and CI run. The cluster's parts go into a cache folder outside the clone.
CARGO ?= cargo
BUILD := $(CARGO) build --workspace --locked

.PHONY: test check unit docs drift e2e demo crds

test: check unit docs drift e2e ## everything that CI demands

check: ## format and lints
	$(CARGO) fmt --all --check || { echo "mend with: cargo fmt --all"; exit 1; }
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

unit: ## unit and property tests
	$(CARGO) test --workspace --locked

docs: ## rustdoc without warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

drift: ## TLS provider: ring alone
	@if $(CARGO) tree --locked --invert aws-lc-rs >/dev/null 2>&1; then echo "aws-lc-rs is in the graph; two TLS providers panic at the first use"; exit 1; fi

e2e: ## the stories on the real cluster
	$(BUILD)
	$(CARGO) run --locked --package bellwether-e2e -- test

crds: ## generate crds/ from the types
	$(CARGO) run --locked --package bellwether -- crd > crds/canaries.yaml
