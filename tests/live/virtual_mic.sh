#!/bin/bash
# A microphone with no sound card: a private PulseAudio server whose null sink's monitor is the default source.
# usage: virtual_mic.sh FOLDER start | stop | plug | unplug | suspend | resume | mute | unmute | env
# Everything is in FOLDER; a PulseAudio of the user's own is never touched. Play into it with
#   paplay --latency-msec=200 CLIP.wav      (shorter latencies and a rewinding sink corrupt the sound silently)
set -euo pipefail
folder=$1 action=$2
mkdir -p -m 700 "$folder"/{runtime,state,config}
export XDG_RUNTIME_DIR=$folder/runtime XDG_CONFIG_HOME=$folder/config
export PULSE_RUNTIME_PATH=$folder/runtime PULSE_STATE_PATH=$folder/state PULSE_SERVER=unix:$folder/native

plug() {
  pactl load-module module-null-sink sink_name=speaker format=s16le rate=16000 channels=1 norewinds=1 >"$folder/sink"
  pactl load-module module-remap-source master=speaker.monitor source_name=mic >"$folder/mic"
  pactl set-default-sink speaker
  pactl set-default-source mic
}

case $action in
  start)
    # -n: no default.pa, so nothing that finds, suspends or rescues devices by itself
    pulseaudio -n --daemonize=yes --exit-idle-time=-1 --use-pid-file=yes --disable-shm=yes --system=no \
      --log-target=file:"$folder/log" -L "module-native-protocol-unix auth-anonymous=1 socket=$folder/native"
    for _ in $(seq 50); do pactl info >/dev/null 2>&1 && break; sleep 0.1; done
    plug ;;
  stop) pulseaudio --kill ;;
  plug) plug ;;
  unplug) pactl unload-module "$(cat "$folder/mic")"; pactl unload-module "$(cat "$folder/sink")" ;;
  suspend) pactl suspend-source mic 1; pactl suspend-sink speaker 1; pactl suspend-source speaker.monitor 1 || true ;;
  resume) pactl suspend-sink speaker 0; pactl suspend-source speaker.monitor 0 || true; pactl suspend-source mic 0 ;;
  mute) pactl set-source-mute mic 1 ;;
  unmute) pactl set-source-mute mic 0 ;;
  env)
    for name in XDG_RUNTIME_DIR XDG_CONFIG_HOME PULSE_RUNTIME_PATH PULSE_STATE_PATH PULSE_SERVER; do
      echo "$name=${!name}"
    done ;;
  *) echo "virtual_mic.sh: no action $action" >&2; exit 2 ;;
esac
