# The number of the merge request that a webhook tells of. Input: the payload, a text of whoever holds the trigger's token: nothing in it
# but the number is used. $project is the id of the project.
if .object_kind == "merge_request"
  and .project.id == $project
  and .object_attributes.target_project_id == $project
  and .object_attributes.target_branch == .project.default_branch
  and .object_attributes.state == "opened"
then .object_attributes.iid | numbers | select(. > 0 and . == floor)
else error("not an open merge request to the default branch of this project") end
