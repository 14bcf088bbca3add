-- Writes the files of the template into one C file: embed.lua FOLDER OUT NAME...
local folder, out = arg[1], arg[2]
local quote = {["\\"] = "\\\\", ['"'] = '\\"'}
local f = assert(io.open(out, "w"))
f:write('#include "new.h"\n\nconst template_t cli_template[] = {\n')
for i = 3, #arg do
  f:write(('    {"%s",\n'):format(arg[i] == "plugin.c.in" and "@NAME@.c" or arg[i]))
  for line in io.lines(folder .. "/" .. arg[i]) do
    f:write('     "', (line:gsub('[\\"]', quote)), '\\n"\n')
  end
  f:write("    },\n")
end
f:write("    {0},\n};\n")
assert(f:close())
