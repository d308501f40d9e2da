#!/usr/bin/env bash
# check-entries.sh BASE HEAD: checks the entries that HEAD adds to BASE; prints Markdown. Exit 1 if one is not sound.
# TRUSTED=true says that HEAD is of somebody who may say how far an entry was verified.
set -u
base=$1 head=$2 status=0
folder=leaderboard/entries
name='[A-Za-z0-9_-]+'
inside='((verified|summary|run|scores)\.json|counts\.jsonl|card\.toml|strips/[^/]+/(image|labels|prediction)\.jpg)'
quoted() { grep -v '^checking ' | head -c 2000 | tr -d '`' | tr -c '[:print:]\n' '?' | sed 's/^/    /'; } # four spaces: shown as it is

# What a pull request may do is written down; all else is refused before a file of it is there.
rows=$(git -c core.quotePath=false diff --raw --no-renames "$base" "$head" -- "$folder")
changed=$(printf '%s\n' "$rows" | sed -nE 's/^:[0-7]+ ([0-7]+) [^ ]+ [^ ]+ ([A-Z])\t(.*)$/\2 \1 \3/p')
allowed="^A 100644 $folder/$name/(benchmark-[0-9a-f]{12}\.json|reported\.toml|$name/$name/$inside)$"
strange=$(printf '%s\n' "$changed" | grep -Ev "$allowed|^M 100644 $folder/$name/reported\.toml$|^$")
if [ -n "$strange" ]; then
  printf '%s\n\n' "Expected new entries as board add writes them. Entries are never changed or removed: file a correction that
names what it supersedes. Found:"
  printf '%s\n' "$strange" | quoted
  exit 1
fi
if printf '%s\n' "$changed" | grep -Eq "^A .*/benchmark-[0-9a-f]+\.json$"; then
  printf '%s\n\n' "It begins the table of a new benchmark. Somebody should look at that benchmark first."
fi
git checkout --quiet "$head" -- "$folder" || exit 1
added=$(printf '%s\n' "$changed" | sed -nE "s#^A 100644 $folder/($name/$name/$name)/verified\.json\$#\1#p")
if [ "$(printf '%s\n' "$added" | wc -l)" -gt 50 ]; then
  echo "More than 50 entries are added. Send fewer at once."
  exit 1
fi
if [ -z "$added" ] && ! printf '%s\n' "$changed" | grep -Eq "/reported\.toml$"; then
  echo "No entry is added: board add makes one."
  exit 1
fi
for entry in $added; do
  printf '### `%s`\n\n' "$entry"
  if text=$(ovsbench check "$folder/$entry" --markdown 2> problem.txt); then
    printf '%s\n\n' "$text"
    quoted < problem.txt
    if [ "${TRUSTED:-false}" != true ] && ! printf '%s\n' "$text" | grep -Eq '^Verified level: counts(;|$)'; then
      status=1
      echo "A pull request can show the level counts and no other. Send the bundle too: who has the data may raise it."
    fi
  else
    status=1
    printf 'Not sound:\n\n'
    quoted < problem.txt
  fi
done
# shellcheck disable=SC2086 # one name a word
if ! ovsbench board verify $added --entries "$folder" > /dev/null 2> problem.txt; then
  status=1
  printf '\nThe board would not be sound with it:\n\n'
  quoted < problem.txt
fi
exit $status
