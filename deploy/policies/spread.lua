-- For the scheduler `lua`: nodes with a disk of the kind a pod asks for, the emptiest of them first.
function filter(pod, node, n)
  local want = pod("metadata", "annotations", "example.com/disk")
  if want and node("metadata", "labels", "disk") ~= want then return "no disk of kind " .. want end
  return true
end

function score(pod, node, n)
  local cpu = (n.cpu - n.cpu_used - n.pod_cpu) / n.cpu
  local memory = (n.memory - n.memory_used - n.pod_memory) / n.memory
  return cpu + memory
end
