-- Turns the facts of a Kubernetes release (types, resources, enums: one JSON object a line) into the reviewable tables beside this
-- file, one per API group. Run by a maintainer when the API changes; the build reads only the result.
--   lua5.4 import.lua FACTS-DIRECTORY
local facts = assert(arg[1], "usage: lua5.4 import.lua FACTS-DIRECTORY")
local here = arg[0]:match("^(.*)/[^/]*$") or "."

-- JSON ----------------------------------------------------------------------------------------------------------------
local escapes = {n = "\n", t = "\t", r = "\r", b = "\b", f = "\f", ["/"] = "/", ["\\"] = "\\", ['"'] = '"'}
local parse
local function parse_string(s, i)
  local out = {}
  while true do
    local text, stop, after = s:match('^([^"\\]*)(["\\])()', i)
    out[#out + 1] = text
    if stop == '"' then return table.concat(out), after end
    local e = s:sub(after, after)
    if e == "u" then
      out[#out + 1] = utf8.char(tonumber(s:sub(after + 1, after + 4), 16))
      i = after + 5
    else
      out[#out + 1] = escapes[e]
      i = after + 1
    end
  end
end
local function parse_list(s, i, close, element)
  i = s:match("^%s*()", i)
  if s:sub(i, i) == close then return i + 1 end
  while true do
    i = s:match("^%s*()", element(s:match("^%s*()", i)))
    local c = s:sub(i, i)
    if c == close then return i + 1 end
    assert(c == ",", "malformed JSON at " .. i)
    i = i + 1
  end
end
function parse(s, i)
  i = s:match("^%s*()", i)
  local c = s:sub(i, i)
  if c == '"' then return parse_string(s, i + 1) end
  if c == "{" then
    local t = {}
    return t, parse_list(s, i + 1, "}", function(p)
      local k, v
      k, p = parse_string(s, p + 1)
      v, p = parse(s, s:match("^%s*:()", p))
      t[k] = v
      return p
    end)
  end
  if c == "[" then
    local t = {}
    return t, parse_list(s, i + 1, "]", function(p)
      t[#t + 1], p = parse(s, p)
      return p
    end)
  end
  for word, value in pairs({["true"] = true, ["false"] = false}) do
    if s:sub(i, i + #word - 1) == word then return value, i + #word end
  end
  local number, after = s:match("^(-?[%d.eE+-]+)()", i)
  return assert(tonumber(number), "malformed JSON at " .. i), after
end
local function lines(name)
  local all = {}
  for l in io.lines(facts .. "/" .. name) do all[#all + 1] = (parse(l, 1)) end
  return all
end

-- What the facts leave out ----------------------------------------------------------------------------------------------
-- Which groups are served, in the order discovery lists them.
local groups = {"", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
  "autoscaling", "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io",
  "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io",
  "discovery.k8s.io", "flowcontrol.apiserver.k8s.io", "resource.k8s.io", "storagemigration.k8s.io"}
local subresources = {serviceaccounts = {"token"}, daemonsets = {"status"}, services = {"proxy", "status"}}
local more_verbs = {services = "deletecollection"} -- since 1.24; the typed client has none
local left_out = {evictions = true}
local added = {{group = "", version = "v1", resource = "bindings", kind = "Binding", namespaced = true, type = "core.v1.Binding",
                verbs = {"create"}}}
local is_virtual = {Binding = true, SelfSubjectReview = true, TokenReview = true, LocalSubjectAccessReview = true,
  SelfSubjectAccessReview = true, SelfSubjectRulesReview = true, SubjectAccessReview = true, ComponentStatus = true}
local only_verbs = {componentstatuses = {"get", "list"}} -- a typed client would have more
-- group/version/resource -> group/version it is stored in
local stored = {["autoscaling/v1/horizontalpodautoscalers"] = "autoscaling/v2", ["events.k8s.io/v1/events"] = "/v1"}
-- group/version/resource -> fields that have another name there: shown=stored
local renamed = {["events.k8s.io/v1/events"] = "regarding=involvedObject note=message reportingController=reportingComponent " ..
  "deprecatedSource=source deprecatedFirstTimestamp=firstTimestamp deprecatedLastTimestamp=lastTimestamp deprecatedCount=count"}
-- group/version/resource -> the conversion to and from that version (src/convert_NAME.c)
local converted = {["autoscaling/v1/horizontalpodautoscalers"] = "autoscaler"}
-- Bodies of subresources and what the machinery itself speaks.
local roots = {"core.v1.RangeAllocation", "core.v1.SerializedReference", "apiextensions.v1.ConversionReview", "autoscaling.v1.Scale", "core.v1.Binding", "policy.v1.Eviction", "authentication.v1.TokenRequest", "core.v1.PodLogOptions",
  "core.v1.PodExecOptions", "core.v1.PodAttachOptions", "core.v1.PodPortForwardOptions", "core.v1.NodeProxyOptions",
  "core.v1.PodProxyOptions", "core.v1.ServiceProxyOptions"}

-- Reading ---------------------------------------------------------------------------------------------------------------
local types, enums, reachable = {}, {}, {}
for _, t in ipairs(lines("types.jsonl")) do types[t.type] = t end
for _, e in ipairs(lines("enums.jsonl")) do enums[e.enum] = e end
local function element(type)
  while true do
    local rest = type:match("^%[%](.*)") or type:match("^map%[string%](.*)")
    if not rest then return type end
    type = rest
  end
end
local function reach(name)
  if reachable[name] or not name:find(".", 1, true) then return end
  reachable[name] = true
  if not types[name] then types[name] = {type = name, fields = {}} end
  for _, f in ipairs(types[name].fields) do reach(element(f.type)) end
end

local by_group = {}
for _, g in ipairs(groups) do by_group[g] = {} end
local function stable(r) return r.version:match("^v%d+$") and not left_out[r.resource] and by_group[r.group] end
for _, source in ipairs({lines("resources.jsonl"), added}) do
  for _, r in ipairs(source) do
    if stable(r) then
      table.insert(by_group[r.group], r)
      r.verbs = only_verbs[r.resource] or r.verbs
      table.insert(r.verbs, more_verbs[r.resource])
      table.sort(r.verbs)
      reach(r.type)
      if not is_virtual[r.kind] or only_verbs[r.resource] then reach(r.type .. "List") end
    end
  end
end
for _, name in ipairs(roots) do if types[name] then reach(name) end end
for name in pairs(types) do if name:match("^meta%.v1%.") then reach(name) end end

-- Writing ---------------------------------------------------------------------------------------------------------------
local function quoted(s)
  if s:match('^[%w_.:/=+*-]+$') then return s end
  return '"' .. s:gsub('[\\"]', "\\%0") .. '"'
end
-- `k8s:beta(since: "1.37")=+k8s:maxItems=32` says what is checked and since when: "beta maxItems=32".
local function rule(text)
  local level, rest = text:match("^k8s:(%a+)%(since: ?\"[%d.]+\"%)=%+?(.*)$")
  text = level and level .. " " .. rest or text
  return (text:gsub("%+?k8s:", ""):gsub("%s*#.*$", ""))
end
local function field_line(f)
  local words = {"  " .. f.name, f.type, f.proto and tostring(f.proto) or "-"}
  local function add(w) words[#words + 1] = w end
  for _, flag in ipairs({"required", "always", "ptr"}) do if f[flag] then add(flag) end end
  if f.list then add("list=" .. f.list .. (f.listKeys and "(" .. table.concat(f.listKeys, ",") .. ")" or "")) end
  if f.map then add("map=" .. f.map) end
  if f.patch then add("patch=" .. f.patch) end
  if f.patchKey then add("patchKey=" .. f.patchKey) end
  if f.enum then add("enum=" .. f.enum) end
  if f.default and not f.default:match("^ref%(") then add("default=" .. quoted(f.default)) end
  for _, r in ipairs(f.rules or {}) do add("rule=" .. quoted(rule(r))) end
  return table.concat(words, " ")
end
local short = {["admissionregistration.k8s.io"] = "admissionregistration", [""] = "core"}
local function file_of(group) return short[group] or group:gsub("%.apiserver", ""):gsub("%.authorization%.k8s%.io", ""):gsub("%.k8s%.io", "") end
local function resource_lines(out, r)
  table.insert(out, ("resource %s/%s %s %s %s"):format(r.group, r.version, r.resource, r.kind, r.type))
  local scope = r.namespaced and "  namespaced" or "  cluster"
  table.insert(out, scope .. (is_virtual[r.kind] and " virtual" or ""))
  table.insert(out, "  verbs " .. table.concat(r.verbs, " "))
  local sub = not is_virtual[r.kind] and (subresources[r.resource] or r.subresources)
  local function list(name, of)
    if of and #of > 0 then table.insert(out, "  " .. name .. " " .. table.concat(of, " ")) end
  end
  list("short", r.shortNames)
  list("categories", r.categories)
  list("subresources", sub)
  local at = stored[r.group .. "/" .. r.version .. "/" .. r.resource]
  if at then table.insert(out, "  stored " .. at) end
  local names = renamed[r.group .. "/" .. r.version .. "/" .. r.resource]
  if names then table.insert(out, "  renamed " .. names) end
  local conversion = converted[r.group .. "/" .. r.version .. "/" .. r.resource]
  if conversion then table.insert(out, "  converted " .. conversion) end
end
local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys)
  return keys
end

-- Types go to the file of their package, that is the first word of their name.
local file_types, file_enums = {}, {}
for _, name in ipairs(sorted_keys(reachable)) do
  local package = name:match("^[^.]+")
  file_types[package] = file_types[package] or {}
  table.insert(file_types[package], types[name])
  for _, f in ipairs(types[name].fields) do
    if f.enum and enums[f.enum] then file_enums[f.enum] = true end
  end
end
local function write(package, resources)
  local out = {"# Made by import.lua from the facts of the API; see README.md for the form of the lines."}
  for _, r in ipairs(resources) do
    table.insert(out, "")
    local block = {}
    resource_lines(block, r)
    for _, l in ipairs(block) do table.insert(out, l) end
  end
  for _, name in ipairs(sorted_keys(file_enums)) do
    if name:match("^[^.]+") == package then
      local words = {"enum", name, enums[name].closed and "closed" or "open"}
      for _, v in ipairs(enums[name].values) do words[#words + 1] = v == "" and '""' or quoted(v) end
      table.insert(out, "")
      table.insert(out, table.concat(words, " "))
    end
  end
  for _, t in ipairs(file_types[package] or {}) do
    table.insert(out, "")
    local head = "type " .. t.type .. (t.map and " map=" .. t.map or "")
    for _, r in ipairs(t.rules or {}) do head = head .. " rule=" .. quoted(rule(r)) end
    table.insert(out, head)
    for _, f in ipairs(t.fields) do table.insert(out, field_line(f)) end
  end
  local f = assert(io.open(here .. "/" .. package .. ".txt", "w"))
  f:write(table.concat(out, "\n"), "\n")
  f:close()
  file_types[package] = nil
end
for i, g in ipairs(groups) do
  table.sort(by_group[g], function(a, b)
    if a.version ~= b.version then return a.version > b.version end
    return a.resource < b.resource
  end)
  write(file_of(g), by_group[g])
end
local others = sorted_keys(file_types)
for _, package in ipairs(others) do write(package, {}) end
local f = assert(io.open(here .. "/groups.txt", "w"))
f:write("# API groups in the order discovery lists them: name (- is core), file;\n# then packages of types without resources\n")
for _, g in ipairs(groups) do f:write(("group %s %s\n"):format(g == "" and "-" or g, file_of(g))) end
for _, package in ipairs(others) do f:write("package " .. package .. "\n") end
f:close()
