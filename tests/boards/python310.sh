#!/usr/bin/env bash
# Build Python 3.10 for aarch64, which no Debian release holds, for the test of JetPack 6's Python: cross-compiled from
# its source, into .boards/python3.10/opt/python3.10. About 10 minutes on two cores, once. Needs gcc, make, curl,
# mmdebstrap and gcc-aarch64-linux-gnu.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in gcc make curl mmdebstrap aarch64-linux-gnu-gcc; do
  command -v "$tool" >/dev/null || { echo "python310.sh: $tool is missing: apt-get install gcc make curl mmdebstrap gcc-aarch64-linux-gnu" >&2; exit 3; }
done
version=3.10.12
digest=afb74bf19130e7a47d10312c8f5e784f24e0527981eab68e20546cfb865830b8
work=$PWD/.boards/python3.10
[ ! -e "$work/opt/python3.10/bin/python3.10" ] || exit 0
mkdir -p "$work/native" "$work/cross" "$work/bin"
cd "$work"

for place in "https://www.python.org/ftp/python/$version/Python-$version.tar.xz" \
  "http://archive.ubuntu.com/ubuntu/pool/main/p/python3.10/python3.10_$version.orig.tar.xz"; do
  [ -f source.tar.xz ] || curl -sfL --max-time 300 -o source.tar.xz "$place" || rm -f source.tar.xz
done
echo "$digest  source.tar.xz" | sha256sum -c --quiet - || { rm -f source.tar.xz; exit 2; }
[ -d source ] || { mkdir source.new && tar xf source.tar.xz -C source.new --strip-components=1 && mv source.new source; }

# The headers and libraries of the board's system, and a Python of the same version that runs here.
if [ ! -d sysroot/usr/include ]; then
  rm -rf sysroot
  mmdebstrap -q --architectures=arm64 --variant=extract --include=libc6-dev,zlib1g-dev,libffi-dev,libssl-dev bookworm sysroot
fi
[ -x native/python ] || (cd native && ../source/configure -q CFLAGS=-O0 >configure.log 2>&1 && make -s -j2 >make.log 2>&1)
ln -sf "$work/native/python" bin/python3.10
export PATH=$work/bin:$PATH
cd cross
[ -e Makefile ] || ac_cv_file__dev_ptmx=yes ac_cv_file__dev_ptc=no ../source/configure -q --host=aarch64-linux-gnu \
  --build="$(gcc -dumpmachine)" --prefix=/opt/python3.10 --disable-ipv6 --without-ensurepip \
  CC="aarch64-linux-gnu-gcc --sysroot=$work/sysroot" CFLAGS=-O1 >configure.log 2>&1
make -s -j2 >make.log 2>&1
make -s bininstall libinstall DESTDIR="$work/installing" >install.log 2>&1
make -s sharedinstall DESTDIR="$work/installing" >>install.log 2>&1
[ -x "$work/installing/opt/python3.10/bin/python3.10" ]
rm -rf "$work/opt" && mv "$work/installing/opt" "$work/opt"
