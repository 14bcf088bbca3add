/* Lua's values as msgpack, and back as tables. */
#include <math.h>

#include "internal.h"

#define MAX_DEPTH 64

static void pack(lua_State *L, int index, kg_pack_t *p, int depth);

static bool is_array(lua_State *L, int index) {
  if (lua_getmetatable(L, index)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, policy_of(L)->array_mt);
    bool marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (marked) return true;
  }
  return lua_rawlen(L, index) > 0;
}

static void pack_array(lua_State *L, int index, kg_pack_t *p, int depth) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, index);
  kg_pack_array(p);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, index, i);
    pack(L, lua_gettop(L), p, depth);
    lua_pop(L, 1);
  }
  kg_pack_end(p);
}

static void pack_map(lua_State *L, int index, kg_pack_t *p, int depth) {
  lua_Integer n = policy_sorted_keys(L, index);
  int keys = lua_gettop(L);
  kg_pack_map(p);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, keys, i);
    if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "a result has a key that is no string");
    pack(L, lua_gettop(L), p, depth);
    lua_rawget(L, index);
    pack(L, lua_gettop(L), p, depth);
    lua_pop(L, 1);
  }
  kg_pack_end(p);
  lua_pop(L, 1);
}

static void pack_string(lua_State *L, int index, kg_pack_t *p) {
  size_t n;
  const char *s = lua_tolstring(L, index, &n);
  size_t before = p->size;
  kg_pack_strn(p, (kg_str_t){s, n});
  /* Only text goes out: what decodes it elsewhere refuses anything else. */
  if (p->size > before && kg_doc_check(p->data + before, p->size - before, NULL) < 0)
    luaL_error(L, "a result has a string that is not UTF-8");
}

static void pack(lua_State *L, int index, kg_pack_t *p, int depth) {
  if (depth > MAX_DEPTH) luaL_error(L, "a result is nested too deeply");
  if (p->size > MAX_RESULT) luaL_error(L, "a result is too big");
  luaL_checkstack(L, 8, NULL);
  policy_charge(L, 1);
  const kg_view_t *v;
  switch (lua_type(L, index)) {
  case LUA_TNIL:
    kg_pack_nil(p);
    break;
  case LUA_TBOOLEAN:
    kg_pack_bool(p, lua_toboolean(L, index));
    break;
  case LUA_TSTRING:
    pack_string(L, index, p);
    break;
  case LUA_TNUMBER:
    if (lua_isinteger(L, index))
      kg_pack_int(p, lua_tointeger(L, index));
    else
      kg_pack_float(p, lua_tonumber(L, index));
    break;
  case LUA_TTABLE:
    if (is_array(L, index))
      pack_array(L, index, p, depth + 1);
    else
      pack_map(L, index, p, depth + 1);
    break;
  case LUA_TLIGHTUSERDATA:
    kg_pack_nil(p);
    break; /* null */
  default:
    v = policy_to_view(L, index);
    if (!v) luaL_error(L, "a result has a %s, which is no value", luaL_typename(L, index));
    kg_pack_view(p, *v);
  }
}

void policy_pack(lua_State *L, int index, kg_pack_t *p) {
  pack(L, index, p, 0);
}

/* --- tables from documents ------------------------------------------------------------------------------------------
 */

static void build(lua_State *L, kg_view_t v, int depth) {
  kg_vtype_t type = kg_view_type(v);
  if (type != KG_V_MAP && type != KG_V_ARRAY) {
    policy_push_view(L, v);
    return;
  }
  if (depth > MAX_DEPTH) luaL_error(L, "the document is nested too deeply");
  luaL_checkstack(L, 8, NULL);
  policy_charge(L, kg_view_count(v) + 1);
  lua_newtable(L);
  lua_Integer i = 0;
  for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) {
    if (it.map)
      policy_push_view(L, it.key);
    else
      lua_pushinteger(L, ++i);
    build(L, it.value, depth + 1);
    lua_rawset(L, -3);
  }
  if (type == KG_V_MAP) return;
  lua_rawgeti(L, LUA_REGISTRYINDEX, policy_of(L)->array_mt);
  lua_setmetatable(L, -2);
}

static int copy(lua_State *L) {
  const kg_view_t *v = policy_to_view(L, 1);
  if (v)
    build(L, *v, 0);
  else
    lua_settop(L, 1);
  return 1;
}

static int array(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, policy_of(L)->array_mt);
  lua_setmetatable(L, 1);
  return 1;
}

void policy_open_values(lua_State *L) {
  lua_newtable(L);
  lua_pushliteral(L, "array");
  lua_setfield(L, -2, "__metatable");
  policy_of(L)->array_mt = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushlightuserdata(L, NULL);
  lua_setglobal(L, "null");
  lua_register(L, "array", array);
  lua_register(L, "copy", copy);
}
