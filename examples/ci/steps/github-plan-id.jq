# The id of the plan that was reviewed. Input: the statuses of the head, the newest first. Only what the workflow on the main branch has
# said counts: anybody who may push can set a status under another name.
[ .[] | select(.context == "streamkeeper/plan" and .creator.login == "github-actions[bot]" and .creator.type == "Bot") ]
| if length == 0 then error("nobody has planned this change") else .[0] end
| if .state == "success" then .description else error("the plan was refused") end
| if test("^p[0-9]+-[0-9a-f]{32}$") then . else error("not the id of a plan") end
