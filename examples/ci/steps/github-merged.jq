# The head of the pull request that a commit on the main branch came from. Input: the pull requests of the commit; $commit, $branch,
# $repository (id). A direct push came from none: then nobody has reviewed its plan.
[ .[]
  | select(.merged_at != null
      and .merge_commit_sha == $commit
      and .base.ref == $branch
      and .base.repo.id == $repository)
  | .head.sha | select(test("^[0-9a-f]{40}$")) ]
| if length == 1 then .[0] else error("the commit is not the merge of one pull request") end
