/* kogge policy load FILE | list | unload NAME | test FILE --input FILE */
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kogge/yaml.h"
#include "scripts.h"

typedef struct cli {
  kg_ctx_t *ctx;
  plugin_t *pl;
  const kg_msg_t *m;
  const char *words[4], *input;
  char text[8][4096], cwd[4096];
  int count;
  bool json, help;
  kube_buf_t *out, *err; /* sent at the end, in one piece each: credit is for items */
} cli_t;

static void send_text(const cli_t *c, const char *key, const kube_buf_t *b) {
  if (!b->n) return;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, key);
  kg_pack_bin(&p, b->p, b->n);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_stream_item(c->ctx, c->m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static void say(const cli_t *c, const char *key, const char *fmt, ...) KG_PRINTF(3, 4);
static void say(const cli_t *c, const char *key, const char *fmt, ...) {
  char *text = NULL;
  va_list ap;
  va_start(ap, fmt);
  int n = vasprintf(&text, fmt, ap);
  va_end(ap);
  if (n > 0) kube_buf_add(*key == 'o' ? c->out : c->err, text, (size_t)n);
  free(text);
}

static int complain(const cli_t *c, const kg_error_t *err) {
  say(c, "err", "kogge: %s\n", err->text);
  return 1;
}

static int usage(const cli_t *c) {
  say(c, c->help ? "out" : "err",
      "usage: kogge policy load FILE                  puts a script in force; a bad one leaves the last good one\n"
      "       kogge policy list                       what is in force\n"
      "       kogge policy unload NAME                takes it out\n"
      "       kogge policy test FILE --input FILE     runs its functions on an object (YAML or JSON), or on a map of\n"
      "                                               object, old, node, n, objects; needs no server\n");
  return c->help ? 0 : 2;
}

static void path_of(const cli_t *c, const char *file, char out[8200]) {
  snprintf(out, 8200, "%s%s%s", *file == '/' ? "" : c->cwd, *file == '/' ? "" : "/", file);
}

/* The script's text, and its name: the file's without its ending. Caller frees. */
static char *read_script(const cli_t *c, const char *file, char name[256], size_t *size, kg_error_t *err) {
  char path[8200], copy[8200];
  path_of(c, file, path);
  snprintf(copy, sizeof copy, "%s", path);
  snprintf(name, 256, "%s", basename(copy));
  char *dot = strrchr(name, '.');
  if (dot && dot != name) *dot = 0;
  return read_text(path, POLICY_MAX_SOURCE, size, err);
}

/* Takes over the reference. */
static int print(const cli_t *c, kg_doc_t *doc) {
  char *json = kg_view_to_json(kg_view_of(doc));
  say(c, "out", "%s\n", json ? json : "null");
  free(json);
  kg_doc_unref(doc);
  return 0;
}

static int load(const cli_t *c) {
  char name[256];
  size_t size = 0;
  kg_error_t err = {0};
  bool replaced = false;
  char *text = read_script(c, c->words[1], name, &size, &err);
  script_t *s = text ? script_load(c->ctx, c->pl, name, (kg_str_t){text, size}, true, &replaced, &err) : NULL;
  free(text);
  if (!s) return complain(c, &err);
  if (c->json) return print(c, script_doc(s, replaced));
  say(c, "out", "policy %s, version %lld, %s:", s->name, (long long)s->version,
      replaced ? "is in force in the place of the one before" : "is in force");
  for (int i = 0; i < FN_COUNT; i++)
    if (s->fn[i]) say(c, "out", " %s", function_names[i]);
  say(c, "out", "\n");
  return 0;
}

static int list(const cli_t *c) {
  if (c->json) return print(c, scripts_doc(c->pl));
  say(c, "out", "%-24s %7s %-8s %-20s %10s %8s %9s %-7s %s\n", "NAME", "VERSION", "DIGEST", "FUNCTIONS", "CALLS",
      "ERRORS", "MEMORY", "STATE", "NOTE");
  for (script_t *s = c->pl->scripts; s; s = s->next) {
    char functions[128] = "";
    for (int i = 0, n = 0; i < FN_COUNT; i++)
      if (s->fn[i]) n += snprintf(functions + n, sizeof functions - (size_t)n, "%s%s", n ? "," : "", function_names[i]);
    say(c, "out", "%-24s %7lld %-8s %-20s %10llu %8llu %8zuK %-7s %s\n", s->name, (long long)s->version, s->digest,
        functions, (unsigned long long)s->calls, (unsigned long long)s->errors, policy_memory(s->policy) >> 10,
        s->stale[0] ? "stale" : "current", s->stale[0] ? s->stale : s->last_error);
  }
  return 0;
}

/* --- test -----------------------------------------------------------------------------------------------------------
 */

static void resource_of(kg_view_t object, admission_t *a) {
  kg_str_t api = kg_view_str(kg_view_get(object, "apiVersion"));
  const char *slash = api.p ? memchr(api.p, '/', api.n) : NULL;
  kg_str_t group = slash ? (kg_str_t){api.p, (size_t)(slash - api.p)} : (kg_str_t){"", 0};
  kg_str_t version = slash ? (kg_str_t){slash + 1, api.n - group.n - 1} : api;
  const kube_resource_t *r = kube_resource_by_kind(group, version, kg_view_str(kg_view_get(object, "kind")));
  kg_view_t meta = kg_view_get(object, "metadata");
  if (!a->operation.n) a->operation = KG_STR("CREATE");
  if (!a->ns.p) a->ns = kg_view_str(kg_view_get(meta, "namespace"));
  if (!a->name.p) a->name = kg_view_str(kg_view_get(meta, "name"));
  if (!a->resource.n) a->group = group, a->version = version, a->resource = kg_str(r ? r->resource : "");
}

typedef struct test {
  const cli_t *c;
  kube_buf_t json;
  bool failed;
} test_t;

static void told(test_t *t, const char *fn, const char *word, kg_str_t text, bool quote) {
  if (!t->c->json) {
    say(t->c, "out", "%-10s %s%s" KG_STR_FMT "\n", fn, word, text.n && *word ? ": " : "", KG_STR_ARG(text));
    return;
  }
  kube_buf_fmt(&t->json, "%s\"%s\":{\"result\":", t->json.n ? "," : "{", fn);
  kube_json_string(&t->json, kg_str(word));
  kube_buf_addz(&t->json, ",\"value\":");
  if (quote || !text.n)
    kube_json_string(&t->json, text);
  else
    kube_buf_add(&t->json, text.p, text.n);
  kube_buf_addz(&t->json, "}");
}

static void test_mutate(test_t *t, script_t *s, admission_t *a, kg_doc_t **changed) {
  kg_error_t err = {0};
  if (script_mutate(s, a, changed, &err) < 0) {
    t->failed = true;
    told(t, "mutate", "failed", kg_str(err.text), true);
    return;
  }
  char *json = *changed ? kg_view_to_json(kg_view_of(*changed)) : NULL;
  told(t, "mutate", *changed ? "changed" : "unchanged", kg_str(json ? json : ""), false);
  free(json);
  if (*changed) a->object = kg_view_of(*changed);
}

static void test_validate(test_t *t, script_t *s, const admission_t *a) {
  kg_error_t err = {0};
  int rc = script_validate(s, a, &err);
  t->failed |= rc < 0;
  told(t, "validate", rc < 0 ? "failed" : rc ? "denied" : "allowed", kg_str(err.text), true);
}

static void told_result(test_t *t, function_t fn, int rc, policy_result_t *r, const kg_error_t *err) {
  if (rc < 0) {
    t->failed = true;
    told(t, function_names[fn], "failed", kg_str(err->text), true);
    return;
  }
  char number[40];
  snprintf(number, sizeof number, r->type == KG_V_BOOL ? (r->truth ? "true" : "false") : "%.14g", r->number);
  char *json = r->doc ? kg_view_to_json(kg_view_of(r->doc)) : NULL;
  told(t, function_names[fn], "gave", kg_str(json ? json : r->type == KG_V_NIL ? "null" : number), false);
  free(json);
  policy_result_clear(r);
}

static void test_value(test_t *t, script_t *s, function_t fn, kg_view_t input) {
  policy_arg_t args[3];
  policy_result_t r;
  kg_error_t err = {0};
  kg_doc_t *sample = policy_sample(NULL);
  size_t n = policy_scoring_args(input, kg_view_of(sample), args);
  int rc = script_call(s, s->fn[fn], args, n, &r, &err);
  kg_doc_unref(sample);
  told_result(t, fn, rc, &r, &err);
}

static void test_reconcile(test_t *t, script_t *s, kg_view_t input) {
  policy_result_t r;
  kg_error_t err = {0};
  int rc = script_reconcile(t->c->ctx, s, input, &r, &err);
  told_result(t, FN_RECONCILE, rc, &r, &err);
}

static int run_test(const cli_t *c, script_t *s, kg_view_t input) {
  test_t t = {.c = c};
  kg_doc_t *changed = NULL;
  bool bare = kg_view_there(kg_view_get(input, "kind"));
  admission_t a = admission_of(input, bare ? input : kg_view_get(input, "object"),
                               bare ? (kg_view_t){0} : kg_view_get(input, "old"));
  resource_of(kg_view_there(a.object) ? a.object : a.old, &a);
  bool wanted = script_wants(s, &a);
  if (!wanted && (s->fn[FN_MUTATE] || s->fn[FN_VALIDATE])) told(&t, "match", "not wanted", (kg_str_t){0}, true);
  if (wanted && s->fn[FN_MUTATE]) test_mutate(&t, s, &a, &changed);
  if (wanted && s->fn[FN_VALIDATE]) test_validate(&t, s, &a);
  if (s->fn[FN_FILTER]) test_value(&t, s, FN_FILTER, input);
  if (s->fn[FN_SCORE]) test_value(&t, s, FN_SCORE, input);
  if (s->fn[FN_RECONCILE]) test_reconcile(&t, s, input);
  if (c->json) say(c, "out", "%.*s}\n", (int)t.json.n, t.json.p ? t.json.p : "{");
  kube_buf_free(&t.json);
  kg_doc_unref(changed);
  return t.failed ? 1 : 0;
}

/* Makes the script just for this: what is in force is not touched. */
static int test_on(const cli_t *c, kg_view_t input) {
  char name[256];
  size_t size = 0;
  kg_error_t err = {0};
  stock_t stock;
  stock_open(&stock, input);
  char *source = read_script(c, c->words[1], name, &size, &err);
  c->pl->options.documents = &stock.documents;
  script_t *s = source ? script_make(c->pl, name, (kg_str_t){source, size}, &err) : NULL;
  c->pl->options.documents = NULL;
  free(source);
  if (!s) return complain(c, &err);
  int code = run_test(c, s, input);
  script_free(s);
  return code;
}

static int test(const cli_t *c) {
  char path[8200];
  size_t n = 0;
  kg_error_t err = {0};
  path_of(c, c->input, path);
  char *text = read_text(path, 3u << 20, &n, &err);
  kg_doc_t *input = text ? kg_yaml_doc(c->input, text, n, &err) : NULL;
  int code = input ? test_on(c, kg_view_of(input)) : complain(c, &err);
  kg_doc_unref(input);
  free(text);
  return code;
}

/* --- words ----------------------------------------------------------------------------------------------------------
 */

static bool parse(cli_t *c) {
  kg_view_t args = kg_msg_args(c->m);
  int kept = 0;
  c->json = kg_str_is(kg_view_str(kg_view_get(args, "output")), "json");
  snprintf(c->cwd, sizeof c->cwd, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(args, "cwd"))));
  for (kg_iter_t it = kg_iter(kg_view_get(args, "argv")); kg_iter_next(&it); kept++) {
    if (kept == 8) return false;
    snprintf(c->text[kept], sizeof c->text[0], KG_STR_FMT, KG_STR_ARG(kg_view_str(it.value)));
  }
  for (int i = 0; i < kept; i++) {
    const char *word = c->text[i], *value = i + 1 < kept ? c->text[i + 1] : NULL;
    if (strcmp(word, "--input") == 0 && value)
      c->input = c->text[++i];
    else if (strncmp(word, "--input=", 8) == 0)
      c->input = word + 8;
    else if (strcmp(word, "--help") == 0 || (i == 0 && strcmp(word, "help") == 0))
      c->help = true;
    else if (*word == '-' || c->count == 4)
      return false;
    else
      c->words[c->count++] = word;
  }
  return true;
}

static int run(const cli_t *c) {
  kg_error_t err = {0};
  if (c->help || c->count == 0) return usage(c);
  if (c->count == 2 && strcmp(c->words[0], "test") == 0 && c->input) return test(c);
  if (c->pl->offline[0] && strcmp(c->words[0], "test") != 0) {
    say(c, "err", "kogge: no server answers at %s: only policy test works without one\n", c->pl->offline);
    return 1;
  }
  if (c->count == 2 && strcmp(c->words[0], "load") == 0) return load(c);
  if (c->count == 1 && strcmp(c->words[0], "list") == 0) return list(c);
  if (c->count != 2 || strcmp(c->words[0], "unload") != 0) return usage(c);
  if (script_unload(c->ctx, c->pl, kg_str(c->words[1]), &err) < 0) return complain(c, &err);
  say(c, "out", "policy %s is not in force any more\n", c->words[1]);
  return 0;
}

void on_cli(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  cli_t *c = calloc(1, sizeof *c);
  if (!c) {
    kg_fail(ctx, m, KG_EFULL, "out of memory");
    return;
  }
  c->ctx = ctx;
  c->pl = self;
  c->m = m;
  kube_buf_t out = {0}, err = {0};
  c->out = &out;
  c->err = &err;
  int code = parse(c) ? run(c) : usage(c);
  send_text(c, "out", &out);
  send_text(c, "err", &err);
  kube_buf_free(&out);
  kube_buf_free(&err);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "exit", code);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_stream_item(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
  kg_stream_end(ctx, m);
  free(c);
}

/* What may come next: a word, a file, a script in force. */
void on_complete(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  static const char *const words[] = {"load", "list", "unload", "test"};
  plugin_t *pl = self;
  kg_view_t argv = kg_view_get(kg_msg_args(m), "argv");
  kg_str_t word = kg_view_str(kg_view_at(argv, 0));
  bool tests = kg_str_is(word, "test");
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "words");
  kg_pack_array(&p);
  for (size_t i = 0; !word.n && i < sizeof words / sizeof *words; i++) kg_pack_str(&p, words[i]);
  for (script_t *s = pl->scripts; s && kg_str_is(word, "unload"); s = s->next) kg_pack_str(&p, s->name);
  if (tests) kg_pack_str(&p, "--input");
  kg_pack_end(&p);
  kg_pack_kv_bool(&p, "files", tests || kg_str_is(word, "load"));
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}
