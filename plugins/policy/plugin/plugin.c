/* The plugin: topics of plugins/contracts/policy.md, and the life of what it holds. */
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts.h"

static void on_load(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_error_t err = {0};
  bool replaced = false;
  kg_view_t args = kg_msg_args(m);
  kg_str_t source = kg_view_str(kg_view_get(args, "source"));
  char name[128];
  snprintf(name, sizeof name, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(args, "name"))));
  bool keep = kg_view_bool(kg_view_get(args, "keep"), true);
  script_t *s = source.p ? script_load(ctx, self, name, source, keep, &replaced, &err) : NULL;
  if (!s) {
    kg_fail(ctx, m, KG_EINVAL, "%s", source.p ? err.text : "policy.load needs the argument source");
    return;
  }
  kg_doc_t *doc = script_doc(s, replaced);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static void on_unload(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_error_t err = {0};
  if (script_unload(ctx, self, kg_view_str(kg_view_get(kg_msg_args(m), "name")), &err) < 0)
    kg_fail(ctx, m, err.code, "%s", err.text);
  else
    kg_reply(ctx, m, NULL, NULL, 0);
}

static void on_list(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_doc_t *doc = scripts_doc(self);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

/* --- any function ----------------------------------------------------------------------------------------------------
 */

static int function_of(script_t *s, kg_str_t name) {
  if (!kg_str_is(name, s->asked_name) || !s->asked) {
    snprintf(s->asked_name, sizeof s->asked_name, KG_STR_FMT, KG_STR_ARG(name));
    s->asked = policy_function(s->policy, s->asked_name);
  }
  return s->asked;
}

static void reply_result(kg_ctx_t *ctx, const kg_msg_t *m, policy_result_t *r) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "result");
  if (r->doc)
    kg_pack_view(&p, kg_view_of(r->doc));
  else if (r->type == KG_V_BOOL)
    kg_pack_bool(&p, r->truth);
  else if (r->type == KG_V_INT)
    kg_pack_int(&p, (int64_t)r->number);
  else if (r->type == KG_V_FLOAT)
    kg_pack_float(&p, r->number);
  else
    kg_pack_nil(&p);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static void on_call(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_view_t args = kg_msg_args(m);
  script_t *s = script_named(self, kg_view_str(kg_view_get(args, "name")));
  kg_str_t name = kg_view_str(kg_view_get(args, "function"));
  int fn = s ? function_of(s, name) : 0;
  policy_arg_t values[16];
  policy_result_t r;
  kg_error_t err = {0};
  size_t n = 0;
  if (!fn) {
    kg_fail(ctx, m, KG_ENOTFOUND, s ? "the policy has no function " KG_STR_FMT : "there is no such policy" KG_STR_FMT,
            KG_STR_ARG(s ? name : (kg_str_t){0}));
    return;
  }
  for (kg_iter_t it = kg_iter(kg_view_get(args, "args")); n < 16 && kg_iter_next(&it);)
    values[n++] = POLICY_ARG_VIEW(it.value);
  for (size_t i = 0; n < 16 && i < kg_msg_ndocs(m); i++) values[n++] = POLICY_ARG_VIEW(kg_view_of(kg_msg_doc(m, i)));
  if (script_call(s, fn, values, n, &r, &err) < 0) {
    kg_fail(ctx, m, KG_EINTERNAL, "%s", err.text);
    return;
  }
  reply_result(ctx, m, &r);
  policy_result_clear(&r);
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

static void log_line(void *ctx, const char *text) {
  kg_log(ctx, KG_LOG_INFO, "%s", text);
}

/* Files of the configuration; the last good one of before, if there is one, is what scripts_read_kept() finds. */
static int read_configured(kg_ctx_t *ctx, plugin_t *pl, kg_view_t config, kg_error_t *err) {
  for (kg_iter_t it = kg_iter(kg_view_get(config, "scripts")); kg_iter_next(&it);) {
    char path[4096], copy[4096];
    size_t size = 0;
    snprintf(path, sizeof path, KG_STR_FMT, KG_STR_ARG(kg_view_str(it.value)));
    snprintf(copy, sizeof copy, "%s", path);
    char *text = read_text(path, POLICY_MAX_SOURCE, &size, err), *name = basename(copy), *dot = strrchr(name, '.');
    if (dot) *dot = 0;
    script_t *s = text ? script_load(ctx, pl, name, (kg_str_t){text, size}, false, NULL, err) : NULL;
    free(text);
    if (!s) return -1;
  }
  return 0;
}

static void read_limits(plugin_t *pl, kg_view_t config) {
  pl->options.time_us = kg_view_int(kg_view_get(config, "time_ms"), 20) * 1000;
  pl->options.memory = (size_t)kg_view_int(kg_view_get(config, "memory_bytes"), 8 << 20);
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  plugin_t *pl = self;
  while (pl->scripts) {
    script_t *s = pl->scripts;
    pl->scripts = s->next;
    script_free(s);
  }
  free(pl);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  plugin_t *pl = calloc(1, sizeof *pl);
  if (!pl) return kg_error_set(err, KG_EFULL, "out of memory");
  kg_view_t config = kg_config(ctx);
  snprintf(pl->offline, sizeof pl->offline, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(config, "offline"))));
  pl->options.log = log_line;
  pl->options.log_arg = ctx;
  read_limits(pl, config);
  scripts_read_kept(ctx, pl);
  if (read_configured(ctx, pl, config, err) < 0) {
    destroy(ctx, pl);
    return -1;
  }
  *self = pl;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_ready(ctx);
  return 0;
}

static int configure(kg_ctx_t *ctx, void *self, kg_view_t config, kg_error_t *err) {
  read_limits(self, config);
  return read_configured(ctx, self, config, err);
}

static void activate(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_publish(ctx, "policy.changed", NULL, NULL, 0);
}

static int hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx;
  plugin_t *pl = self;
  kg_pack_t p = kg_pack();
  kg_pack_array(&p);
  for (script_t *s = pl->scripts; s; s = s->next) {
    kg_pack_map(&p);
    kg_pack_kv_str(&p, "name", s->name);
    kg_pack_kv_str(&p, "source", s->source);
    kg_pack_kv_bool(&p, "kept", s->kept);
    kg_pack_kv_int(&p, "version", s->version);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  *state = kg_pack_doc(&p);
  return *state ? 0 : kg_error_set(err, KG_EFULL, "out of memory");
}

static int accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  for (kg_iter_t it = kg_iter(state); kg_iter_next(&it);) {
    char name[128];
    snprintf(name, sizeof name, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(it.value, "name"))));
    script_t *s = script_load(ctx, self, name, kg_view_str(kg_view_get(it.value, "source")), false, NULL, err);
    if (!s) return kg_error_prefix(err, "the predecessor's policy %s cannot be taken over", name);
    s->kept = kg_view_bool(kg_view_get(it.value, "kept"), false);
    s->version = kg_view_int(kg_view_get(it.value, "version"), 1);
  }
  return 0;
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  const plugin_t *pl = self;
  int64_t n = 0, calls = 0, errors = 0, memory = 0;
  for (const script_t *s = pl->scripts; s; s = s->next) {
    n++;
    calls += (int64_t)s->calls;
    errors += (int64_t)s->errors;
    memory += (int64_t)policy_memory(s->policy);
  }
  kg_pack_kv_int(p, "policies", n);
  kg_pack_kv_int(p, "calls", calls);
  kg_pack_kv_int(p, "errors", errors);
  kg_pack_kv_int(p, "memory", memory);
}

static const char *const services[] = {"policy", "cli/policy", NULL};
static const kg_handler_t handlers[] = {
    {"policy.admit", on_admit}, {"policy.wanted", on_wanted},  {"policy.call", on_call},
    {"policy.load", on_load},   {"policy.list", on_list},      {"policy.unload", on_unload},
    {"cli.run", on_cli},        {"cli.complete", on_complete}, {0}};
KG_PLUGIN(.name = "policy", .config_keys = "scripts time_ms memory_bytes offline", .role = "policy", .version = "0.1.0",
          .summary = "Decisions in Lua.", .services = services, .handlers = handlers, .create = create, .start = start,
          .activate = activate, .configure = configure, .hand_over = hand_over, .accept = accept, .stats = stats,
          .destroy = destroy);
