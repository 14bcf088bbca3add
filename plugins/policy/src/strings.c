/* The library `string`: what is harmless from Lua, and the rest with bounds. */
#include <string.h>

#include "pattern.h"

#define MAX_REPEAT (1u << 20)

static size_t start_of(lua_Integer i, size_t len) {
  if (i > 0) return (size_t)i - 1;
  return i == 0 || (size_t)-i > len ? 0 : len - (size_t)-i;
}

static void read_pattern(lua_State *L, pattern_t *m, bool may_anchor) {
  size_t n, len;
  const char *s = luaL_checklstring(L, 1, &n), *p = luaL_checklstring(L, 2, &len);
  *m = (pattern_t){.L = L, .subject = s, .subject_end = s + n, .p = p, .p_end = p + len};
  m->anchored = may_anchor && len && *p == '^';
  if (m->anchored) m->p++;
}

static int find_plain(lua_State *L, const pattern_t *m, size_t from) {
  size_t n = (size_t)(m->subject_end - m->subject), len = (size_t)(m->p_end - m->p);
  const char *at = len ? memmem(m->subject + from, n - from, m->p, len) : m->subject + from;
  if (!at) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, at - m->subject + 1);
  lua_pushinteger(L, at - m->subject + (lua_Integer)len);
  return 2;
}

static int search(lua_State *L, bool find) {
  pattern_t m;
  const char *end;
  read_pattern(L, &m, true);
  size_t n = (size_t)(m.subject_end - m.subject), from = start_of(luaL_optinteger(L, 3, 1), n);
  if (from > n) {
    lua_pushnil(L);
    return 1;
  }
  if (find && lua_toboolean(L, 4)) {
    m.p -= m.anchored;
    return find_plain(L, &m, from);
  }
  const char *start = pattern_find(&m, m.subject + from, &end);
  if (!start) {
    lua_pushnil(L);
    return 1;
  }
  if (!find) return pattern_push_all(&m, start, end, true);
  lua_pushinteger(L, start - m.subject + 1);
  lua_pushinteger(L, end - m.subject);
  return pattern_push_all(&m, start, end, false) + 2;
}

static int find(lua_State *L) {
  return search(L, true);
}
static int match(lua_State *L) {
  return search(L, false);
}

/* Upvalues: subject, pattern, where to go on (from 0), end of the last match or -1. */
static int next_match(lua_State *L) {
  pattern_t m;
  const char *end, *start;
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, lua_upvalueindex(2));
  read_pattern(L, &m, false);
  const char *from = m.subject + lua_tointeger(L, lua_upvalueindex(3));
  lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
  for (; from <= m.subject_end; from = start + 1) {
    if (!(start = pattern_find(&m, from, &end))) return 0;
    if (end - m.subject == last) continue; /* nothing, where the last one ended */
    lua_pushinteger(L, end - m.subject);
    lua_copy(L, -1, lua_upvalueindex(3));
    lua_replace(L, lua_upvalueindex(4));
    return pattern_push_all(&m, start, end, true);
  }
  return 0;
}

static int gmatch(lua_State *L) {
  size_t n;
  luaL_checklstring(L, 1, &n);
  luaL_checkstring(L, 2);
  size_t from = start_of(luaL_optinteger(L, 3, 1), n);
  lua_settop(L, 2);
  lua_pushinteger(L, from > n ? (lua_Integer)n + 1 : (lua_Integer)from);
  lua_pushinteger(L, -1);
  lua_pushcclosure(L, next_match, 4);
  return 1;
}

/* --- gsub -----------------------------------------------------------------------------------------------------------
 */

static void expand(pattern_t *m, luaL_Buffer *b, const char *start, const char *end) {
  size_t n;
  const char *r = lua_tolstring(m->L, 3, &n);
  for (const char *stop = r + n; r < stop; r++) {
    if (*r != '%') {
      luaL_addchar(b, *r);
      continue;
    }
    if (++r == stop) luaL_error(m->L, "invalid use of '%%' in replacement string");
    if (*r == '%') {
      luaL_addchar(b, '%');
    } else if (*r == '0') {
      luaL_addlstring(b, start, (size_t)(end - start));
    } else if (*r >= '1' && *r <= '9') {
      pattern_push(m, *r - '1', start, end);
      luaL_tolstring(m->L, -1, NULL);
      lua_remove(m->L, -2);
      luaL_addvalue(b);
    } else {
      luaL_error(m->L, "invalid use of '%%' in replacement string");
    }
  }
}

static void replace(pattern_t *m, luaL_Buffer *b, const char *start, const char *end) {
  lua_State *L = m->L;
  int type = lua_type(L, 3);
  if (type == LUA_TSTRING || type == LUA_TNUMBER) {
    expand(m, b, start, end);
    return;
  }
  if (type == LUA_TFUNCTION) {
    lua_pushvalue(L, 3);
    lua_call(L, pattern_push_all(m, start, end, true), 1);
  } else {
    pattern_push(m, 0, start, end);
    lua_gettable(L, 3);
  }
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    luaL_addlstring(b, start, (size_t)(end - start));
  } else if (!lua_isstring(L, -1)) {
    luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  } else {
    luaL_addvalue(b);
  }
}

static int gsub(lua_State *L) {
  pattern_t m;
  luaL_Buffer b;
  read_pattern(L, &m, true);
  int type = lua_type(L, 3);
  luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                   "string/function/table");
  if (type == LUA_TNUMBER) lua_tostring(L, 3);
  lua_Integer most = luaL_optinteger(L, 4, m.subject_end - m.subject + 1), n = 0;
  const char *at = m.subject, *last = NULL;
  luaL_buffinit(L, &b);
  while (n < most) {
    policy_charge(L, 1);
    const char *end = pattern_at(&m, at);
    if (end && end != last) {
      n++;
      replace(&m, &b, at, end);
      at = last = end;
    } else if (at < m.subject_end) {
      luaL_addchar(&b, *at);
      at++;
    } else {
      break;
    }
    if (m.anchored) break;
  }
  luaL_addlstring(&b, at, (size_t)(m.subject_end - at));
  luaL_pushresult(&b);
  lua_pushinteger(L, n);
  return 2;
}

/* --- rep, format ----------------------------------------------------------------------------------------------------
 */

static int rep(lua_State *L) {
  size_t len, gap;
  const char *s = luaL_checklstring(L, 1, &len);
  lua_Integer n = luaL_checkinteger(L, 2);
  const char *sep = luaL_optlstring(L, 3, "", &gap);
  if (n <= 0 || len + gap == 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  if ((uint64_t)n > MAX_REPEAT / (len + gap)) return luaL_error(L, "resulting string too large");
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (lua_Integer i = 0; i < n; i++) {
    if (i) luaL_addlstring(&b, sep, gap);
    luaL_addlstring(&b, s, len);
  }
  luaL_pushresult(&b);
  return 1;
}

/* Lua's own, but %s of anything shows no address, and there is no %p. */
static int format(lua_State *L) {
  int n = lua_gettop(L), arg = 1;
  const char *f = luaL_checkstring(L, 1);
  for (; *f; f++) {
    if (*f != '%') continue;
    if (*++f == '%') continue;
    arg++;
    while (*f && strchr("-+ #0123456789.", *f)) f++;
    if (*f == 'p') return luaL_error(L, "invalid conversion '%%p' to 'format'");
    if (*f == 's' && arg <= n) {
      lua_pushcfunction(L, policy_tostring);
      lua_pushvalue(L, arg);
      lua_call(L, 1, 1);
      lua_replace(L, arg);
    }
    if (!*f) break;
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, n, 1);
  return 1;
}

void policy_open_strings(lua_State *L) {
  static const char *const gone[] = {"dump", "pack", "unpack", "packsize", NULL};
  static const luaL_Reg own[] = {{"find", find}, {"match", match}, {"gmatch", gmatch},
                                 {"gsub", gsub}, {"rep", rep},     {NULL, NULL}};
  luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
  for (size_t i = 0; gone[i]; i++) {
    lua_pushnil(L);
    lua_setfield(L, -2, gone[i]);
  }
  luaL_setfuncs(L, own, 0);
  lua_getfield(L, -1, "format");
  lua_pushcclosure(L, format, 1);
  lua_setfield(L, -2, "format");
  lua_pop(L, 1);
  lua_pushliteral(L, "");
  lua_getmetatable(L, -1);
  lua_pushliteral(L, "string");
  lua_setfield(L, -2, "__metatable"); /* one script's change of it would be every string's */
  lua_pop(L, 2);
}
