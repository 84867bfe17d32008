#!/usr/bin/env bash
# A backtest of a real set by one command: `make backtest SET=stocknet`. What is learnt is learnt before UNTIL, what is
# tested lies after it. Everything is written to a new folder; what each step took is told.
#
#   scripts/backtest.sh SET DATA OUT [UNTIL]     SET: pump_trades, stocknet or maec; TOCSIN names the command
set -euo pipefail

set_name=${1:?expected a set: pump_trades, stocknet or maec}
data=${2:?expected the folder that holds the sets} out=${3:?expected a folder to write to}
tocsin=${TOCSIN:-tocsin}

if [ -e "$out" ]; then
    echo "$out is there: remove it, or name another folder (OUT=…)." >&2
    exit 2
fi
mkdir -p "$out"

step() {
    local began=$SECONDS
    echo "\$ tocsin $*"
    "$tocsin" "$@"
    echo "($((SECONDS - began)) s)"
    echo
}

case $set_name in
pump_trades)
    until=${4:-2020-08-01}
    step train pump_trades --data "$data" --until "$until" --out "$out/pump.json"
    echo 'pump = "pump.json"' >"$out/settings.toml"
    step convert pump_trades "$data/pump_trades" --out "$out/recording"
    # A coin's file begins two days before its event: it warms itself up. An event is over within the hour.
    step backtest "$out/recording" --from "$until" --warm-up 0s --config "$out/settings.toml" --out "$out/tested"
    ;;
stocknet)
    until=${4:-2015-06-01}
    # The set has no charts.
    step train bundle --data "$data" --until "$until" --no-charts --out "$out/bundle"
    printf 'bar_s = 86400\ngrace_ms = 0\n' >"$out/settings.toml"
    # A text is kept for ten days; bars are remembered for 256.
    texts_from=$(date -u -d "$until - 17 days" +%F)
    step convert stocknet "$data/stocknet" --texts-from "$texts_from" --out "$out/recording"
    # An alarm is a large day's from the close before it to its own, and no longer; elevated_risk only informs.
    step backtest "$out/recording" --from "$until" --warm-up 520d --config "$out/settings.toml" --bundle "$out/bundle" \
        --severity info --cell 1d --before 0s --after 0s --out "$out/tested"
    ;;
maec)
    until=${4:-2016-07-01}
    # A label of what is said before turmoil, by the encoder that ships, whose sources are stamped.
    step train turmoil --data "$data" --until "$until" --out "$out/labels/turmoil.json"
    echo 'labels = "labels"' >"$out/settings.toml"
    step convert maec "$data/maec" --texts-from "$until" --out "$out/recording"
    # Both what is adverse and what is like it only inform.
    step backtest "$out/recording" --from "$until" --config "$out/settings.toml" --severity info --before 0s \
        --out "$out/tested"
    ;;
*)
    echo "$set_name is no set: expected pump_trades, stocknet or maec." >&2
    exit 2
    ;;
esac
echo "$set_name: $SECONDS s in all; the report lies in $out/tested"
