#!/usr/bin/env bash
# check-entries.sh BASE HEAD: checks the entries that HEAD adds to BASE; prints Markdown. Exit 1 if one is not sound.
set -u
base=$1 head=$2 status=0
folder=leaderboard/entries
changed=$(git diff --name-status --no-renames "$base" "$head" -- "$folder")
if printf '%s\n' "$changed" | grep -Eq "^[MD]"; then
  echo "Entries are never changed or removed: file a correction that names what it supersedes."
  printf '%s\n' "$changed" | grep -E "^[MD]" | head -5 | sed 's/^/    /'
  status=1
fi
git checkout --quiet "$head" -- "$folder" || exit 1
added=$(printf '%s\n' "$changed" | sed -nE "s|^A\t$folder/([A-Za-z0-9_-]+/[A-Za-z0-9_-]+/[A-Za-z0-9_-]+)/verified\.json$|\1|p" | head -50)
if [ -z "$added" ]; then
  echo "No entry is added: board add makes one."
  exit 1
fi
for entry in $added; do
  echo "### $entry"
  if text=$(ovsbench check "$folder/$entry" --markdown 2> problem.txt); then
    printf '%s\n' "$text"
    sed 's/^/    /' problem.txt
  else
    status=1
    echo "Not sound:"
    head -c 2000 problem.txt | sed 's/^/    /'
  fi
done
# shellcheck disable=SC2086 # one name a word
if ! ovsbench board verify $added --entries "$folder" > /dev/null 2> problem.txt; then
  status=1
  head -c 2000 problem.txt | sed 's/^/    /'
fi
exit $status
