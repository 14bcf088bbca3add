/* The library `table`: bounded by what is really in a table, whatever its metatable says; sorting is stable. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* --- keys in order
 * ---------------------------------------------------------------------------------------------------- */

typedef struct {
  int type, place; /* place in the order Lua has them in */
  lua_Number n;
  const char *s;
  size_t len;
} sort_key_t;

static int rank(int type) {
  return type == LUA_TNUMBER ? 0 : type == LUA_TSTRING ? 1 : type == LUA_TBOOLEAN ? 2 : 3;
}

static int by_key(const void *x, const void *y) {
  const sort_key_t *a = x, *b = y;
  if (rank(a->type) != rank(b->type)) return rank(a->type) - rank(b->type);
  if (a->type == LUA_TSTRING) {
    int o = memcmp(a->s, b->s, a->len < b->len ? a->len : b->len);
    return o ? o : (a->len > b->len) - (a->len < b->len);
  }
  if (a->n != b->n) return a->n < b->n ? -1 : 1;
  return a->place - b->place;
}

static lua_Integer count(lua_State *L, int table) {
  lua_Integer n = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) n++;
  return n;
}

/* The keys stay in a list of Lua while they are sorted, so that their strings stay too. */
lua_Integer policy_sorted_keys(lua_State *L, int table) {
  luaL_checkstack(L, 8, NULL);
  lua_Integer n = count(L, table);
  policy_charge(L, (uint64_t)n * 4);
  lua_createtable(L, (int)n, 0);
  int list = lua_gettop(L);
  sort_key_t *keys = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *keys, 0);
  lua_createtable(L, (int)n, 0);
  int i = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    keys[i] = (sort_key_t){.type = lua_type(L, -2), .place = i};
    if (keys[i].type == LUA_TNUMBER) keys[i].n = lua_tonumber(L, -2);
    if (keys[i].type == LUA_TBOOLEAN) keys[i].n = lua_toboolean(L, -2);
    if (keys[i].type == LUA_TSTRING) keys[i].s = lua_tolstring(L, -2, &keys[i].len);
    lua_pushvalue(L, -2);
    lua_rawseti(L, list + 2, ++i);
  }
  qsort(keys, (size_t)n, sizeof *keys, by_key);
  for (i = 0; i < n; i++) {
    lua_rawgeti(L, list + 2, keys[i].place + 1);
    lua_rawseti(L, list, i + 1);
  }
  lua_settop(L, list);
  return n;
}

/* --- the functions
 * ---------------------------------------------------------------------------------------------------- */

static lua_Integer length(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  return (lua_Integer)lua_rawlen(L, 1);
}

static int insert(lua_State *L) {
  lua_Integer n = length(L) + 1, at = n;
  if (lua_gettop(L) == 3) {
    at = luaL_checkinteger(L, 2);
    luaL_argcheck(L, at >= 1 && at <= n, 2, "position out of bounds");
  } else {
    luaL_argcheck(L, lua_gettop(L) == 2, 2, "wrong number of arguments to insert");
  }
  policy_charge(L, (uint64_t)(n - at) / 4);
  for (lua_Integer i = n; i > at; i--) {
    lua_rawgeti(L, 1, i - 1);
    lua_rawseti(L, 1, i);
  }
  lua_rawseti(L, 1, at);
  return 0;
}

static int take(lua_State *L) {
  lua_Integer n = length(L), at = luaL_optinteger(L, 2, n);
  if (!lua_isnoneornil(L, 2)) luaL_argcheck(L, at >= 1 && at <= n + 1, 2, "position out of bounds");
  policy_charge(L, n > at ? (uint64_t)(n - at) / 4 : 0);
  lua_rawgeti(L, 1, at);
  for (lua_Integer i = at; i < n; i++) {
    lua_rawgeti(L, 1, i + 1);
    lua_rawseti(L, 1, i);
  }
  if (at <= n) {
    lua_pushnil(L);
    lua_rawseti(L, 1, n);
  }
  return 1;
}

static int concat(lua_State *L) {
  lua_Integer n = length(L);
  size_t len;
  const char *sep = luaL_optlstring(L, 2, "", &len);
  lua_Integer from = luaL_optinteger(L, 3, 1), to = luaL_optinteger(L, 4, n);
  if (to > n) to = n;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (lua_Integer i = from < 1 ? 1 : from; i <= to; i++) {
    int type = lua_rawgeti(L, 1, i);
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
      return luaL_error(L, "invalid value (at index %d) in table for 'concat'", (int)i);
    luaL_addvalue(&b);
    if (i < to) luaL_addlstring(&b, sep, len);
  }
  luaL_pushresult(&b);
  return 1;
}

static int unpack(lua_State *L) {
  lua_Integer n = length(L), from = luaL_optinteger(L, 2, 1), to = luaL_optinteger(L, 3, n);
  if (from > to) return 0;
  uint64_t many = (uint64_t)to - (uint64_t)from;
  if (many >= 1000 || !lua_checkstack(L, (int)many + 1)) return luaL_error(L, "too many results to unpack");
  for (lua_Integer i = from;; i++) {
    lua_rawgeti(L, 1, i);
    if (i == to) break;
  }
  return (int)many + 1;
}

static int pack(lua_State *L) {
  int n = lua_gettop(L);
  lua_createtable(L, n, 1);
  lua_insert(L, 1);
  for (int i = n; i >= 1; i--) lua_rawseti(L, 1, i);
  lua_pushinteger(L, n);
  lua_setfield(L, 1, "n");
  return 1;
}

/* In Lua, because there the budget counts every step. */
static const char in_lua[] =
    "local rawlen, rawget, rawset, type, error = rawlen, rawget, rawset, type, error\n"
    "function table.sort(t, less)\n"
    "  less = less or function(a, b) return a < b end\n"
    "  local n, from, to, width = rawlen(t), t, {}, 1\n"
    "  while width < n do\n"
    "    for low = 1, n, 2 * width do\n"
    "      local i, middle, high = low, low + width, low + 2 * width\n"
    "      if middle > n + 1 then middle = n + 1 end\n"
    "      if high > n + 1 then high = n + 1 end\n"
    "      local j = middle\n"
    "      for k = low, high - 1 do\n"
    "        if i < middle and (j >= high or not less(from[j], from[i])) then to[k] = from[i]; i = i + 1\n"
    "        else to[k] = from[j]; j = j + 1 end\n"
    "      end\n"
    "    end\n"
    "    if from == t then from = to; to = {} else from, to = to, from end\n"
    "    width = 2 * width\n"
    "  end\n"
    "  if from ~= t then for i = 1, n do t[i] = from[i] end end\n"
    "end\n"
    "function table.move(a, from, to, at, b)\n"
    "  b = b or a\n"
    "  if at > to or at <= from or a ~= b then for i = from, to do b[at + i - from] = a[i] end\n"
    "  else for i = to, from, -1 do b[at + i - from] = a[i] end end\n"
    "  return b\n"
    "end\n";

void policy_open_tables(lua_State *L) {
  static const luaL_Reg functions[] = {{"insert", insert}, {"remove", take}, {"concat", concat},
                                       {"unpack", unpack}, {"pack", pack},   {NULL, NULL}};
  luaL_newlib(L, functions);
  lua_setglobal(L, "table");
  if (luaL_loadbufferx(L, in_lua, sizeof in_lua - 1, "=table", "t") != LUA_OK) lua_error(L);
  lua_call(L, 0, 0);
}
