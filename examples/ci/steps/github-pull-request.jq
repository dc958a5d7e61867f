# The number of the pull request that a finished run was for. Input: the event `workflow_run`, and the open pull requests as the file $pulls.
# Names of branches and workflows are free: what counts are ids, the event, the path of the workflow, and the commit at the head.
.workflow_run as $run
| .repository as $own
| if $run.event == "pull_request"
    and $run.conclusion == "success"
    and ($run.path | split("@")[0]) == ".github/workflows/streams.yaml"
    and $run.repository.id == $own.id
  then
    [ $pulls[0][]
      | select(.state == "open"
          and .head.sha == $run.head_sha
          and .head.repo.id == $run.head_repository.id
          and .base.repo.id == $own.id
          and .base.ref == $own.default_branch)
      | .number | numbers | select(. > 0 and . == floor) ]
    | if length == 1 then .[0] else error("no single open pull request has this commit at its head") end
  else error("not a run of this repository's workflow for a pull request") end
