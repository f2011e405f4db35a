#!/bin/sh
# Installs what is in this folder: wav2edge in an environment of its own, and the bundle.   ./install.sh [FOLDER]
#
#   FOLDER/releases/ID/   one complete installation: env/, the bundle, wav2edge's wheel
#   FOLDER/current        a link to the one in use; an update changes it in one rename, after the new one's selftest
#   FOLDER/previous       a link to the one that was in use before
#
# Interrupted at any moment, the old installation stays in use; run it again. Exit codes: 0 done, 1 the selftest failed
# and the old installation stays, 2 a damaged copy or wrong use, 3 something is missing here.
set -eu
umask 022
unset PYTHONPATH PYTHONHOME CDPATH

# What `wav2edge pack` filled in:
@VALUES@

say() { echo "install.sh: $*"; }
fail() { code=$1; shift; echo "install.sh: $*" >&2; exit "$code"; }
# A word as it can be pasted into a shell.
word() {
  case $1 in
    *[!A-Za-z0-9_./@%+=:,-]*) printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf %s "$1" ;;
  esac
}

case ${1:-} in -*) fail 2 "usage: ./install.sh [FOLDER]" ;; esac
[ $# -le 1 ] || fail 2 "usage: ./install.sh [FOLDER]"
if [ -z "${HOME:-}" ]; then
  [ $# -eq 1 ] || [ -n "${XDG_DATA_HOME:-}" ] || fail 2 "HOME is not set; name the folder: ./install.sh FOLDER"
  [ -z "$SERVICE" ] || [ -n "${XDG_CONFIG_HOME:-}" ] || fail 2 "HOME is not set, where a service's unit goes; set it"
fi
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-${XDG_DATA_HOME:-$HOME/.local/share}/wav2edge/$NAME}
mkdir -p "$folder/releases" || fail 2 "$folder cannot be made; name another folder: ./install.sh FOLDER"
folder=$(cd "$folder" && pwd)
cd /  # Python imports from the working directory first, where the user may have files by any name

# 1. The copy is whole.
(cd "$here" && sha256sum -c SHA256SUMS >/dev/null 2>&1) ||
  fail 2 "a file is damaged or missing (sha256sum -c SHA256SUMS says which); copy and unpack the archive again"
id=$(sha256sum <"$here/SHA256SUMS" | cut -c1-16)

# 2. A Python that the packages are for.
python=
for candidate in $PYTHONS python3; do
  if "$candidate" -c "$PYTHON_FITS" >/dev/null 2>&1; then python=$candidate; break; fi
done
[ -n "$python" ] || fail 3 "no Python here fits ($PYTHON_WANTED, 64 bits, $MACHINE); $PYTHON_REMEDY"

# 3. Space on the disk, and PortAudio for the microphone.
free=$("$python" -c 'import os, sys; s = os.statvfs(sys.argv[1]); print(s.f_bavail * s.f_frsize // 1000000)' "$folder")
[ "$free" -ge "$MEGABYTES" ] || fail 3 "$folder has $free MB free, $MEGABYTES MB are needed; make room or name another folder"
if ! "$python" -c 'import ctypes; ctypes.CDLL("libportaudio.so.2")' >/dev/null 2>&1; then
  [ -z "$SERVICE" ] || fail 3 "the microphone needs PortAudio: $SYSTEM"
  say "no PortAudio, so no microphone; recordings work. To add it: $SYSTEM"
fi

# 4. One installation at a time; the lock goes with the process.
exec 9>"$folder/.lock"
if command -v flock >/dev/null 2>&1; then flock -n 9 || fail 2 "another install.sh is at work in $folder"; fi

# 5. The new release, beside the old one. What an interrupted run left is removed.
release=$folder/releases/$id
if [ ! -e "$release/complete" ]; then
  rm -rf "$release"
  mkdir "$release"
  say "making the environment with $("$python" --version 2>&1)"
  # Only what this archive holds: another one may have been unpacked here before.
  "$python" -c '
import os, shutil, sys
here, release, bundle = sys.argv[1:]
with open(os.path.join(here, "SHA256SUMS"), encoding="utf-8") as file:
    names = [line.rstrip("\n")[66:] for line in file]
for name in names:
    source, target = os.path.join(here, name), os.path.join(release, name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if name.startswith("wheels/"):
        os.symlink(source, target)
    elif name.startswith(bundle + "/") or name == "requirements.txt":
        shutil.copyfile(source, target)' "$here" "$release" "$BUNDLE"
  set -- "$here/$WHEEL[$EXTRAS]" pip
  [ ! -e "$release/requirements.txt" ] || set -- "$@" -r "$release/requirements.txt"
  if [ "$SYSTEM_SITE" = yes ]; then site=--system-site-packages; else site=; fi
  if [ "$OFFLINE" = yes ]; then
    "$python" -m venv --without-pip $site "$release/env"
    # The wheel of pip runs as it is, and installs itself.
    PIP_CONFIG_FILE=/dev/null "$release/env/bin/python" "$here/wheels/$PIP/pip" install -q --no-index --no-compile \
      --disable-pip-version-check --find-links "$release/wheels" "$@" ||
      fail 2 "the packages could not be installed; the lines above say why"
  else
    "$python" -m venv $site "$release/env" || fail 3 "$python cannot make environments: $SYSTEM"
    "$release/env/bin/python" -m pip install -q --disable-pip-version-check "$@" ||
      fail 2 "the packages could not be installed; the lines above say why (packed with --wheels, no network is needed)"
  fi
  rm -rf "$release/wheels"
  cp "$here/$WHEEL" "$release/"
fi

# 6. The same numbers as where the bundle was made, before anything uses it.
say "selftest of $BUNDLE"
if ! "$release/env/bin/wav2edge" selftest "$release/$BUNDLE"; then
  [ -e "$release/complete" ] || rm -rf "$release"
  if [ -e "$folder/current" ]; then fail 1 "the selftest failed; the installation of before stays in use"; fi
  fail 1 "the selftest failed; nothing was installed"
fi
sync
: >"$release/complete"
sync

# 7. From the old release to the new in one rename. Run again, the release before stays the one before.
link() { "$python" -c '
import os, sys
new = sys.argv[2] + ".new"
if os.path.lexists(new): os.remove(new)
os.symlink(sys.argv[1], new)
os.replace(new, sys.argv[2])' "$1" "$2"; sync; }
before=$(readlink "$folder/current" 2>/dev/null || true)
if [ "$before" = "releases/$id" ]; then
  before=$(readlink "$folder/previous" 2>/dev/null || true)
elif [ -n "$before" ]; then
  link "$before" "$folder/previous"
fi
[ "$before" != "releases/$id" ] || before=
link "releases/$id" "$folder/current"

# 8. The service. One that does not come up on the new release gets the old one back.
if [ -n "$SERVICE" ]; then
  units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
  mkdir -p "$units"
  unit=$units/$SERVICE.service
  # Each release keeps its own unit: the name of its bundle may differ.
  if [ -n "$before" ] && [ -e "$unit" ] && [ ! -e "$folder/$before/$SERVICE.service" ]; then
    cp "$unit" "$folder/$before/$SERVICE.service"
  fi
  "$python" -c '
import os, sys
text = open(sys.argv[1], encoding="utf-8").read()
place = sys.argv[3]
for character, written in (("\\", "\\\\"), ("\"", "\\\""), ("%", "%%"), ("$", "$$")):
    place = place.replace(character, written)
text = text.replace("@FOLDER@", place)
new = sys.argv[2] + ".new"
with open(new, "w", encoding="utf-8") as file:
    file.write(text)
os.replace(new, sys.argv[2])' "$here/$SERVICE.service" "$release/$SERVICE.service" "$folder"
  put() { cp "$folder/$1/$SERVICE.service" "$unit.new" && mv "$unit.new" "$unit"; }
  put "releases/$id"
  if command -v systemctl >/dev/null 2>&1 && systemctl --user daemon-reload 2>/dev/null; then
    if systemctl --user --quiet is-active "$SERVICE"; then
      say "restarting $SERVICE"
      if ! systemctl --user restart "$SERVICE"; then
        why="the service did not start with the new release (journalctl --user -u $SERVICE)"
        [ -n "$before" ] && [ -e "$folder/$before/complete" ] || fail 1 "$why; there is none of before"
        link "$before" "$folder/current"
        put "$before" 2>/dev/null || true
        if systemctl --user daemon-reload && systemctl --user restart "$SERVICE"; then
          fail 1 "$why; the one of before is in use again"
        fi
        fail 1 "$why, nor with the one of before, which is in use again"
      fi
    fi
  else
    say "systemd does not answer for this user; the unit is $unit"
  fi
fi

# 9. Keep this release and the one before.
for old in "$folder"/releases/*; do
  case releases/${old##*/} in "releases/$id" | "$before") ;; *) rm -rf "$old" ;; esac
done
say "installed in $folder"
say "use it: $(word "$folder/current/env/bin/wav2edge") $USE -m $(word "$folder/current/$BUNDLE")"
[ -z "$SERVICE" ] || say "captions at once and after each start: systemctl --user enable --now $SERVICE && loginctl enable-linger"
