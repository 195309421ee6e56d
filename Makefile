# make demo    trains on the California housing table and draws the result
# make test    tests the built and installed package
# make checked the same with checks of bounds compiled in;   make lint   style and types;   make clean
# Needs Python 3.11 or newer and a C compiler. PYTHON=path and CC=name in the environment pick others than the default.

VENV = .venv
CHECKED = .venv-checked
PIP = python -m pip --disable-pip-version-check
SOURCES = $(wildcard cnn_core/*.py cnn_core/*.pyx cnn_core/*.pxd python/cnn/*.py) setup.py pyproject.toml
# Tests import what is installed, never the checkout.
PYTEST = pytest --import-mode=append --doctest-modules --pyargs cnn tests/

FOUND = $(shell sh tools/find_python.sh)
MADE_WITH = $(if $(findstring error: ,$(FOUND)),$(error $(FOUND:error:=)),$(FOUND))

.PHONY: demo test checked lint clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	@$(VENV)/bin/python examples/california_housing.py

test: $(VENV)/installed $(VENV)/test-tools
	@$(VENV)/bin/$(PYTEST)

checked: $(CHECKED)/installed $(CHECKED)/test-tools
	@$(CHECKED)/bin/$(PYTEST)

lint: $(VENV)/installed $(VENV)/lint-tools
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/cython-lint cnn_core
	@$(VENV)/bin/mypy

$(VENV)/created $(CHECKED)/created:
	@python="$(MADE_WITH)" && echo "Making an environment in $(@D) with $$("$$python" -V)" && \
	    rm -rf $(@D) && "$$python" -m venv $(@D) && touch $@

$(VENV)/installed: $(VENV)/created $(SOURCES)
	@$(call install,$(VENV),)

$(CHECKED)/installed: $(CHECKED)/created $(SOURCES)
	@$(call install,$(CHECKED),CNN_CHECKED=1)

%/test-tools: %/installed pyproject.toml
	@$(call extra,test)

%/lint-tools: %/installed pyproject.toml
	@$(call extra,lint)
