-- lua5.4 embed.lua FILE NAME OUT: writes the file's lines (without comments) as a C string of that name.
local from, name, out = arg[1], arg[2], arg[3]
local file = assert(io.open(out, "w"))
file:write("/* Made from ", from:match("[^/]*$"), " by embed.lua. */\nstatic const char ", name, "[] =\n")
for line in io.lines(from) do
  if not line:match("^%s*#") and line:match("%S") then file:write(string.format("    %q\n", line .. "\\n"):gsub("\\\\n", "\\n"), "") end
end
file:write("    ;\n")
file:close()
