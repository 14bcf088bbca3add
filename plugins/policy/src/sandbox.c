/* The basic functions: those of Lua that can do no harm, and our own in the place of those that can. */
#include <math.h>
#include <string.h>

#include "internal.h"
#include "kube/values.h"

int policy_tostring(lua_State *L) {
  luaL_checkany(L, 1);
  int type = lua_type(L, 1);
  bool own = luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL;
  if (own || type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER || type == LUA_TSTRING)
    luaL_tolstring(L, 1, NULL);
  else
    lua_pushstring(L, lua_typename(L, type)); /* Lua would show an address: another one in every run */
  return 1;
}

static int print(lua_State *L) {
  policy_t *p = policy_of(L);
  char text[501];
  size_t n = 0;
  int count = lua_gettop(L);
  for (int i = 1; i <= count; i++) {
    lua_pushcfunction(L, policy_tostring);
    lua_pushvalue(L, i);
    lua_call(L, 1, 1);
    size_t len;
    const char *s = lua_tolstring(L, -1, &len);
    if (i > 1 && n < 500) text[n++] = ' ';
    if (len > 500 - n) len = 500 - n;
    memcpy(text + n, s, len);
    n += len;
    lua_pop(L, 1);
  }
  text[n] = 0;
  if (p->o.log && p->lines++ < MAX_LINES) p->o.log(p->o.log_arg, text);
  return 0;
}

/* A finalizer runs where nothing can stop it, and weak tables show when memory was collected. */
static int set_metatable(lua_State *L) {
  static const char *const forbidden[] = {"__gc", "__mode"};
  luaL_checktype(L, 1, LUA_TTABLE);
  for (size_t i = 0; i < 2 && lua_istable(L, 2); i++) {
    lua_pushstring(L, forbidden[i]);
    if (lua_rawget(L, 2) != LUA_TNIL) return luaL_error(L, "a policy may not use %s", forbidden[i]);
    lua_pop(L, 1);
  }
  lua_settop(L, 2);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, 2, 1);
  return 1;
}

/* --- pairs in the same order in every run
 * ----------------------------------------------------------------------------- */

static int pairs_next(lua_State *L) {
  lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));
  for (;;) {
    lua_rawgeti(L, lua_upvalueindex(2), ++i);
    if (lua_isnil(L, -1)) return 1;
    lua_pushvalue(L, -1);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1)) break;
    lua_pop(L, 2); /* removed meanwhile */
  }
  lua_pushinteger(L, i);
  lua_replace(L, lua_upvalueindex(3));
  return 2;
}

static int pairs(lua_State *L) {
  luaL_checkany(L, 1);
  if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
    lua_pushvalue(L, 1);
    lua_call(L, 1, 3);
    return 3;
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  policy_sorted_keys(L, 1);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, pairs_next, 3);
  return 1;
}

static int next(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  lua_Integer n = policy_sorted_keys(L, 1), i = 1;
  if (!lua_isnil(L, 2)) {
    for (; i <= n; i++) {
      lua_rawgeti(L, 3, i);
      bool same = lua_rawequal(L, 2, -1);
      lua_pop(L, 1);
      if (same) break;
    }
    i++;
  }
  if (i > n) {
    lua_pushnil(L);
    return 1;
  }
  lua_rawgeti(L, 3, i);
  lua_pushvalue(L, -1);
  lua_rawget(L, 1);
  return 2;
}

/* --- chance ---------------------------------------------------------------------------------------------------------
 */

static uint64_t chance(policy_t *p) { /* splitmix64 */
  uint64_t z = p->random += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static int random_number(lua_State *L) {
  uint64_t r = chance(policy_of(L));
  int n = lua_gettop(L);
  if (n == 0) {
    lua_pushnumber(L, (lua_Number)(r >> 11) * 0x1p-53);
    return 1;
  }
  lua_Integer low = n > 1 ? luaL_checkinteger(L, 1) : 1, high = luaL_checkinteger(L, n > 1 ? 2 : 1);
  luaL_argcheck(L, low <= high, n > 1 ? 2 : 1, "interval is empty");
  uint64_t span = (uint64_t)high - (uint64_t)low + 1;
  lua_pushinteger(L, (lua_Integer)((uint64_t)low + (span ? r % span : r)));
  return 1;
}

/* "100m" is 0.1, "1Gi" 1073741824; nil if it is no quantity. */
static int quantity(lua_State *L) {
  kg_str_t s;
  int64_t milli;
  if (lua_type(L, 1) == LUA_TNUMBER) {
    lua_settop(L, 1);
    return 1;
  }
  s.p = luaL_checklstring(L, 1, &s.n);
  int64_t whole;
  if (kube_quantity_milli(s, &milli) == 0 && milli < INT64_MAX && milli > INT64_MIN) {
    if (milli % 1000 == 0)
      lua_pushinteger(L, milli / 1000);
    else
      lua_pushnumber(L, (lua_Number)milli / 1000);
  } else if (kube_quantity_value(s, &whole) == 0) {
    lua_pushinteger(L, whole);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

void policy_open_sandbox(lua_State *L) {
  static const char *const gone[] = {"collectgarbage", "dofile", "loadfile", "load", "xpcall", "warn", "require", NULL};
  luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
  lua_pop(L, 1);
  for (size_t i = 0; gone[i]; i++) {
    lua_pushnil(L);
    lua_setglobal(L, gone[i]);
  }
  lua_getglobal(L, "setmetatable");
  lua_pushcclosure(L, set_metatable, 1);
  lua_setglobal(L, "setmetatable");
  lua_register(L, "tostring", policy_tostring);
  lua_register(L, "print", print);
  lua_register(L, "log", print);
  lua_register(L, "pairs", pairs);
  lua_register(L, "next", next);
  lua_register(L, "quantity", quantity);
  luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
  lua_pushcfunction(L, random_number);
  lua_setfield(L, -2, "random");
  lua_pushnil(L);
  lua_setfield(L, -2, "randomseed");
  lua_pop(L, 1);
}
