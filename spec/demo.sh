#!/usr/bin/env bash
# make demo: imattr at work against a sandbox on this machine. No account, no network, nothing left behind.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
sandbox='' rings=''

clean_up() {
  [ -z "$sandbox" ] || { kill "$sandbox" 2>/dev/null && wait "$sandbox" 2>/dev/null; } || true
  rm -rf "$work"
  [ -z "$rings" ] || rm -f /dev/shm/imattr-*-"$rings" # the quota shared with other processes: this server's is over
}
trap clean_up EXIT
trap 'exit 130' INT TERM

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
heading() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
shown() { # shows a command, and runs it with the real place of its files
  printf '%s$ imattr %s%s\n' "$dim" "$*" "$plain"
  (cd "$work" && lua5.4 "$OLDPWD/lua/bin/imattr" "$@")
}

heading 'A sandbox that behaves as the vendor does: TLS, signatures, limits, 100 requests a second'
unset "${!IMATTR_@}"
lua5.4 lua/bin/imattr sandbox --attr-names city,country,tier --max-seconds 300 --write-env "$work/env" \
  </dev/null >"$work/sandbox.log" 2>&1 &
sandbox=$!
for _ in {1..150}; do
  [ -s "$work/env" ] && break
  kill -0 "$sandbox" 2>/dev/null || break
  sleep 0.1
done
[ -s "$work/env" ] || { cat "$work/sandbox.log" >&2; exit 1; }
# shellcheck disable=SC1091 # made by the sandbox
. "$work/env"
rings=$(tr : _ <<<"${IMATTR_ENDPOINT#https://}")
echo "listening on $IMATTR_ENDPOINT"

cp spec/data/users.csv "$work/users.csv"
heading "19,331 users, three attributes each"
head -n 3 "$work/users.csv"
echo '...'
code=0
shown set users.csv || code=$?
[ "$code" = 2 ] || { echo "exit code $code, where 2 (finished, some users failed) was expected" >&2; exit 1; }

heading 'Who was refused, and why: values are limited to 50 bytes'
rejects=$work/users.csv.rejects.csv
lua5.4 - "$rejects" <<'LUA'
for row in io.lines(arg[1]) do -- To_Account, city, country, tier, line, code, reason
  local city, line, code, reason = row:match("^[^,]*,(.*),[^,]*,[^,]*,(%d+),([A-Z_]+),(.*)$")
  if line then
    local plain = (reason .. "  " .. city):gsub('""', '\1'):gsub('"', ""):gsub('\1', '"')
    print(("line %5d  %s  %s"):format(line, code, plain))
  end
end
LUA
count=$(($(wc -l <"$rejects") - 1))
[ "$count" = 12 ] || { echo "$count rejects, where 12 were expected" >&2; exit 1; }

heading 'Three of the others, read back'
shown get city3039678 city290594 city3448439
