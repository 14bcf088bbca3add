/* The plugin in a kernel under virtual time: what is in force, what it decides, what a swap leaves. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kogge/sim.h"
#include "kogge/yaml.h"

static kg_kernel_t *k;
static kg_ctx_t *asker;

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)self, (void)err;
  asker = ctx;
  return 0;
}

static const kg_plugin_t asker_plugin = {.magic = KG_PLUGIN_MAGIC,
                                         .abi = KG_PLUGIN_ABI,
                                         .size = sizeof(kg_plugin_t),
                                         .name = "asker",
                                         .role = "asker",
                                         .version = "1",
                                         .create = create};

static void begin(void) {
  kg_error_t err = {0};
  k = kg_kernel_new(&(kg_kernel_options_t){.log_level = KG_LOG_ERROR, .plugin_path = PLUGINS}, &err);
  cr_assert(k, "%s", err.text);
  cr_assert_eq(kg_sim_begin(k, &(kg_sim_options_t){.seed = 1}, &err), 0);
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "asker", .descriptor = &asker_plugin}, &err), 0);
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "policy", .file = "policy.so"}, &err), 0, "%s", err.text);
}

static void end(void) {
  char command[4200];
  snprintf(command, sizeof command, "rm -rf '%s/policy'", kg_data_dir(asker));
  cr_assert_eq(system(command), 0);
  kg_kernel_free(k);
}

static void keep(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  *(kg_msg_t **)arg = kg_msg_ref(m);
}

/* Caller unrefs the answer. */
static kg_msg_t *ask(const char *topic, kg_doc_t *args, const char *object) {
  kg_msg_t *answer = NULL;
  kg_error_t err = {0};
  kg_doc_t *doc = object ? kg_yaml_doc("object", object, strlen(object), &err) : NULL;
  kg_send(asker, &(kg_request_t){.service = "policy",
                                 .topic = topic,
                                 .args = args,
                                 .docs = &doc,
                                 .ndocs = doc ? 1 : 0,
                                 .fn = keep,
                                 .arg = &answer});
  cr_assert_eq(kg_sim_run(k, kg_sim_now_us(k) + 1000000, &err), 0);
  cr_assert(answer);
  kg_doc_unref(doc);
  kg_doc_unref(args);
  return answer;
}

static kg_msg_t *put(const char *name, const char *source) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", name);
  kg_pack_kv_str(&p, "source", source);
  kg_pack_end(&p);
  return ask("policy.load", kg_pack_doc(&p), NULL);
}

static void expect_put(const char *name, const char *source, bool good, const char *words) {
  kg_msg_t *m = put(name, source);
  cr_assert_eq(kg_msg_type(m), good ? KG_MSG_REPLY : KG_MSG_ERROR, "%s", kg_msg_text(m));
  cr_assert(strstr(kg_msg_text(m), words), "%s", kg_msg_text(m));
  kg_msg_unref(m);
}

static kg_msg_t *admit(const char *resource, const char *object) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "operation", "CREATE");
  kg_pack_kv_str(&p, "g", "");
  kg_pack_kv_str(&p, "v", "v1");
  kg_pack_kv_str(&p, "r", resource);
  kg_pack_kv_str(&p, "ns", "shop");
  kg_pack_end(&p);
  return ask("policy.admit", kg_pack_doc(&p), object);
}

static void expect_admit(const char *object, bool allowed, const char *message) {
  kg_msg_t *m = admit("pods", object);
  kg_view_t args = kg_msg_args(m);
  cr_assert_eq(kg_view_bool(kg_view_get(args, "allowed"), !allowed), allowed);
  kg_str_t text = kg_view_str(kg_view_get(args, "message"));
  cr_assert(!message || (text.p && memmem(text.p, text.n, message, strlen(message))), KG_STR_FMT, KG_STR_ARG(text));
  kg_msg_unref(m);
}

#define POD(name) "{kind: Pod, metadata: {name: " name "}, spec: {containers: [{name: c, image: x}]}}"

Test(plugin, the_last_good_one_stays, .init = begin, .fini = end) {
  expect_put("names", "function validate(r) return r.object.metadata.name ~= 'bad' or 'a bad name' end", true, "");
  expect_admit(POD("good"), true, NULL);
  expect_admit(POD("bad"), false, "a bad name");
  expect_put("names", "function validate(r) return tru", false, "the last good one stays in force");
  expect_put("names", "function validate(r) return r.object.nothing.here end", false, "tried on a sample");
  expect_put("names", "function validate(r) while true do end end", false, "processor time");
  expect_admit(POD("bad"), false, "a bad name");
  kg_msg_t *m = ask("policy.list", NULL, NULL);
  kg_view_t first = kg_view_at(kg_view_get(kg_msg_args(m), "policies"), 0);
  kg_str_t stale = kg_view_str(kg_view_get(first, "stale"));
  cr_assert(stale.n, "it does not say that a newer one was refused");
  kg_msg_unref(m);
  expect_put("names", "function validate(r) return true end", true, "");
  expect_admit(POD("bad"), true, NULL);
}

Test(plugin, changes_come_before_checks, .init = begin, .fini = end) {
  expect_put("z-team",
             "match = {resources = {'pods'}} function mutate(r) "
             "return {metadata = {labels = {team = r.namespace}}, spec = {hostNetwork = null}} end",
             true, "");
  expect_put("a-check",
             "function validate(r) return r.object('metadata', 'labels', 'team') == 'shop' or 'no team' end "
             "sample = {object = {metadata = {labels = {team = 'shop'}}}}",
             true, "");
  kg_msg_t *m = admit("pods", POD("a"));
  cr_assert(kg_view_bool(kg_view_get(kg_msg_args(m), "changed"), false));
  kg_view_t team = kg_view_path(kg_view_of(kg_msg_doc(m, 0)), "metadata", "labels", "team", NULL);
  cr_assert(kg_str_is(kg_view_str(team), "shop"));
  kg_msg_unref(m);
  m = admit("secrets", POD("a")); /* not matched by the first, so the second refuses */
  cr_assert(!kg_view_bool(kg_view_get(kg_msg_args(m), "allowed"), true));
  kg_msg_unref(m);
}

Test(plugin, a_failing_script_denies_unless_it_says_otherwise, .init = begin, .fini = end) {
  const char *fails = "function validate(r) if r.object.metadata.name == 'x' then error('oh') end end";
  char lenient[200];
  snprintf(lenient, sizeof lenient, "on_error = 'allow' %s", fails);
  expect_put("f", fails, true, "");
  expect_admit(POD("x"), false, "oh");
  expect_put("f", lenient, true, "");
  expect_admit(POD("x"), true, NULL);
}

Test(plugin, a_swap_and_a_restart_keep_what_is_in_force, .init = begin, .fini = end) {
  kg_error_t err = {0};
  expect_put("never", "function validate(r) return r.object.metadata.name == 'sample' or 'never' end", true, "");
  cr_assert_eq(kg_kernel_swap(k, "policy", "policy.so", NULL, NULL, &err), 0, "%s", err.text);
  expect_admit(POD("x"), false, "never");
  cr_assert_eq(kg_kernel_unload(k, "policy", &err), 0);
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "policy", .file = "policy.so"}, &err), 0, "%s", err.text);
  expect_admit(POD("x"), false, "never");
}
