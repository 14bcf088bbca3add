/* Documents as userdata: read where they lie, nothing is built first. */
#include <string.h>

#include "internal.h"

typedef struct {
  kg_view_t v;
  uint32_t generation;
} view_t;

typedef struct {
  kg_iter_t it;
  uint32_t generation;
  lua_Integer i;
} walk_t;

void policy_push_view(lua_State *L, kg_view_t v) {
  policy_t *p = policy_of(L);
  kg_str_t s;
  switch (kg_view_type(v)) {
  case KG_V_BOOL:
    lua_pushboolean(L, kg_view_bool(v, false));
    return;
  case KG_V_INT:
    lua_pushinteger(L, kg_view_int(v, 0));
    return;
  case KG_V_UINT:
    lua_pushnumber(L, (lua_Number)kg_view_uint(v, 0));
    return;
  case KG_V_FLOAT:
    lua_pushnumber(L, kg_view_float(v, 0));
    return;
  case KG_V_STR:
  case KG_V_BIN:
    s = kg_view_type(v) == KG_V_STR ? kg_view_str(v) : kg_view_bin(v);
    lua_pushlstring(L, s.p, s.n);
    return;
  case KG_V_MAP:
  case KG_V_ARRAY: {
    view_t *u = lua_newuserdatauv(L, sizeof *u, 0);
    *u = (view_t){v, p->generation};
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->view_mt);
    lua_setmetatable(L, -2);
    return;
  }
  default:
    lua_pushnil(L);
  }
}

static void check(lua_State *L, uint32_t generation) {
  if (generation != policy_of(L)->generation)
    luaL_error(L, "this document is not there any more: views are valid during one call only");
}

const kg_view_t *policy_to_view(lua_State *L, int index) {
  view_t *u = lua_type(L, index) == LUA_TUSERDATA ? lua_touserdata(L, index) : NULL;
  if (!u || !lua_getmetatable(L, index)) return NULL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, policy_of(L)->view_mt);
  bool ours = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  if (!ours) return NULL;
  check(L, u->generation);
  return &u->v;
}

/* Scripts cannot reach these functions but through the operators, so argument 1 is a view; the other operand of one
 * with two may be. */
static const kg_view_t *self(lua_State *L) {
  view_t *u = lua_touserdata(L, 1);
  check(L, u->generation);
  return &u->v;
}

static kg_view_t child(lua_State *L, kg_view_t v, int key) {
  if (lua_type(L, key) == LUA_TSTRING) {
    kg_str_t k;
    k.p = lua_tolstring(L, key, &k.n);
    return kg_view_get_str(v, k);
  }
  lua_Integer i = lua_tointeger(L, key);
  bool list = lua_isinteger(L, key) && i > 0 && kg_view_type(v) == KG_V_ARRAY;
  if (list) policy_charge(L, (uint64_t)i / 8);
  return list ? kg_view_at(v, (size_t)i - 1) : (kg_view_t){0};
}

static int view_index(lua_State *L) {
  policy_push_view(L, child(L, *self(L), 2));
  return 1;
}

static int view_newindex(lua_State *L) {
  return luaL_error(L, "a document cannot be changed: take a copy() of it");
}

static int view_len(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)kg_view_count(*self(L)));
  return 1;
}

/* v("spec", "nodeName"): nil as soon as something is missing. */
static int view_call(lua_State *L) {
  kg_view_t v = *self(L);
  int n = lua_gettop(L);
  for (int i = 2; i <= n && kg_view_there(v); i++) v = child(L, v, i);
  policy_push_view(L, v);
  return 1;
}

static int view_eq(lua_State *L) {
  const kg_view_t *a = policy_to_view(L, 1), *b = policy_to_view(L, 2);
  if (a && b) policy_charge(L, kg_view_span(*a) / 8);
  lua_pushboolean(L, a && b && kg_view_equal(*a, *b));
  return 1;
}

static int view_tostring(lua_State *L) {
  lua_pushstring(L, kg_view_type(*self(L)) == KG_V_MAP ? "map" : "array");
  return 1;
}

static int walk_next(lua_State *L) {
  walk_t *w = lua_touserdata(L, lua_upvalueindex(1));
  check(L, w->generation);
  if (!kg_iter_next(&w->it)) {
    lua_pushnil(L);
    return 1;
  }
  if (w->it.map)
    policy_push_view(L, w->it.key);
  else
    lua_pushinteger(L, ++w->i);
  policy_push_view(L, w->it.value);
  return 2;
}

static int view_pairs(lua_State *L) {
  kg_view_t v = *self(L);
  walk_t *w = lua_newuserdatauv(L, sizeof *w, 0);
  *w = (walk_t){.it = kg_iter(v), .generation = policy_of(L)->generation};
  lua_pushcclosure(L, walk_next, 1);
  return 1;
}

static int plain_ipairs(lua_State *L) {
  if (policy_to_view(L, 1)) return view_pairs(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 3);
  return 3;
}

static int kind(lua_State *L) {
  const kg_view_t *v = policy_to_view(L, 1);
  lua_pushstring(L, !v ? luaL_typename(L, 1) : kg_view_type(*v) == KG_V_MAP ? "map" : "array");
  return 1;
}

void policy_open_views(lua_State *L) {
  static const luaL_Reg meta[] = {
      {"__index", view_index}, {"__newindex", view_newindex}, {"__len", view_len},     {"__call", view_call},
      {"__eq", view_eq},       {"__tostring", view_tostring}, {"__pairs", view_pairs}, {NULL, NULL}};
  luaL_newlib(L, meta);
  lua_pushliteral(L, "view");
  lua_setfield(L, -2, "__metatable");
  lua_pushliteral(L, "view");
  lua_setfield(L, -2, "__name");
  policy_of(L)->view_mt = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_getglobal(L, "ipairs");
  lua_pushcclosure(L, plain_ipairs, 1);
  lua_setglobal(L, "ipairs");
  lua_pushcfunction(L, kind);
  lua_setglobal(L, "kind");
}
