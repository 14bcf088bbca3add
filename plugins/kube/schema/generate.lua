-- Writes the tables of this directory as C.
--   lua5.4 generate.lua SCHEMA-DIRECTORY OUTPUT.c
local dir, output = arg[1], arg[2]
local text = dofile(dir .. "/read.lua")

local kinds = {string = "STRING", bool = "BOOL", int32 = "INT32", int64 = "INT64", float64 = "FLOAT", bytes = "BYTES", Time = "TIME",
  MicroTime = "MICROTIME", Quantity = "QUANTITY", IntOrString = "INT_OR_STRING", Duration = "DURATION", RawExtension = "RAW",
  FieldsV1 = "FIELDS", ["apiextensions.v1.JSON"] = "RAW"}
-- Structs in protobuf, something else in JSON.
local raw = {["apiextensions.v1.JSONSchemaPropsOrArray"] = true, ["apiextensions.v1.JSONSchemaPropsOrBool"] = true,
  ["apiextensions.v1.JSONSchemaPropsOrStringArray"] = true}
local verbs = {get = 1, list = 2, watch = 4, create = 8, update = 16, patch = 32, delete = 64, deletecollection = 128}
local patches = {merge = 1, replace = 2, retainKeys = 4}

local out = {}
local function put(fmt, ...) out[#out + 1] = fmt:format(...) end
local function c_string(s)
  if not s then return "NULL" end
  return '"' .. s:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"'
end

-- NULL-terminated lists of strings, each written once.
local lists, list_count = {}, 0
local function string_list(values)
  local body = {}
  for _, v in ipairs(values) do body[#body + 1] = c_string(v) end
  local key = table.concat(body, ", ")
  if not lists[key] then
    list_count = list_count + 1
    lists[key] = "list_" .. list_count
    put("static const char *const %s[] = {%s%sNULL};", lists[key], key, #body > 0 and ", " or "")
  end
  return lists[key]
end

local schema = text.schema(dir)
local names, index = {}, {}
for name in pairs(schema.types) do names[#names + 1] = name end
table.sort(names)
for i, name in ipairs(names) do index[name] = i - 1 end

local function shape_of(type)
  local rest = type:match("^map%[string%]%[%](.+)$")
  if rest then return "KUBE_MAP_LIST", rest end
  rest = type:match("^map%[string%](.+)$")
  if rest then return "KUBE_MAP", rest end
  rest = type:match("^%[%](.+)$")
  if rest then return "KUBE_LIST", rest end
  return "KUBE_ONE", type
end
local function field(f)
  local shape, type = shape_of(f.type)
  local words = {(".name = %s, .shape = %s, .proto = %d"):format(c_string(f.inlined and "" or f.name), shape, f.proto)}
  local function add(fmt, ...) words[#words + 1] = fmt:format(...) end
  if raw[type] then
    add(".kind = KUBE_T_RAW, .type = &kube_types[%d]", index[type])
  elseif kinds[type] then
    add(".kind = KUBE_T_%s", kinds[type])
  else
    add(".kind = KUBE_T_STRUCT, .type = &kube_types[%d]", assert(index[type], "no type " .. type))
  end
  local patch = 0
  for p in (f.patch or ""):gmatch("%a+") do patch = patch | assert(patches[p], p) end
  if patch ~= 0 then add(".patch = %d", patch) end
  if f.list == "set" then add(".list = KUBE_LIST_SET") end
  if f.list_keys then add(".list = KUBE_LIST_MAP, .list_keys = %s", string_list(f.list_keys)) end
  if f.map == "atomic" then add(".map_atomic = true") end
  for _, flag in ipairs({"required", "always", "ptr", "inlined"}) do if f[flag] then add(".%s = true", flag) end end
  if f.patchKey then add(".patch_key = %s", c_string(f.patchKey)) end
  local enum = f.enum and schema.enums[f.enum]
  if f.enum then add(".named = %s", c_string(f.enum)) end
  if enum and enum.closed then add(".enums = %s", string_list(enum.values)) end
  if f.default then add(".dflt = %s", c_string(f.default)) end
  if #f.rules > 0 then add(".rules = %s", c_string(table.concat(f.rules, "\n"))) end
  return "  {" .. table.concat(words, ", ") .. "},"
end

put('#include "schema_tables.h"')
put("/* Made by generate.lua from plugins/kube/schema. */")
put("const kube_type_t kube_types[];")
local function fields_of(t, spread, into)
  for _, f in ipairs(t.fields) do
    if f.inlined and spread then fields_of(schema.types[f.type], spread, into) else into[#into + 1] = f end
  end
  return into
end
local function put_fields(array, list)
  local body = {}
  for _, f in ipairs(list) do body[#body + 1] = field(f) end
  put("static const kube_field_t %s[] = {", array)
  for _, l in ipairs(body) do put("%s", l) end
  put("  {0}};")
end
local has_inline = {}
for i, name in ipairs(names) do
  local t = schema.types[name]
  put_fields("fields_" .. i, fields_of(t, true, {}))
  for _, f in ipairs(t.fields) do has_inline[i] = has_inline[i] or f.inlined end
  if has_inline[i] then put_fields("own_" .. i, t.fields) end
end
put("const kube_type_t kube_types[] = {")
for i, name in ipairs(names) do
  put("  {.name = %s, .fields = fields_%d, .own = %s%d, .map_atomic = %s},", c_string(name), i, has_inline[i] and "own_" or "fields_", i,
    schema.types[name].map == "atomic" and "true" or "false")
end
put("};\nconst size_t kube_type_count = %d;", #names)

local function has(type, name)
  for _, f in ipairs(schema.types[type].fields) do if f.name == name then return true end end
  return false
end
local rows = {}
for i, r in ipairs(schema.resources) do
  local mask = 0
  for _, v in ipairs(r.verbs) do mask = mask | assert(verbs[v], v) end
  local columns = "NULL"
  if r.columns then
    columns = "columns_" .. i
    put("static const kube_column_t %s[] = {", columns)
    for _, c in ipairs(r.columns) do
      put("  {%s, %s, %s, %s, %s, %d},", c_string(c.name), c_string(c.type), c_string(c.format), c_string(c.description), c_string(c.cell),
        c.priority)
    end
    put("  {0}};")
  end
  rows[#rows + 1] = ("  {%s, %s, %s, %s, %s, %s, %s, %d, %s, %s, %s, &kube_types[%d], %s, %s, %s, %s, %s, %s, %s},"):format(
    c_string(r.group), c_string(r.version), c_string(r.resource), c_string(r.kind:lower()), c_string(r.kind), c_string(r.kind .. "List"),
    r.namespaced, mask, string_list(r.short), string_list(r.categories), string_list(r.subresources), index[r.type],
    c_string(r.stored_group), c_string(r.stored_version), has(r.type, "status"), has(r.type, "spec"), r.virtual, columns,
    string_list(r.selectable))
end
put("const kube_resource_t kube_resources[] = {")
for _, row in ipairs(rows) do put("%s", row) end
put("};\nconst size_t kube_resource_count = %d;", #rows)

-- Defaults: rules by type, in the order of the file.
put("const kube_default_rule_t kube_default_rules[] = {")
local by_type = {}
for _, d in ipairs(schema.defaults) do by_type[#by_type + 1] = d end
table.sort(by_type, function(a, b)
  if index[a.type] ~= index[b.type] then return index[a.type] < index[b.type] end
  return a.line < b.line
end)
for _, d in ipairs(by_type) do
  put("  {%d, %s, %s, %s},", index[d.type], c_string(d.field), c_string(d.value), c_string(d.condition))
end
put("  {0}};\nconst size_t kube_default_rule_count = %d;", #by_type)

-- Validation: rules by type, in the order of the file.
put("const kube_check_rule_t kube_check_rules[] = {")
table.sort(schema.checks, function(a, b)
  if index[a.type] ~= index[b.type] then return index[a.type] < index[b.type] end
  return a.line < b.line
end)
for _, d in ipairs(schema.checks) do
  put("  {%d, %s, %s, %s, %s, %s},", index[d.type], c_string(d.field), c_string(d.check), c_string(d.args), c_string(d.as),
    c_string(d.condition))
end
put("  {0}};\nconst size_t kube_check_rule_count = %d;", #schema.checks)

local f = assert(io.open(output, "w"))
f:write(table.concat(out, "\n"), "\n")
f:close()
