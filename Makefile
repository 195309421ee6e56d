# make demo    trains on the California housing table and draws the result
# make test    tests the built and installed package
# make docs    builds the site into build/site/html, warnings and broken links being errors
# make checked the same with checks of bounds compiled in;   make lint   style and types;   make clean
# Needs Python 3.11 or newer and a C compiler. PYTHON=path and CC=name in the environment pick others than the default.

VENV = .venv
CHECKED = .venv-checked
PIP = python -m pip --disable-pip-version-check -qq
SOURCES = $(wildcard cnn_core/*.py cnn_core/*.pyx cnn_core/*.pxd cnn_core/*.pxi cnn_core/*.h python/cnn/*.py python/cnn/*/*.py) \
    setup.py pyproject.toml
# In the environment itself: a fresh Cython for each build would look newer than all it has made, and make it anew.
BUILD_TOOLS = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")
# Tests import what is installed, never the checkout.
PYTEST = pytest -n auto --import-mode=append --doctest-modules --pyargs cnn tests/

FOUND = $(shell sh tools/find_python.sh)
MADE_WITH = $(if $(findstring error: ,$(FOUND)),$(error $(subst error: ,,$(FOUND))),$(FOUND))

.PHONY: demo test checked lint docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	@$(VENV)/bin/cnn demo

test: $(VENV)/installed $(VENV)/test-tools
	@$(VENV)/bin/$(PYTEST)

checked: $(CHECKED)/installed $(CHECKED)/test-tools
	@$(CHECKED)/bin/$(PYTEST)

lint: $(VENV)/installed $(VENV)/lint-tools
	@$(VENV)/bin/ruff check .
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint cnn_core  # calls pycodestyle by that name
	@$(VENV)/bin/mypy

docs: $(VENV)/installed $(VENV)/docs-tools
	@$(VENV)/bin/python tools/site/build.py

clean:
	rm -rf $(VENV) $(CHECKED) build dist python/*.egg-info cnn_core/*.so .pytest_cache .hypothesis .mypy_cache .ruff_cache

$(VENV)/created $(CHECKED)/created:
	@python="$(MADE_WITH)" && echo "Making an environment in $(@D) with $$("$$python" -V)" && \
	    rm -rf $(@D) && "$$python" -m venv $(@D) && \
	    $(@D)/bin/python -c '$(BUILD_TOOLS)' | $(@D)/bin/$(PIP) install -r /dev/stdin && touch $@

$(VENV)/installed: $(VENV)/created $(SOURCES)
	$(call install,)

$(CHECKED)/installed: $(CHECKED)/created $(SOURCES)
	$(call install,CNN_CHECKED=1 CNN_ENGINES=best)

%/test-tools: pyproject.toml | %/installed
	@$(call with-extras,test) && touch $@

%/docs-tools: pyproject.toml | %/installed
	@$(call with-extras,docs) && touch $@

%/lint-tools: pyproject.toml | %/installed
	@$(call with-extras,lint) && touch $@

# The build folder keeps files of modules that are gone: only compiled ones, checked by date, may stay there.
define install
@rm -rf $(@D)/wheel build/lib*/cnn build/lib*/cnn_core/*.p* build/checked/lib*
@echo "Building the wheel: compiles for a minute or two"
@$(1) $(@D)/bin/$(PIP) wheel --no-deps --no-build-isolation --wheel-dir $(@D)/wheel .
@$(@D)/bin/$(PIP) uninstall --yes cnn-core
@$(call with-extras,cli$(comma)plot) && touch $@
endef

comma = ,
with-extras = echo "Installing the wheel with its extras $(1) in $(@D)" && \
    $(@D)/bin/$(PIP) install "$$(echo $(@D)/wheel/*.whl)[$(1)]"
