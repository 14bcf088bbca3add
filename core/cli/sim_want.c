/* Compares an answer with what a scenario wants of it. Keys of `want`:
 *   error: 409                  it is an error with this code
 *   count: N                    so many documents (of those that `where` picks)
 *   where: {PATH: VALUE}        looks only at such documents
 *   args.PATH: VALUE            something in the arguments
 *   docs.N.PATH, docs.*.PATH    something in a document, in all of them
 * A value is a scalar to be equal to, or a map of min, max, not, exists. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static kg_view_t follow(kg_view_t v, kg_str_t path) {
  while (path.n && kg_view_there(v)) {
    const char *dot = memchr(path.p, '.', path.n);
    size_t n = dot ? (size_t)(dot - path.p) : path.n;
    kg_str_t key = {path.p, n};
    v = kg_view_type(v) == KG_V_ARRAY ? kg_view_at(v, (size_t)strtoul(path.p, NULL, 10)) : kg_view_get_str(v, key);
    path.p += n + (dot != NULL);
    path.n -= n + (dot != NULL);
  }
  return v;
}

static bool is_number(kg_view_t v) {
  kg_vtype_t t = kg_view_type(v);
  return t == KG_V_INT || t == KG_V_UINT || t == KG_V_FLOAT;
}

static bool satisfies(kg_view_t is, kg_view_t wanted) {
  if (kg_view_type(wanted) != KG_V_MAP) return kg_view_equal(is, wanted);
  for (kg_iter_t it = kg_iter(wanted); kg_iter_next(&it);) {
    kg_str_t op = kg_view_str(it.key);
    double limit = kg_view_float(it.value, 0), value = kg_view_float(is, 0);
    if (kg_str_is(op, "min") && !(is_number(is) && value >= limit)) return false;
    if (kg_str_is(op, "max") && !(is_number(is) && value <= limit)) return false;
    if (kg_str_is(op, "not") && kg_view_equal(is, it.value)) return false;
    if (kg_str_is(op, "exists") && kg_view_there(is) != kg_view_bool(it.value, true)) return false;
    if (!kg_str_is(op, "min") && !kg_str_is(op, "max") && !kg_str_is(op, "not") && !kg_str_is(op, "exists"))
      return false;
  }
  return true;
}

static int complain(kg_str_t path, kg_view_t is, kg_view_t wanted, kg_error_t *err) {
  char *a = kg_view_there(is) ? kg_view_to_json(is) : NULL, *b = kg_view_to_json(wanted);
  kg_error_set(err, KG_EINVAL, KG_STR_FMT " is %.150s, wanted %.150s", KG_STR_ARG(path), a ? a : "absent", b ? b : "");
  free(a);
  free(b);
  return -1;
}

static bool picked(kg_view_t where, const kg_msg_t *m, size_t i) {
  for (kg_iter_t it = kg_iter(where); kg_iter_next(&it);)
    if (!satisfies(follow(kg_view_of(kg_msg_doc(m, i)), kg_view_str(it.key)), it.value)) return false;
  return true;
}

static int want_count(kg_view_t where, kg_view_t wanted, const kg_msg_t *m, kg_error_t *err) {
  int64_t n = 0;
  for (size_t i = 0; i < kg_msg_ndocs(m); i++) n += picked(where, m, i);
  kg_pack_t p = kg_pack();
  kg_pack_int(&p, n);
  kg_doc_t *doc = kg_pack_doc(&p);
  int rc = satisfies(kg_view_of(doc), wanted) ? 0 : complain(KG_STR("count"), kg_view_of(doc), wanted, err);
  kg_doc_unref(doc);
  return rc;
}

static int want_docs(kg_str_t path, kg_view_t where, kg_view_t wanted, const kg_msg_t *m, kg_error_t *err) {
  const char *dot = memchr(path.p, '.', path.n);
  kg_str_t rest = dot ? (kg_str_t){dot + 1, path.n - (size_t)(dot + 1 - path.p)} : (kg_str_t){"", 0};
  bool all = *path.p == '*';
  size_t only = all ? 0 : (size_t)strtoul(path.p, NULL, 10);
  for (size_t i = 0; all ? i < kg_msg_ndocs(m) : i == only; i++) {
    kg_view_t is = follow(kg_view_of(kg_msg_doc(m, i)), rest);
    if (picked(where, m, i) && !satisfies(is, wanted)) return complain(rest, is, wanted, err);
  }
  return 0;
}

int sim_want(kg_view_t want, const kg_msg_t *m, kg_error_t *err) {
  int64_t code = kg_view_int(kg_view_get(want, "error"), 0);
  kg_view_t where = kg_view_get(want, "where");
  if (kg_msg_type(m) == KG_MSG_ERROR && kg_msg_code(m) != code)
    return kg_error_set(err, kg_msg_code(m), "%s was answered with %d %s", kg_msg_topic(m), kg_msg_code(m),
                        kg_msg_text(m));
  if (kg_msg_type(m) != KG_MSG_ERROR && code)
    return kg_error_set(err, KG_EINVAL, "%s succeeded, wanted error %d", kg_msg_topic(m), (int)code);
  for (kg_iter_t it = kg_iter(want); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    int rc = 0;
    if (kg_str_is(key, "count"))
      rc = want_count(where, it.value, m, err);
    else if (key.n > 5 && memcmp(key.p, "args.", 5) == 0) {
      kg_view_t is = follow(kg_msg_args(m), (kg_str_t){key.p + 5, key.n - 5});
      if (!satisfies(is, it.value)) rc = complain(key, is, it.value, err);
    } else if (key.n > 5 && memcmp(key.p, "docs.", 5) == 0) {
      rc = want_docs((kg_str_t){key.p + 5, key.n - 5}, where, it.value, m, err);
    } else if (!kg_str_is(key, "error") && !kg_str_is(key, "where")) {
      rc = kg_error_set(err, KG_EINVAL, "nobody knows what is wanted of " KG_STR_FMT, KG_STR_ARG(key));
    }
    if (rc < 0) return -1;
  }
  return 0;
}
