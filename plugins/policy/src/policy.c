/* One script: its state, what it may use, calls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define DEFAULT_MEMORY (8u << 20)
#define DEFAULT_TIME_US 20000
#define TICKS 4 /* a call that has seen so many is over its time */

/* --- memory ---------------------------------------------------------------------------------------------------------
 */

/* The line of the script that runs; 0: none. Takes no memory. */
static int line_of(lua_State *L) {
  lua_Debug d;
  for (int level = 0; L && lua_getstack(L, level, &d); level++)
    if (lua_getinfo(L, "l", &d) && d.currentline > 0) return d.currentline;
  return 0;
}

static void *allocate(void *ud, void *ptr, size_t old, size_t size) {
  policy_t *p = ud;
  if (!ptr) old = 0;
  if (!size) {
    free(ptr);
    p->used -= old;
    return NULL;
  }
  if (size > old && p->used - old + size > p->o.memory) {
    if (p->running) p->full_at = line_of(p->L); /* nobody can ask afterwards */
    return NULL;
  }
  void *n = realloc(ptr, size);
  if (n) p->used += size - old;
  return n;
}

/* --- time -----------------------------------------------------------------------------------------------------------
 */

/* Set for every instruction once the time is over, so that no pcall() gets around it. */
static void over(lua_State *L, lua_Debug *d) {
  (void)d;
  const policy_t *p = policy_of(L);
  lua_pushfstring(L, "%s:%d: the script used more than its %d ms of processor time", p->name, line_of(L),
                  (int)(p->o.time_us / 1000));
  lua_error(L);
}

/* In a signal handler of the lane's own thread: lua_sethook() is made for that. */
static void tick(void *arg) {
  policy_t *p = arg;
  if (p->seen != p->calls) {
    p->seen = p->calls;
    p->same = 0;
    return;
  }
  if (++p->same < TICKS) return;
  if (p->running) {
    lua_sethook(p->L, over, LUA_MASKCOUNT | LUA_MASKCALL, 1);
  } else { /* nobody has called for a while: no more ticks */
    p->armed = false;
    kg_guard_arm(p->guard, false);
  }
}

static void begin(policy_t *p) {
  p->calls++;
  p->steps = 0;
  p->lines = 0;
  p->running = true;
  if (p->armed) return;
  p->same = 0;
  p->armed = true;
  kg_guard_arm(p->guard, true);
}

static void end(policy_t *p) {
  p->running = false;
  p->generation++;
  if (lua_gethookmask(p->L)) lua_sethook(p->L, NULL, 0, 0);
}

void policy_charge(lua_State *L, uint64_t steps) {
  policy_t *p = policy_of(L);
  p->steps += steps;
  if (p->steps > MAX_STEPS) luaL_error(L, "the script asked for too much work in one call");
}

/* --- errors ---------------------------------------------------------------------------------------------------------
 */

static int fail(policy_t *p, int status, kg_error_t *err) {
  const char *text = lua_type(p->L, -1) == LUA_TSTRING ? lua_tostring(p->L, -1) : NULL;
  if (status == LUA_ERRMEM)
    kg_error_set(err, KG_EFULL, "%s:%d: the script used more than its %zu KiB of memory", p->name, p->full_at,
                 p->o.memory >> 10);
  else
    kg_error_set(err, KG_EINVAL, "%s", text ? text : "the script raised an error that is no text");
  lua_settop(p->L, 0);
  return -1;
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

typedef struct loading {
  const char *name;
  kg_str_t source;
} loading_t;

static int open_all(lua_State *L) {
  const loading_t *l = lua_touserdata(L, 1);
  char chunk[300];
  policy_open_sandbox(L);
  policy_open_strings(L);
  policy_open_tables(L);
  policy_open_views(L);
  policy_open_values(L);
  policy_open_documents(L);
  snprintf(chunk, sizeof chunk, "@%s", l->name);
  if (luaL_loadbufferx(L, l->source.p, l->source.n, chunk, "t") != LUA_OK) lua_error(L);
  lua_call(L, 0, 0);
  return 0;
}

static int start(policy_t *p, kg_str_t source, kg_error_t *err) {
  if (source.n > POLICY_MAX_SOURCE) return kg_error_set(err, KG_ETOOBIG, "%s: the script is too long", p->name);
  p->guard = kg_guard_new(p->o.time_us / TICKS, tick, p, err);
  if (!p->guard) return -1;
  p->L = lua_newstate(allocate, p);
  if (!p->L) return kg_error_set(err, KG_EFULL, "%s: there is not enough memory for a script", p->name);
  *(policy_t **)lua_getextraspace(p->L) = p;
  loading_t l = {p->name, source};
  lua_pushcfunction(p->L, open_all);
  lua_pushlightuserdata(p->L, &l);
  begin(p);
  int status = lua_pcall(p->L, 1, 0, 0);
  end(p);
  return status == LUA_OK ? 0 : fail(p, status, err);
}

policy_t *policy_new(const char *name, kg_str_t source, const policy_options_t *o, kg_error_t *err) {
  policy_t *p = calloc(1, sizeof *p);
  char *copy = strdup(name);
  if (!p || !copy) {
    kg_error_set(err, KG_EFULL, "out of memory");
    free(p);
    free(copy);
    return NULL;
  }
  p->name = copy;
  p->o = o ? *o : (policy_options_t){0};
  if (!p->o.memory) p->o.memory = DEFAULT_MEMORY;
  if (!p->o.time_us) p->o.time_us = DEFAULT_TIME_US;
  p->random = p->o.seed;
  if (start(p, source, err) == 0) return p;
  policy_free(p);
  return NULL;
}

void policy_free(policy_t *p) {
  if (!p) return;
  kg_guard_free(p->guard);
  if (p->L) lua_close(p->L);
  free(p->name);
  free(p);
}

const char *policy_name(const policy_t *p) {
  return p->name;
}
size_t policy_memory(const policy_t *p) {
  return p->used;
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

static int find_function(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  lua_pushstring(L, lua_touserdata(L, 1));
  lua_rawget(L, -2);
  lua_pushinteger(L, lua_isfunction(L, -1) ? luaL_ref(L, LUA_REGISTRYINDEX) : 0);
  return 1;
}

int policy_function(policy_t *p, const char *name) {
  lua_State *L = p->L;
  lua_pushcfunction(L, find_function);
  lua_pushlightuserdata(L, (void *)(uintptr_t)name);
  int fn = lua_pcall(L, 1, 1, 0) == LUA_OK ? (int)lua_tointeger(L, -1) : 0;
  lua_settop(L, 0);
  return fn;
}

typedef struct call {
  int fn;
  const policy_arg_t *args;
  size_t n;
} call_t;

static void push(lua_State *L, const policy_arg_t *a) {
  switch (a->type) {
  case POLICY_NIL:
    lua_pushnil(L);
    break;
  case POLICY_BOOL:
    lua_pushboolean(L, a->b);
    break;
  case POLICY_INT:
    lua_pushinteger(L, a->i);
    break;
  case POLICY_NUMBER:
    lua_pushnumber(L, a->n);
    break;
  case POLICY_STR:
    a->s.p ? lua_pushlstring(L, a->s.p, a->s.n) : lua_pushnil(L);
    break;
  case POLICY_VIEW:
    policy_push_view(L, a->v);
    break;
  }
}

static int push_all(lua_State *L, const policy_arg_t *args, size_t n) {
  int count = 0;
  luaL_checkstack(L, (int)n + 4, NULL);
  for (size_t i = 0; i < n; i++, count++) {
    if (!args[i].key) {
      push(L, &args[i]);
      continue;
    }
    lua_createtable(L, 0, (int)(n - i));
    for (; i < n && args[i].key; i++) {
      push(L, &args[i]);
      lua_setfield(L, -2, args[i].key);
    }
    i--;
  }
  return count;
}

/* Strings and tables have to be made, which may fail: inside the protection of a call. */
static int make_and_call(lua_State *L) {
  const call_t *c = lua_touserdata(L, 1);
  lua_settop(L, 0);
  lua_rawgeti(L, LUA_REGISTRYINDEX, c->fn);
  lua_call(L, push_all(L, c->args, c->n), 2);
  return 2;
}

static bool plain(const policy_arg_t *args, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (args[i].key || args[i].type == POLICY_STR || args[i].type == POLICY_VIEW) return false;
  return n <= LUA_MINSTACK - 4;
}

static int invoke(policy_t *p, const call_t *c) {
  lua_State *L = p->L;
  if (plain(c->args, c->n)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->fn);
    for (size_t i = 0; i < c->n; i++) push(L, &c->args[i]);
    return lua_pcall(L, (int)c->n, 2, 0);
  }
  lua_pushcfunction(L, make_and_call);
  lua_pushlightuserdata(L, (void *)(uintptr_t)c);
  return lua_pcall(L, 1, 2, 0);
}

/* --- results --------------------------------------------------------------------------------------------------------
 */

static int pack_one(lua_State *L) {
  policy_pack(L, 1, lua_touserdata(L, 2));
  return 0;
}

static int to_doc(policy_t *p, int index, kg_doc_t **out, kg_error_t *err) {
  lua_State *L = p->L;
  kg_pack_t pack = kg_pack();
  lua_pushcfunction(L, pack_one);
  lua_pushvalue(L, index);
  lua_pushlightuserdata(L, &pack);
  int status = lua_pcall(L, 2, 0, 0);
  if (status != LUA_OK) {
    kg_pack_free(&pack);
    return fail(p, status, err);
  }
  *out = kg_pack_doc(&pack);
  return *out ? 0 : kg_error_set(err, KG_EFULL, "out of memory");
}

static int first_result(policy_t *p, policy_result_t *out, kg_error_t *err) {
  lua_State *L = p->L;
  out->truth = lua_toboolean(L, 1);
  switch (lua_type(L, 1)) {
  case LUA_TNIL:
    out->type = KG_V_NIL;
    return 0;
  case LUA_TBOOLEAN:
    out->type = KG_V_BOOL;
    return 0;
  case LUA_TNUMBER:
    out->type = lua_isinteger(L, 1) ? KG_V_INT : KG_V_FLOAT;
    out->number = lua_tonumber(L, 1);
    return 0;
  default:
    if (to_doc(p, 1, &out->doc, err) < 0) return -1;
    out->type = kg_view_type(kg_view_of(out->doc));
    return 0;
  }
}

int policy_call(policy_t *p, int fn, const policy_arg_t *args, size_t n, policy_result_t *out, kg_error_t *err) {
  call_t c = {fn, args, n};
  *out = (policy_result_t){0};
  begin(p);
  int status = invoke(p, &c), rc;
  if (status != LUA_OK)
    rc = fail(p, status, err);
  else if ((rc = first_result(p, out, err)) == 0 && !lua_isnil(p->L, 2))
    rc = to_doc(p, 2, &out->extra, err);
  lua_settop(p->L, 0);
  end(p);
  if (rc < 0) policy_result_clear(out);
  return rc;
}

static int get_global(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  lua_pushstring(L, lua_touserdata(L, 1));
  lua_rawget(L, -2);
  return 1;
}

int policy_global(policy_t *p, const char *name, kg_doc_t **out, kg_error_t *err) {
  *out = NULL;
  begin(p);
  lua_pushcfunction(p->L, get_global);
  lua_pushlightuserdata(p->L, (void *)(uintptr_t)name);
  int status = lua_pcall(p->L, 1, 1, 0);
  int rc = status != LUA_OK ? fail(p, status, err) : lua_isnil(p->L, 1) ? 0 : to_doc(p, 1, out, err);
  lua_settop(p->L, 0);
  end(p);
  return rc;
}
