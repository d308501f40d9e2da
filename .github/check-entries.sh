#!/usr/bin/env bash
# check-entries.sh BASE HEAD: checks the entries that HEAD adds to BASE; prints Markdown. Exit 1 if one is not sound.
# TRUSTED=true says that HEAD is of somebody who may say how far an entry was verified, and correct entries of others.
# APPROVED=true says that a maintainer looked at what cannot be checked here: numbers of papers, and new benchmarks.
set -u
export LC_ALL=C.UTF-8
base=$1 head=$2 status=1 # until the end is reached
folder=leaderboard/entries
name='[A-Za-z0-9_-]+'
inside='((verified|run|scores)\.json|counts\.jsonl|card\.toml|strips/[^/]+/(image|labels|prediction)\.jpg)'
label=checked-by-maintainer
work=$(mktemp -d)
quoted() { grep -v '^checking ' | head -c 20000 | tr -d '`' | LC_ALL=C tr -c '[:print:]\n' '?' | sed 's/^/    /'; } # shown as it is
finish() { # whatever happened, there is something to read
  rm -rf "$work"
  if [ "$status" = 0 ]; then printf '\n**Sound.**\n'; else printf '\n**Not to be merged as it is.**\n'; fi
  exit "$status"
}
trap finish EXIT
failed=0
refuse() {
  failed=1
  printf '\n%s\n\n' "$1"
}
approval() { if [ "${APPROVED:-false}" != true ]; then refuse "$1 Nothing here can check that: a maintainer has to look, and say so with the label \`$label\`."; fi; }

# What a pull request may do is written down; all else is refused before a file of it is there.
rows=$(git -c core.quotePath=false diff --raw --no-renames "$base" "$head" -- "$folder") || exit 1
changed=$(printf '%s\n' "$rows" | sed -nE 's/^:[0-7]+ ([0-7]+) [^ ]+ [^ ]+ ([A-Z])\t(.*)$/\2 \1 \3/p')
allowed="^A 100644 $folder/$name/(benchmark-[0-9a-f]{12}\.json|reported\.toml|$name/$name/$inside)$"
if [ "${TRUSTED:-false}" = true ]; then allowed="$allowed|^[AM] 100644 $folder/$name/(labels-[0-9a-f]{12}\.jsonl|$name/$name/verified\.json)$"; fi
strange=$(printf '%s\n' "$changed" | LC_ALL=C grep -Ev "$allowed|^M 100644 $folder/$name/reported\.toml$|^$")
of_entries=$(printf '%s\n' "$changed" | sed -nE "s#^[AM] 100644 $folder/($name/$name/$name)/.*#\1#p" | sort -u)
for entry in $of_entries; do # nothing is added to an entry that is there
  if [ "${TRUSTED:-false}" != true ] && [ -n "$(git ls-tree "$base" -- "$folder/$entry")" ]; then
    strange=$(printf '%s\n%s' "$strange" "A file in $entry, which is there already")
  fi
done
if [ -n "$strange" ]; then
  printf '%s\n\n' "Expected new entries as board add writes them. Entries are never changed or removed: file a correction that
names what it supersedes. Found:"
  printf '%s\n' "$strange" | quoted
  exit 1
fi
if printf '%s\n' "$changed" | grep -Eq "^A .*/benchmark-[0-9a-f]+\.json$"; then
  approval "It begins the table of a new benchmark, whose labels nobody here has."
fi
git checkout --quiet "$head" -- "$folder" || exit 1
added=$of_entries
reported=$(printf '%s\n' "$changed" | sed -nE "s#^[AM] 100644 ($folder/$name/reported\.toml)\$#\1#p")
if [ "$(printf '%s\n' "$added" | wc -l)" -gt 50 ]; then
  refuse "More than 50 entries are added. Send fewer at once."
  exit 1
fi
if [ -z "$added$reported" ] && ! printf '%s\n' "$changed" | grep -q '/labels-'; then
  refuse "No entry is added: board add makes one."
  exit 1
fi
for path in $reported; do
  printf '### Numbers of papers: `%s`\n\n' "$path"
  git show "$base:$path" > "$work/old.toml" 2> /dev/null || : > "$work/old.toml"
  if ! ovsbench board reported "$work/old.toml" "$path" 2> "$work/problem"; then
    refuse "They cannot be read:"
    quoted < "$work/problem"
  fi
  approval "Numbers of papers changed."
done
how=()
if [ -n "$added" ]; then how=(--markdown); fi
if [ -n "$added" ] && [ "${TRUSTED:-false}" = true ]; then how+=(--trusted); fi
# shellcheck disable=SC2086 # one name a word
if ! ovsbench board verify $added --entries "$folder" "${how[@]}" > "$work/rows" 2> "$work/problem"; then failed=1; fi
if [ -n "$added" ]; then head -c 50000 "$work/rows"; fi
if [ "$failed" = 1 ]; then quoted < "$work/problem"; fi
status=$failed
