/* get() and list(): documents that the host has at hand, as views. */
#include "internal.h"

static int collection(lua_State *L, const policy_documents_t *d) {
  kg_str_t name;
  name.p = luaL_checklstring(L, 1, &name.n);
  int i = d->find(d->arg, name);
  if (i < 0) luaL_error(L, "%s is not watched", name.p);
  return i;
}

static kg_str_t text(lua_State *L, int index) {
  size_t n;
  const char *p = luaL_optlstring(L, index, "", &n);
  return (kg_str_t){p, n};
}

/* get(COLLECTION, NAMESPACE, NAME): the object, or nil. */
static int get(lua_State *L) {
  const policy_documents_t *d = policy_of(L)->o.documents;
  int i = collection(L, d);
  policy_push_view(L, d->get(d->arg, i, text(L, 2), text(L, 3)));
  return 1;
}

/* list(COLLECTION[, NAMESPACE]): all objects, in order of namespace and name. */
static int list(lua_State *L) {
  const policy_documents_t *d = policy_of(L)->o.documents;
  int c = collection(L, d);
  kg_str_t ns = text(L, 2);
  kg_view_t v;
  lua_newtable(L);
  for (size_t i = 0; d->at(d->arg, c, ns, i, &v); i++) {
    policy_charge(L, 1);
    policy_push_view(L, v);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

void policy_open_documents(lua_State *L) {
  if (!policy_of(L)->o.documents) return;
  lua_register(L, "get", get);
  lua_register(L, "list", list);
}
