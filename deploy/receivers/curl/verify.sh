#!/usr/bin/env bash
#
# verify.sh SECRETFILE ID TIMESTAMP SIGNATURE BODYFILE checks a webhook that was
# stored, with openssl alone: the three headers as they came, the body to the
# byte. SECRETFILE holds whsec_… and nothing else. It prints "verified" or ends
# with 1. It does not look at the age; a receiver must (5 minutes). While openssl
# runs, other users of this machine can see the key: it is for looking into things.

set -euo pipefail
(($# == 5)) || {
	sed -n 's/^# \{0,1\}//p' "$0" | sed -n 2,7p >&2
	exit 2
}
secret=$(<"$1")
hex=$(printf %s "${secret#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \n')
want=$({ printf '%s.%s.' "$2" "$3"; cat "$5"; } | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$hex" -binary | base64)
for one in $4; do
	# Both are hashed first, so that the time it takes says nothing.
	if [[ $(printf %s "$one" | sha256sum) == $(printf %s "v1,$want" | sha256sum) ]]; then
		echo verified
		exit 0
	fi
done
echo "no signature fits" >&2
exit 1
