#!/usr/bin/env bash
# Install edgeseg in an emulated aarch64 Debian, build and score an INT8 engine there, and compare with this machine.
#
# Usage: PYTHON=VENV/bin/python tests/aarch64/run.sh
#
# PYTHON has edgeseg[onnxruntime,vision,demo]. The emulated Debian stays in the platform's cache folder and is used again.
# All mounts are made in a namespace of this process, so that none outlives it, however it ends.
set -euo pipefail

fail() {
    echo "make test-aarch64 can't go on: $1" >&2
    exit 1
}

[[ $(uname -sm) == 'Linux x86_64' ]] || fail "it emulates aarch64 on x86-64 Linux, and this is $(uname -sm)."
[[ $EUID == 0 ]] || fail 'it needs root, to make mounts and to have the kernel start aarch64 programs with an emulator.'
if [[ -z ${EDGESEG_OWN_MOUNTS-} ]]; then
    unshare --mount true || fail 'this container may not make mounts.'
    EDGESEG_OWN_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"
fi

here=$(dirname "$(realpath "$0")")
sources=$(realpath "$here/../..")
python=$(realpath --no-symlinks "${PYTHON:?names a Python with edgeseg[onnxruntime,vision,demo]}")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgeseg/aarch64
root=$cache/debian
binfmt=/proc/sys/fs/binfmt_misc
registered=
network=()
# Seconds for all of it. The emulator is known to hang now and then.
limit=1200
# Emulation is some hundred times slower than a board, so frames are small.
size=96x128

step() {
    printf '%2d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$1"
}

clean_up() {
    rm -rf "$scratch"
    [[ -z $registered ]] || echo -1 >"$binfmt/qemu-aarch64"
}

# Debian's mirror and release, as this machine's own apt has them.
mirror() {
    # shellcheck disable=SC2016  # apt expands these.
    apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
        awk '$2 !~ /-/ {print; exit}'
}

install_tools() {
    type apt-get >/dev/null 2>&1 || fail 'it takes its tools and a Debian mirror from apt, and there is none.'
    type debootstrap qemu-aarch64-static >/dev/null 2>&1 && [[ -n $(mirror) ]] && return
    step 'install debootstrap and qemu-user-static'
    apt-get -qq update || fail 'apt-get could not update its lists; is there a network?'
    [[ -n $(mirror) ]] || fail "this machine's apt sources name no Debian mirror."
    apt-get -qqy install --no-install-recommends debootstrap qemu-user-static >/dev/null ||
        fail 'apt-get could not install them; is there a network?'
}

# The emulator is registered with the flag F, which lets it work inside a chroot that does not hold it.
register_emulator() {
    mountpoint -q "$binfmt" || mount -t binfmt_misc binfmt_misc "$binfmt" || fail 'this kernel has no binfmt_misc.'
    if [[ -e $binfmt/qemu-aarch64 ]]; then
        grep -q '^flags:.*F' "$binfmt/qemu-aarch64" || fail "$binfmt/qemu-aarch64 is registered without the flag F."
    else
        grep -h '^:' "$(dpkg -L qemu-user-static | grep '/binfmt.d/qemu-aarch64.conf$')" >"$binfmt/register"
        registered=yes
    fi
}

# Run a command in the emulated Debian, for no longer than is left.
emulated() {
    local left=$((limit - SECONDS))
    ((left > 0)) || fail "it took longer than $((limit / 60)) minutes."
    timeout --foreground "$left" chroot "$root" /usr/bin/env -i \
        PATH=/opt/edgeseg/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 QEMU_CPU=cortex-a76 "$@"
}

install_debian() {
    local site release
    [[ -e $root/.complete ]] && return
    read -r site release < <(mirror)
    step "install Debian $release for aarch64"
    rm -rf --one-file-system "$root"
    debootstrap --arch=arm64 --foreign --variant=minbase --include=python3,python3-venv,ca-certificates \
        "$release" "$root" "$site" >"$cache/debootstrap.log" || fail "debootstrap failed, see $cache/debootstrap.log."
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    emulated /debootstrap/debootstrap --second-stage >>"$cache/debootstrap.log" ||
        fail "the second stage of debootstrap failed, see $cache/debootstrap.log."
    touch "$root/.complete"
}

# The kernel would tell of this machine's CPU. The emulated one is that of a Raspberry Pi 5, which has dot products.
mount_kernel() {
    local cpu
    for ((cpu = 0; cpu < $(nproc --all); cpu++)); do
        printf '%s\t: %s\n' processor "$cpu" \
            Features 'fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp' \
            'CPU implementer' 0x41 'CPU architecture' 8 'CPU variant' 0x4 'CPU part' 0xd0b 'CPU revision' 1
        echo
    done >"$scratch/cpuinfo"
    mount -t proc proc "$root/proc"
    mount --bind "$scratch/cpuinfo" "$root/proc/cpuinfo"
    mount -t sysfs -o ro sysfs "$root/sys"
}

# Host names, certificates and pip's index, as this machine has them. Folders of packages here are for this machine.
share_network() {
    local bundle=/etc/ssl/certs/ca-certificates.crt
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    cp -L "${PIP_CERT:-${SSL_CERT_FILE:-$bundle}}" "$root$bundle"
    # Settings of the environment come last and win, as they do in pip.
    mapfile -t network < <("$python" -m pip config list | sort -r | sed -nE "
        s/^.*\.index-url='(.*)'/PIP_INDEX_URL=\1/p
        s/^.*\.extra-index-url='(https?:[^\\]*)'/PIP_EXTRA_INDEX_URL=\1/p
        s/^.*\.proxy='(.*)'/PIP_PROXY=\1/p
        s/^.*\.trusted-host='(.*)'/PIP_TRUSTED_HOST=\1/p")
    network+=("PIP_CERT=$bundle" ${https_proxy+"https_proxy=$https_proxy"} PIP_DISABLE_PIP_VERSION_CHECK=1)
}

# From a copy of the sources, so that nothing of an older build folder slips in.
build_wheel() {
    mkdir "$scratch/sources"
    cp -r "$sources"/{setup.cfg,pyproject.toml,README.md,LICENSE,edgeseg,calibration,engines,recipes} "$scratch/sources"
    "$python" -m pip wheel -q --no-deps -w "$root/tmp" "$scratch/sources" ||
        fail 'pip could not build the wheel; is there a network?'
}

# Packages come as wheels for aarch64 or not at all, and stay as they are until setup.cfg asks for others.
install_edgeseg() {
    local wheel wanted
    build_wheel
    wheel=/tmp/$(basename "$root"/tmp/edgeseg-*.whl)
    wanted=$(sha256sum <"$sources/setup.cfg")
    if [[ $wanted == "$(cat "$root/opt/edgeseg/.wanted" 2>/dev/null)" ]]; then
        step 'install the wheel of edgeseg there'
        emulated pip install -q --no-compile --no-deps --force-reinstall "$wheel"
    else
        step 'install edgeseg and what it needs there'
        emulated python3 -m venv --clear /opt/edgeseg
        emulated "${network[@]}" pip install -q --no-compile --only-binary :all: \
            "edgeseg[onnxruntime,vision] @ file://$wheel" || fail 'pip could not install there; is there a network?'
        echo "$wanted" >"$root/opt/edgeseg/.wanted"
    fi
}

# The same engines and frames on both machines, and one engine that is built there.
compute_on_both() {
    local work=$root/tmp/work engine frames report
    mkdir -p "$work"/{here,there}
    cp "$here/measure.py" "$work"
    step 'prepare frames and engines here'
    "$python" "$here/prepare.py" "$work" "$size"
    step 'build an engine there'
    emulated edgeseg build --int8 --backend onnxruntime --imgsz "$size" --frames /tmp/work/frames/street/images \
        --duration 0.1 --even-if-slower --no-repair -o /tmp/work/built --json >"$work/there/build.json"
    step 'compute class maps and count operators on both'
    emulated python /tmp/work/measure.py /tmp/work /tmp/work/there
    "$python" "$work/measure.py" "$work" "$work/here"
    engine=built/$(basename "$work"/built/*.onnx)
    for frames in "$work"/frames/*; do
        frames=$(basename "$frames")
        step "score it on the frames of $frames on both"
        report=eval-$frames.json
        emulated edgeseg eval "/tmp/work/$engine" --data "/tmp/work/frames/$frames" --json >"$work/there/$report"
        "$python" -m edgeseg eval "$work/$engine" --data "$work/frames/$frames" --json >"$work/here/$report"
    done
}

scratch=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$sources"
mkdir -p "$cache"
exec 9>"$cache/lock"
flock --nonblock 9 || fail 'another run is using the emulated Debian.'
install_tools
register_emulator
install_debian
rm -rf --one-file-system "${root:?}"/tmp/*
mount_kernel
share_network
install_edgeseg
compute_on_both
step 'compare'
"$python" "$here/compare.py" "$root/tmp/work"
