#!/bin/sh
# Prints the path of a Python that can make an environment and build the package in it, or one line "error: ..." that
# says what is missing. PYTHON names the one to take, CC the compiler.
fail() {
    echo "error: $1"
    exit 1
}

python="" bare=""
for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
    "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
        python=$("$name" -c 'import sys; print(sys.executable)')
        break
    fi
    bare=${bare:-$name}
done
if [ -z "$python" ] && [ -n "$bare" ]; then
    fail "$bare lacks the modules venv and ensurepip (Debian, Ubuntu: apt install python3-venv)"
elif [ -z "$python" ] && [ -n "$PYTHON" ]; then
    fail "PYTHON=$PYTHON is not a Python 3.11 or newer"
elif [ -z "$python" ]; then
    fail "Python 3.11 or newer is needed, and none was found (PYTHON=path names one that is not on the PATH)"
fi

# The compiler that setuptools will call: CC, else the one that this Python was built with. Both may carry options.
compiler=${CC:-$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
if ! echo '#include <stdlib.h>' | $compiler -x c -fsyntax-only - 2>/dev/null; then
    fail "a C compiler is needed, and '$compiler' does not work (Debian, Ubuntu: apt install build-essential; macOS: xcode-select --install; CC=name picks another)"
elif ! [ -f "$include/Python.h" ]; then
    fail "the C headers of $python are missing from $include (Debian, Ubuntu: apt install python3-dev)"
fi
echo "$python"
