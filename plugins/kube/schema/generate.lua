-- Writes the tables of this directory as C.
--   lua5.4 generate.lua SCHEMA-DIRECTORY OUTPUT.c EXPLAIN-OUTPUT.c
local dir, output, explain_output = arg[1], arg[2], arg[3]
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
local function field(f, is_opaque)
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
  if is_opaque then add(".opaque = true") end
  if f.patchKey then add(".patch_key = %s", c_string(f.patchKey)) end
  local enum = f.enum and schema.enums[f.enum]
  if f.enum then add(".named = %s", c_string(f.enum)) end
  if enum and enum.closed then add(".enums = %s", string_list(enum.values)) end
  if f.default then add(".dflt = %s", c_string(f.default)) end
  if #f.rules > 0 then add(".rules = %s", c_string(table.concat(f.rules, "\n"))) end
  return "  {" .. table.concat(words, ", ") .. "},"
end

-- Functions the tables name; declared at the top of the output.
local declared = {}
-- Conditions: "FIELD = JSON and FIELD absent ..."; each written once.
local ops = {present = "PRESENT", absent = "ABSENT", there = "THERE", gone = "GONE"}
local signs = {["="] = "EQUAL", ["!="] = "DIFFERENT", ["<"] = "LESS", [">"] = "MORE"}
local function value_of(json)
  if json:match('^"') then return (".type = KG_V_STR, .text = %s"):format(c_string(json:match('^"(.*)"$'))) end
  if json == "true" or json == "false" then return (".type = KG_V_BOOL, .number = %d"):format(json == "true" and 1 or 0) end
  if json:match("^-?%d+$") then return (".type = KG_V_INT, .number = %s"):format(json) end
  return (".type = KG_V_MAP, .text = %s"):format(c_string(json))
end
local clauses, clause_count = {}, 0
local function condition(words)
  if not words then return "NULL" end
  if clauses[words] then return clauses[words] end
  local body = {}
  for clause in (words .. " and "):gmatch("(.-) and ") do
    local path, op, json = clause:match("^(%S+) (%S+) ?(.*)$")
    if not path or not (ops[op] or signs[op]) then error("cannot read the condition: " .. words, 0) end
    body[#body + 1] = ("{.field = %s, .op = KUBE_IF_%s%s}"):format(c_string(path), ops[op] or signs[op],
      ops[op] and "" or ", .value = {" .. value_of(json) .. "}")
  end
  clause_count = clause_count + 1
  clauses[words] = "when_" .. clause_count
  put("static const kube_clause_t %s[] = {%s, {0}};", clauses[words], table.concat(body, ", "))
  return clauses[words]
end

-- Rules by type, in the order of the file; a type without rules ends at once.
local function rules_of(list, name, write)
  local starts, rows = {}, {}
  table.sort(list, function(a, b)
    if index[a.type] ~= index[b.type] then return index[a.type] < index[b.type] end
    return a.line < b.line
  end)
  local last
  for _, d in ipairs(list) do
    if last and d.type ~= last then rows[#rows + 1] = "  {0}," end
    if d.type ~= last then starts[d.type] = #rows end
    last = d.type
    rows[#rows + 1] = "  {" .. write(d) .. "},"
  end
  put("const %s[] = {", name)
  for _, row in ipairs(rows) do put("%s", row) end
  put("  {0}};")
  return starts
end

local default_starts = rules_of(schema.defaults, "kube_default_rule_t kube_default_rules", function(d)
  local words = {(".field = %s"):format(c_string(d.field))}
  local call, same = d.value:match("^call:(.*)$"), d.value:match("^same:(.*)$")
  if call then
    declared["void kube_default_" .. call .. "(kube_arena_t *a, kube_node_t *n)"] = true
    words[2] = ".call = kube_default_" .. call
  elseif same then
    words[2] = ".same = " .. c_string(same)
  else
    words[2] = ".value = {" .. value_of(d.value) .. "}"
  end
  if d.condition then words[3] = ".when = " .. condition(d.condition) end
  return table.concat(words, ", ")
end)

local formed = {form = true, form_always = true, form_there = true, required_form = true, keys = true, name = true}
local opaque = {}
local checks = {}
for _, d in ipairs(schema.checks) do
  if d.check == "opaque" then opaque[d.type .. " " .. d.field] = true else checks[#checks + 1] = d end
end
local check_starts = rules_of(checks, "kube_check_rule_t kube_check_rules", function(d)
  local field, each = d.field:match("^(.-)(%[%])$")
  local words = {(".field = %s"):format(c_string(field or d.field))}
  local function add(fmt, ...) words[#words + 1] = fmt:format(...) end
  if each then add(".each = true") end
  if d.check == "call" then
    local name, more = d.args:match("^(%S+)%s*(.*)$")
    declared[("void kube_call_%s(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old)"):format(name)] = true
    add(".fn = kube_call_%s", name)
    if more ~= "" then add(".text = %s", c_string(more)) end
  else
    declared[("void kube_rule_%s(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old)"):format(d.check)] = true
    add(".fn = kube_rule_%s", d.check)
    if d.check == "name" or d.check == "passes" or d.check == "generic" or d.check == "twice" or d.check == "guarded" then add(".names = true") end
    if formed[d.check] then
      declared[("void kube_form_%s(kg_str_t s, kube_complaint_fn complain, void *arg)"):format(d.args)] = true
      add(".form = kube_form_%s", d.args)
    elseif d.check:match("^range") or d.check == "passes" then
      local low, high, more = d.args:match("^(%S+) (%S+)%s*(.*)$")
      add(".low = %s, .high = %s", low, high)
      if more ~= "" then add(".text = %s", c_string(more)) end
    elseif d.check:match("^max_") then
      add(".high = %s", d.args)
    elseif d.args ~= "" then
      add(".text = %s", c_string(d.args))
    end
  end
  if d.check == "immutable" or d.check == "frozen" or d.args == "kept_once_set" then add(".kept = true") end
  local when = d.condition and (" and " .. d.condition .. " and "):gsub(" and new and ", " and ")
  if when and when ~= " and " .. d.condition .. " and " then
    add(".fresh = true")
    d.condition = when:match("^ and (.*) and $")
  end
  if d.late then add(".late = true") end
  if d.as then add(".as = %s", c_string(d.as)) end
  if d.condition then add(".when = %s", condition(d.condition)) end
  return table.concat(words, ", ")
end)

-- Types, and whether there is anything to do in them or below.
local function reaches(starts, stop)
  local known = {}
  for name in pairs(starts) do known[name] = true end
  repeat
    local more = false
    for _, name in ipairs(names) do
      for _, f in ipairs(schema.types[name].fields) do
        local _, type = shape_of(f.type)
        if not known[name] and known[type] and not raw[type] and not stop[name .. " " .. f.name] then known[name], more = true, true end
      end
    end
  until not more
  return known
end
local checked, with_defaults = reaches(check_starts, opaque), {}
for name, start in pairs(default_starts) do with_defaults[name] = start end
for _, name in ipairs(names) do
  for _, f in ipairs(schema.types[name].fields) do
    if f.default then with_defaults[name] = with_defaults[name] or -1 end
  end
end
local defaulted = reaches(with_defaults, {})

local function fields_of(t, spread, into)
  for _, f in ipairs(t.fields) do
    if f.inlined and spread then fields_of(schema.types[f.type], spread, into) else into[#into + 1] = f end
  end
  return into
end
local function put_fields(array, list, owner)
  local body = {}
  for _, f in ipairs(list) do body[#body + 1] = field(f, opaque[owner .. " " .. f.name]) end
  put("static const kube_field_t %s[] = {", array)
  for _, l in ipairs(body) do put("%s", l) end
  put("  {0}};")
end
local has_inline = {}
for i, name in ipairs(names) do
  local t = schema.types[name]
  put_fields("fields_" .. i, fields_of(t, true, {}), name)
  for _, f in ipairs(t.fields) do has_inline[i] = has_inline[i] or f.inlined end
  if has_inline[i] then put_fields("own_" .. i, t.fields, name) end
end
put("const kube_type_t kube_types[] = {")
for i, name in ipairs(names) do
  put("  {.name = %s, .fields = fields_%d, .own = %s%d, .map_atomic = %s, .checked = %s, .defaulted = %s%s%s},", c_string(name), i,
    has_inline[i] and "own_" or "fields_", i, schema.types[name].map == "atomic", checked[name] or false, defaulted[name] or false,
    check_starts[name] and (", .checks = &kube_check_rules[%d]"):format(check_starts[name]) or "",
    default_starts[name] and (", .defaults = &kube_default_rules[%d]"):format(default_starts[name]) or "")
end
put("};\nconst size_t kube_type_count = %d;", #names)

local function has(type, name)
  for _, f in ipairs(schema.types[type].fields) do if f.name == name then return true end end
  return false
end
-- {"a=b"} -> {"a", "b"}: name shown, name stored
local function pairs_of(list)
  local flat = {}
  for _, p in ipairs(list) do
    local shown, stored = p:match("^(%w+)=(%w+)$")
    assert(shown, "renamed needs shown=stored, not " .. p)
    flat[#flat + 1], flat[#flat + 2] = shown, stored
  end
  return flat
end
local function conversion_of(r)
  local name = r.converted[1]
  if not name then return "NULL" end
  declared[("extern const struct kube_conversion kube_convert_%s"):format(name)] = true
  return "&kube_convert_" .. name
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
  rows[#rows + 1] = ("  {%s, %s, %s, %s, %s, %s, %s, %d, %s, %s, %s, &kube_types[%d], %s, %s, %s, %s, %s, %s, %s, .renamed = %s, .conversion = %s},"):format(
    c_string(r.group), c_string(r.version), c_string(r.resource), c_string(r.kind:lower()), c_string(r.kind), c_string(r.kind .. "List"),
    r.namespaced, mask, string_list(r.short), string_list(r.categories), string_list(r.subresources), index[r.type],
    c_string(r.stored_group), c_string(r.stored_version), has(r.type, "status"), has(r.type, "spec"), r.virtual, columns,
    string_list(r.selectable), #r.renamed > 0 and string_list(pairs_of(r.renamed)) or "NULL", conversion_of(r))
end
put("const kube_resource_t kube_resources[] = {")
for _, row in ipairs(rows) do put("%s", row) end
put("};\nconst size_t kube_resource_count = %d;", #rows)


local head = {'#include "validate.h"', "/* Made by generate.lua from plugins/kube/schema. */"}
for line in pairs(declared) do head[#head + 1] = line .. ";" end
table.sort(head, function(a, b) return (a:match("^#") and 1 or 2) < (b:match("^#") and 1 or 2) or a:match("^#") == b:match("^#") and a < b end)
local f = assert(io.open(output, "w"))
f:write(table.concat(head, "\n"), "\n", table.concat(out, "\n"), "\n")
f:close()

-- One text, without pointers and in a file of its own: it takes no memory before somebody asks, and none in those who never do.
f = assert(io.open(explain_output, "w"))
f:write('#include "openapi.h"\n/* Made by generate.lua from plugins/kube/schema/explain.txt. */\nconst char kube_explain_text[] =\n  "\\n"\n')
for _, block in ipairs(schema.explain) do
  f:write("  ", c_string(block.type .. "\t" .. block.text .. "\n"), "\n")
  for _, field in ipairs(block.fields) do f:write("  ", c_string(" " .. field.name .. "\t" .. field.text .. "\n"), "\n") end
end
f:write("  ;\nconst size_t kube_explain_size = sizeof kube_explain_text - 1;\n")
f:close()
