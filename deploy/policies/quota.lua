-- A controller (plugin controller-lua): a namespace that says example.com/max-pods has a ResourceQuota of so many pods; without
-- the annotation it has none.
watch = {"v1/namespaces", {resource = "v1/resourcequotas", fields = "metadata.name=max-pods"}}

-- Which namespace a change of a quota concerns.
function keys(quota) return quota("metadata", "namespace") end

function reconcile(request)
  local ns = request.object
  if not ns or ns("metadata", "deletionTimestamp") then return end
  local name, have = request.name, get("v1/resourcequotas", request.name, "max-pods")
  local max = ns("metadata", "annotations", "example.com/max-pods")
  if max and not quantity(max) then
    return {{event = "BadQuota", type = "Warning", message = "example.com/max-pods is no number: " .. max}}
  end
  if not max then
    return have and {{delete = {metadata = {uid = have.metadata.uid}}, resource = "v1/resourcequotas", namespace = name, name = "max-pods"}}
  end
  if have and have("spec", "hard", "pods") == max then return end
  return {{apply = {apiVersion = "v1", kind = "ResourceQuota", metadata = {name = "max-pods", namespace = name}, spec = {hard = {pods = max}}}}}
end

sample = {object = {apiVersion = "v1", kind = "Namespace", metadata = {name = "sample", annotations = {["example.com/max-pods"] = "5"}}}}
