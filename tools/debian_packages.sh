#!/bin/sh
# Makes sure that the programs which the tests drive are there.
# As root, or with CI=true, missing ones are installed with apt-get; otherwise the line to run is printed, and the tests
# that need them skip and say why. With CI=true a program that is still missing is a failure.
set -eu

tools='sipp:sip-tester redis-server:redis-server faketime:faketime promtool:prometheus kamailio:kamailio baresip:baresip-core sipsak:sipsak ip:iproute2 nft:nftables'

missing() {
    for pair in $tools; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || printf '%s ' "${pair#*:}"
    done
}

packages=$(missing)
[ -n "$packages" ] || exit 0

as_root=
[ "$(id -u)" = 0 ] || as_root='sudo -n'

install() {
    # The tests start servers of their own; a freshly installed package must not start one beside them.
    guard=/usr/sbin/policy-rc.d
    made=
    if [ ! -e "$guard" ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$guard" >/dev/null
        $as_root chmod +x "$guard"
        made=yes
    fi
    result=0
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { $as_root apt-get update -qq && $as_root apt-get install -y -qq -o DPkg::Lock::Timeout=120 --no-install-recommends $packages; } >&2 </dev/null ||
        result=$?
    [ -z "$made" ] || $as_root rm -f "$guard"
    return $result
}

if command -v apt-get >/dev/null 2>&1 && { [ "$(id -u)" = 0 ] || [ "${CI:-}" = true ]; }; then
    echo "installing $packages" >&2
    install || echo "trunkwarden: apt-get could not install $packages" >&2
    packages=$(missing)
fi

[ -n "$packages" ] || exit 0
if [ "${CI:-}" = true ]; then
    echo "trunkwarden: missing: $packages(apt-get install $packages)" >&2
    exit 1
fi
echo "some tests will be skipped; for all of them: sudo apt-get install $packages" >&2
