#!/bin/sh
# plan-change.sh BASE HEAD FOLDER: plans what a merge of HEAD into BASE would do, and leaves plan.json, plan-id, comment.md and plan.sarif in
# FOLDER. The change is read as Git objects and never checked out: it is data, and the config that counts is the one at BASE.
set -eu
commit() {
    git rev-parse --verify --quiet --end-of-options "$1^{commit}" || { echo "this repository has no commit $1" >&2; exit 1; }
}
base=$(commit "$1")
head=$(commit "$2")
# The result of the merge: a branch that is behind its base is planned as it will be merged, so that the id of the plan stays the same.
if ! tree=$(git merge-tree --write-tree "$base" "$head"); then
    echo "cannot plan: the change conflicts with its base; rebase it" >&2
    exit 3
fi
merge=$(git -c user.name=streamkeeper -c user.email=streamkeeper@localhost commit-tree "$tree" -p "$base" -p "$head" -m "$head merged")
streamkeeper plan --base "$base" --head "$merge" --out "$3/plan.json" > /dev/null
streamkeeper show "$3/plan.json" --format markdown > "$3/comment.md"
streamkeeper show "$3/plan.json" --format sarif > "$3/plan.sarif"
jq -er '.id | select(test("^p[0-9]+-[0-9a-f]{32}$"))' "$3/plan.json" > "$3/plan-id"
