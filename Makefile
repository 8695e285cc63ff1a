# `make run` serves ./data on 127.0.0.1:5000, `make test` runs everything; both set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.run-installed
TEST_STAMP := $(VENV)/.test-installed
NPM_STAMP := $(VENV)/.npm-installed
SOURCES := registry_server storage tests benchmarks docker requirements

# Otherwise each server and command that a test starts would compile all its imports.
unexport PYTHONDONTWRITEBYTECODE

# Two processes run the tests. PYTEST_ARGS comes later, so its `-n` takes precedence; -n 0 is one process.
PYTEST := $(BIN)/python -m pytest -n 2
# Markers of the tests that `make quick` and `make coverage` leave out.
LONG := faults or race or clients or benchmarks or live or slow

.PHONY: run test quick coverage check format bench image lock audit clean

$(RUN_STAMP): requirements/run.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	touch $@

$(TEST_STAMP): requirements/test.lock $(RUN_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.lock
	touch $@

# Clients from npm, for tests; only where npm is installed.
$(NPM_STAMP): tests/clients/npm/package-lock.json $(RUN_STAMP)
	mkdir -p $(VENV)/npm
	cp tests/clients/npm/*.json $(VENV)/npm/
	! command -v npm >/dev/null || npm ci --prefix $(VENV)/npm --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

run: $(RUN_STAMP)  ## serve ./data on 127.0.0.1:5000
	$(BIN)/python -m registry_server serve

check: $(TEST_STAMP)  ## format, lint and types, as `make test` will
	$(BIN)/ruff format $(if $(CI),--check,--quiet) $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks docker

test: check $(NPM_STAMP)  ## everything: checks, unit, property, live-server and real-client tests
	$(PYTEST) $(PYTEST_ARGS)

quick: $(TEST_STAMP)  ## lint, and what tests say within two minutes
	$(BIN)/ruff check $(SOURCES)
	$(PYTEST) -m "not ($(LONG))" $(PYTEST_ARGS)
	@echo "left out: types (make check), and tests marked $(LONG) (make test)"

coverage: $(TEST_STAMP)  ## lines and branches that `make quick` runs; fails below the floor in pyproject.toml
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 -m "not ($(LONG))" $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

format: $(TEST_STAMP)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(TEST_STAMP)  ## side by side with Debian's docker-registry and nginx; prints ratios and targets
	$(BIN)/python -m benchmarks $(BENCH_ARGS)
	$(if $(BENCH_ARGS),,$(BIN)/python -m benchmarks.access)

image:  ## build the container image registry-server:latest; IMAGE_ARGS goes to `docker build`
	docker build --tag registry-server $(IMAGE_ARGS) .

lock: $(TEST_STAMP)  ## refresh the lock files to current versions
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --no-emit-index-url --python-version 3.11 pyproject.toml -o requirements/run.lock
	$(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --no-emit-index-url --python-version 3.11 -c requirements/run.lock --group pyproject.toml:test pyproject.toml -o requirements/test.lock

audit: $(TEST_STAMP)  ## known vulnerabilities in what is locked; OSV="pypi.zip npm.zip" needs no network
ifdef OSV
	$(BIN)/python -m requirements.advisories $(OSV)
else
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --require-hashes -r requirements/run.lock
	$(BIN)/pip-audit --require-hashes -r requirements/test.lock
	! command -v npm >/dev/null || (cd tests/clients/npm && npm audit --package-lock-only)
endif

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis .coverage*
