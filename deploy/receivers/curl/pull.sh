#!/usr/bin/env bash
#
# pull.sh SERVER KEYFILE FOLDER fetches what is new in the feed: one file of JSON
# for each page, named by the number it ends with. Run it from cron; it goes on
# where it stopped, so nothing is left out, whatever happens in between. KEYFILE
# holds the key of the feed (xfk_…) and nothing else.

set -euo pipefail
(($# == 3)) || {
	sed -n 's/^# \{0,1\}//p' "$0" | sed -n 2,6p >&2
	exit 2
}
server=${1%/} key=$(<"$2") folder=$3
mkdir -p "$folder"
exec 9>"$folder/lock"
flock -n 9 || exit 0 # another one is at work

number() { grep -oE "\"$1\": ?[0-9]+" "$2" | tail -1 | grep -oE '[0-9]+$'; }

after=$(cat "$folder/next" 2>/dev/null || echo 0)
while :; do
	# The key comes by a file descriptor: a command line can be read by others.
	curl -fsS --max-time 60 --retry 3 -H @<(printf 'Authorization: Bearer %s\n' "$key") \
		-o "$folder/page.part" "$server/api/v1/feed?after=$after&limit=500"
	next=$(number next "$folder/page.part") last=$(number last "$folder/page.part")
	((next > after)) || break
	sync "$folder/page.part"
	mv "$folder/page.part" "$folder/$(printf %019d "$next").json"
	printf '%s\n' "$next" >"$folder/next.part"
	sync "$folder/next.part"
	mv "$folder/next.part" "$folder/next"
	after=$next
	((next < last)) || break
done
rm -f "$folder/page.part"
