#ifndef POLICY_INTERNAL_H
#define POLICY_INTERNAL_H
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <setjmp.h>

#include "kogge/guard.h"
#include "policy/policy.h"

#define MAX_STEPS 2000000 /* of work in C between which no instruction of the script runs, for one call */
#define MAX_RESULT (4u << 20)
#define MAX_LINES 20 /* of log in one call */

struct policy {
  lua_State *L;
  char *name;
  policy_options_t o;
  size_t used;
  kg_guard_t *guard;
  /* What the guard's tick looks at: it may come between any two instructions. */
  volatile unsigned calls, seen, same;
  volatile bool running, armed;
  uint32_t generation; /* views of an earlier one are void */
  uint64_t steps, random;
  int full_at; /* the line where memory ran out */
  int lines;
  int view_mt, array_mt; /* references in the registry */
};

static inline policy_t *policy_of(lua_State *L) {
  return *(policy_t **)lua_getextraspace(L);
}
/* Counts work that the guard cannot interrupt; raises an error when it is too much. */
void policy_charge(lua_State *L, uint64_t steps);

/* view.c: documents as userdata */
void policy_open_views(lua_State *L);
void policy_push_view(lua_State *L, kg_view_t v);         /* scalars as values */
const kg_view_t *policy_to_view(lua_State *L, int index); /* NULL: no view; raises an error if it is void */

/* value.c: results as msgpack. Raises errors: call it protected, with the packer outside. */
void policy_pack(lua_State *L, int index, kg_pack_t *p);
void policy_open_values(lua_State *L); /* array(), copy(), null */

/* documents.c */
void policy_open_documents(lua_State *L);

/* sandbox.c, tables.c, strings.c, pattern.c */
void policy_open_sandbox(lua_State *L);
void policy_open_tables(lua_State *L);
void policy_open_strings(lua_State *L);
int policy_tostring(lua_State *L); /* like tostring(), without addresses */
/* Pushes a list of the table's keys: numbers, strings, booleans in order; returns how many. */
lua_Integer policy_sorted_keys(lua_State *L, int table);

#endif
