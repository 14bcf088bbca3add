-- Every pod says who owns it: with a label, or with that of its namespace's default.
match = {operations = {"CREATE"}, resources = {"pods", "apps/deployments"}}

function mutate(request)
  if request.object("metadata", "labels", "team") then return end
  return {metadata = {labels = {team = request.namespace}}}
end

-- Images say which version they are.
function validate(request)
  local spec = request.object("spec", "template", "spec") or request.object.spec
  for _, c in ipairs(spec.containers) do
    local tag = c.image:match(":([%w._-]+)$")
    if not tag or tag == "latest" then
      return "container " .. c.name .. ": image " .. c.image .. " has no version"
    end
  end
  return true
end
