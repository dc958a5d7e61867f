# The head of the merge request that a commit on the default branch came from. Input: the merge requests of the commit; $commit, $branch,
# $project (id).
[ .[]
  | select(.state == "merged"
      and .target_branch == $branch
      and .target_project_id == $project
      and ([.merge_commit_sha, .squash_commit_sha, .sha] | index($commit) != null))
  | .sha | select(test("^[0-9a-f]{40}$")) ]
| if length == 1 then .[0] else error("the commit is not the merge of one merge request") end
