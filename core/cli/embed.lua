-- Writes files into one C file, as an array of embedded_t (embedded.h): embed.lua ARRAY FOLDER OUT NAME...
local array, folder, out = arg[1], arg[2], arg[3]
local quote = {["\\"] = "\\\\", ['"'] = '\\"'}
local f = assert(io.open(out, "w"))
f:write('#include "embedded.h"\n\nconst embedded_t ', array, "[] = {\n")
for i = 4, #arg do
  f:write('    {"', arg[i], '",\n')
  for line in io.lines(folder .. "/" .. arg[i]) do
    f:write('     "', (line:gsub('[\\"]', quote)), '\\n"\n')
  end
  f:write("    },\n")
end
f:write("    {0},\n};\n")
assert(f:close())
