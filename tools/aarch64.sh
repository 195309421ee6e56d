#!/usr/bin/env bash
# Builds the wheel for Linux on aarch64 and runs tests of it, on a machine of another kind:
#
#     tools/aarch64.sh FOLDER [TEST...]
#
# As root, with Debian's packages debootstrap and qemu-user-static, pip and git. FOLDER gets Debian for arm64, kept for
# the next time, whose compiler and Python run under emulation. Programs are only unpacked, and the emulator is known in
# a namespace of users alone (Linux 6.7 or newer): the machine stays as it is.
set -euo pipefail
[ $# -gt 0 ] || { sed -n 2,8p "$0"; exit 2; }
cd "$(dirname "$0")/.."
mkdir -p "$1"
root=$(cd "$1" && pwd)
shift
suite=bookworm python=3.11

if ! [ -e "$root/usr/bin/gcc" ]; then
    debootstrap --foreign --arch=arm64 --variant=minbase --include=python3-dev,gcc,libc6-dev "$suite" "$root"
    for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
fi
rm -rf "$root/source" "$root/packages"
mkdir -p "$root/source"
git archive HEAD | tar -x -C "$root/source"
take() {
    python3 -m pip --disable-pip-version-check install -qq --target "$root/packages" --only-binary=:all: \
        --python-version "$python" --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 \
        --platform linux_aarch64 "$@"
}
take "setuptools>=77" "cython>=3.1" "numpy>=2.0" scipy threadpoolctl tqdm \
    pytest pytest-xdist hypothesis mpmath scikit-learn pandas

# emulated COMMAND...: in the root, where binaries for aarch64 are run by qemu
emulated() {
    local pipes
    pipes=$(mktemp -d)
    mkfifo "$pipes/inside" "$pipes/mapped"
    unshare --user --mount bash -c '
        set -e
        pipes=$1 root=$2 magic="\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
        mask="\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
        shift 2
        echo > "$pipes/inside"
        read -r < "$pipes/mapped"
        mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
        echo ":aarch64:M::$magic:$mask:/usr/bin/qemu-aarch64-static:F" > /proc/sys/fs/binfmt_misc/register
        mount --rbind /proc "$root/proc"
        mount -t tmpfs tmpfs "$root/dev"
        mkdir -m 1777 "$root/dev/shm"
        for name in null zero full random urandom; do
            touch "$root/dev/$name"
            mount --bind "/dev/$name" "$root/dev/$name"
        done
        exec chroot "$root" "$@"' - "$pipes" "$root" "$@" &
    read -r < "$pipes/inside"
    echo '0 0 65536' > "/proc/$!/uid_map"
    echo '0 0 65536' > "/proc/$!/gid_map"
    echo > "$pipes/mapped"
    rm -r "$pipes"
    wait $!
}
inside=(env -i PATH=/packages/bin:/usr/bin:/bin PYTHONPATH=/packages OMP_WAIT_POLICY=passive TMPDIR=/tmp LANG=C.UTF-8)

began=$SECONDS
emulated "${inside[@]}" sh -c 'cd /source && python3 setup.py -q bdist_wheel' >"$root/build.log" 2>&1 ||
    { tail -n 50 "$root/build.log"; exit 1; }
take --no-deps "$root"/source/dist/*.whl
printf '%s: built in %d s\n' "$(basename "$root"/source/dist/*.whl)" $((SECONDS - began))

[ $# -gt 0 ] || set -- activations losses optimizers network training predict images threads
mkdir "$root/source/away" # where no source of the package can be imported
mv "$root/source/tests" "$root/source/pyproject.toml" "$root/source/away"
tests=("${@/#/tests/test_}")
began=$SECONDS
emulated "${inside[@]}" sh -c 'cd /source/away && exec python3 -m pytest -q -n 2 -p no:cacheprovider "$@"' - \
    --deselect tests/test_threads.py::test_free_memory_is_what_limits_leave "${tests[@]/%/.py}" # qemu has no ulimit -v
printf 'tested in %d s\n' $((SECONDS - began))
