# The id of the plan that was reviewed. Input: the statuses of the head; $author is the id of the account that plans.
[ .[] | select(.name == "streamkeeper/plan" and .author.id == $author) ] | sort_by(.id)
| if length == 0 then error("nobody has planned this change") else .[-1] end
| if .status == "success" then .description else error("the plan was refused") end
| if test("^p[0-9]+-[0-9a-f]{32}$") then . else error("not the id of a plan") end
