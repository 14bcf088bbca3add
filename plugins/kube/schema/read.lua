-- Reads the tables of this directory (README.md describes their form).
local M = {}

local function fail(file, number, text) error(("%s:%d: %s"):format(file, number, text), 0) end

-- Splits a line into words; "..." keeps blanks together, also after name=.
local function words_of(line)
  local words, i = {}, 1
  while true do
    i = line:match("^%s*()", i)
    if i > #line or line:sub(i, i) == "#" then return words end
    local word = ""
    repeat
      local plain, after = line:match('^([^%s"]*)()', i)
      word, i = word .. plain, after
      if line:sub(i, i) == '"' then
        local j = i + 1
        while line:sub(j, j) ~= '"' do
          if j > #line then error("a quote is not closed: " .. line, 0) end
          if line:sub(j, j) == "\\" then j = j + 1 end
          word = word .. line:sub(j, j)
          j = j + 1
        end
        i = j + 1
      end
    until i > #line or line:sub(i, i):match("%s")
    words[#words + 1] = word
  end
end
M.words_of = words_of

local function rest(words, from)
  return table.move(words, from, #words, 1, {})
end

local function read_field(words)
  local f = {name = words[1], type = words[2], proto = tonumber(words[3]) or 0, rules = {}, inlined = words[1] == "(inline)"}
  for _, w in ipairs(rest(words, 4)) do
    local key, value = w:match("^(%a+)=(.*)$")
    if not key then
      f[w] = true
    elseif key == "rule" then
      f.rules[#f.rules + 1] = value
    elseif key == "list" then
      f.list = value:match("^%a+")
      local keys = value:match("%((.*)%)")
      if keys then
        f.list_keys = {}
        for k in keys:gmatch("[^,]+") do table.insert(f.list_keys, k) end
      end
    else
      f[key] = value
    end
  end
  return f
end

local function read_resource_line(r, words)
  local key = words[1]
  if key == "namespaced" or key == "cluster" then
    r.namespaced = key == "namespaced"
    r.virtual = words[2] == "virtual"
  elseif key == "stored" then
    r.stored_group, r.stored_version = words[2]:match("^(.*)/(.*)$")
  elseif r[key] then
    r[key] = rest(words, 2)
  else
    return false
  end
  return true
end

local function read_file(schema, file, path)
  local number, current, reader = 0, nil, nil
  for line in io.lines(path) do
    number = number + 1
    local words = words_of(line)
    if #words == 0 then goto continue end
    if line:match("^%s") then
      if not current or reader(current, words) == false then fail(file, number, "cannot read this line: " .. line) end
    elseif words[1] == "resource" then
      local group, version = words[2]:match("^(.*)/(.*)$")
      current = {group = group, version = version, resource = words[3], kind = words[4], type = words[5], verbs = {}, short = {},
        categories = {}, subresources = {}, selectable = {}, renamed = {}, converted = {}, stored_group = group, stored_version = version}
      reader = read_resource_line
      table.insert(schema.resources, current)
    elseif words[1] == "enum" then
      schema.enums[words[2]] = {closed = words[3] == "closed", values = rest(words, 4)}
      current = nil
    elseif words[1] == "type" then
      current = {fields = {}, map = (words[3] or ""):match("^map=(.*)$")}
      reader = function(t, w) table.insert(t.fields, read_field(w)) end
      schema.types[words[2]] = current
    else
      fail(file, number, "cannot read this line: " .. line)
    end
    ::continue::
  end
end

local function optional_lines(path)
  local f = io.open(path)
  return f and f:lines() or function() end
end

-- TYPE lines, then "  FIELD VALUE [if CONDITION]" lines; VALUE is JSON, or call:NAME for what needs code.
local function read_defaults(schema, path)
  local number, type = 0, nil
  for line in optional_lines(path) do
    number = number + 1
    if line:match("^%s*#") or line:match("^%s*$") then goto continue end
    if not line:match("^%s") then
      type = line:match("^%S+")
      if not schema.types[type] then fail("defaults.txt", number, "there is no type " .. type) end
    else
      local field, value = line:match("^%s+(%S+)%s+(.-)%s*$")
      local condition
      local before, after = value:match("^(.-)%s+if%s+(.*)$")
      if before then value, condition = before, after end
      table.insert(schema.defaults, {type = type, field = field, value = value, condition = condition, line = number})
    end
    ::continue::
  end
end

-- TYPE lines, then "  FIELD CHECK [as:NAME] [ARGUMENTS] [if CONDITION]" lines.
local function read_checks(schema, path)
  local number, type, late = 0, nil, false
  for line in optional_lines(path) do
    number = number + 1
    if line:match("^%s*#") or line:match("^%s*$") then goto continue end
    if line:match("^%s+then%s*$") then
      late = true
    elseif not line:match("^%s") then
      type, late = line:match("^%S+"), false
      if not schema.types[type] then fail("validate.txt", number, "there is no type " .. type) end
    else
      local field, check, args = line:match("^%s+(%S+)%s+(%S+)%s*(.-)%s*$")
      if not check then fail("validate.txt", number, "cannot read this line: " .. line) end
      local condition, as
      local before, after = (" " .. args):match("^(.-)%s+if%s+(.*)$")
      if before then args, condition = before:gsub("^%s", ""), after end
      local renamed, remaining = args:match("^as:(%S+)%s*(.*)$")
      if renamed then as, args = renamed, remaining end
      table.insert(schema.checks, {type = type, field = field, check = check, args = args, as = as, condition = condition, late = late, line = number})
    end
    ::continue::
  end
end

-- "columns GROUP/VERSION RESOURCE" or "select ..." lines followed by one line per column or field.
local function read_columns(schema, path)
  local number, current = 0, nil
  for line in optional_lines(path) do
    number = number + 1
    local words = words_of(line)
    if #words == 0 then goto continue end
    if not line:match("^%s") then
      local found
      for _, r in ipairs(schema.resources) do
        if r.group .. "/" .. r.version == words[2] and r.resource == words[3] then found = r end
      end
      if not found then fail(path, number, "there is no resource " .. words[2] .. " " .. tostring(words[3])) end
      current = found
      if words[1] == "columns" then found.columns = {} else found.selectable = rest(words, 4) end
    else
      table.insert(current.columns, {name = words[1], type = words[2], format = words[3] == "-" and "" or words[3],
        priority = tonumber(words[4]), cell = words[5], description = words[6] or ""})
    end
    ::continue::
  end
end

-- TYPE... lines with a description, then "  FIELD DESCRIPTION" lines: {{type =, text =, fields = {{name, text}}}}
local function read_explain(schema, path)
  local number, blocks = 0, {}
  local function known(type, field)
    if type == "object" or type == "list" then return true end
    for _, f in ipairs(schema.types[type] and schema.types[type].fields or {}) do
      if not field or f.name == field or (f.inlined and known(f.type, field)) then return true end
    end
    return false
  end
  for line in io.lines(path) do
    number = number + 1
    if line:match("^%s*#") or line:match("^%s*$") then goto continue end
    local field, words = line:match("^%s+(%S+)%s+(.*)$")
    if not field then
      local types, text = line:match("^([^:]+):%s*(.*)$")
      if not types then fail("explain.txt", number, "cannot read this line: " .. line) end
      blocks = {}
      for type in types:gmatch("%S+") do
        if not known(type) then fail("explain.txt", number, "there is no type " .. type) end
        table.insert(blocks, {type = type, text = text, fields = {}})
        table.insert(schema.explain, blocks[#blocks])
      end
    end
    for _, block in ipairs(field and blocks or {}) do
      if known(block.type, field) then
        table.insert(block.fields, {name = field, text = words})
      elseif #blocks == 1 then
        fail("explain.txt", number, block.type .. " has no field " .. field)
      end
    end
    ::continue::
  end
end

function M.schema(dir)
  local schema = {types = {}, enums = {}, resources = {}, defaults = {}, checks = {}, groups = {}, explain = {}}
  local files = {}
  for line in io.lines(dir .. "/groups.txt") do
    local words = words_of(line)
    if words[1] == "group" then files[#files + 1] = words[3] end
    if words[1] == "package" then files[#files + 1] = words[2] end
  end
  for _, file in ipairs(files) do read_file(schema, file, dir .. "/" .. file .. ".txt") end
  read_defaults(schema, dir .. "/defaults.txt")
  read_checks(schema, dir .. "/validate.txt")
  read_columns(schema, dir .. "/columns.txt")
  read_columns(schema, dir .. "/selectable.txt")
  read_explain(schema, dir .. "/explain.txt")
  return schema
end

return M
