/* node.exec, node.attach, node.stats. */
#include "node.h"

/* The running container that is meant; NULL: it was answered. */
static box_t *running_box(agent_t *a, const kg_msg_t *m) {
  pod_t *p;
  box_t *b = asked_box(a, m, &p);
  if (b && b->state == BOX_RUNNING) return b;
  if (b) kg_fail(a->ctx, m, KG_ENOTFOUND, "container not found (\"%s\")", b->name);
  return NULL;
}

static void open_stream(agent_t *a, const kg_msg_t *m, const char *topic) {
  static const char *const flags[] = {"tty", "stdin", "stdout", "stderr"};
  kg_view_t args = kg_msg_args(m), command = kg_view_get(args, "command");
  box_t *b = running_box(a, m);
  if (!b) return;
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "id", b->id);
  if (kg_view_there(command)) kg_pack_kv_view(&k, "command", command);
  for (size_t i = 0; i < 4; i++) kg_pack_kv_bool(&k, flags[i], kg_view_bool(kg_view_get(args, flags[i]), false));
  kg_pack_end(&k);
  relay_open(a, m, topic, kg_pack_doc(&k));
}

void node_exec(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  open_stream(self, m, "runtime.exec");
}

void node_attach(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  open_stream(self, m, "runtime.attach");
}

/* --- stats
 * ------------------------------------------------------------------------------------------------------------- */

static void stats_known(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  agent_t *a = self;
  kg_msg_t *request = arg;
  kg_pack_t k = kg_pack();
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    kg_fail(ctx, request, kg_msg_code(m), "%s", kg_msg_text(m));
    kg_msg_unref(request);
    return;
  }
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "node", a->name);
  kg_pack_key(&k, "containers");
  kg_pack_array(&k);
  for (kg_iter_t it = kg_iter(kg_view_get(kg_msg_args(m), "containers")); kg_iter_next(&it);) {
    box_t *b = agent_box(a, VIEW_STR(it.value, "id"));
    if (!b) continue;
    kg_pack_map(&k);
    kg_pack_kv_str(&k, "ns", b->pod->ns);
    kg_pack_kv_str(&k, "pod", b->pod->name);
    kg_pack_kv_str(&k, "container", b->name);
    static const char *const numbers[] = {"cpu_ns", "memory_bytes", "memory_ws"};
    for (size_t i = 0; i < 3; i++) kg_pack_kv_int(&k, numbers[i], kg_view_int(kg_view_get(it.value, numbers[i]), 0));
    kg_pack_end(&k);
  }
  kg_pack_end(&k);
  kg_pack_end(&k);
  kg_doc_t *args = kg_pack_doc(&k);
  kg_reply(ctx, request, args, NULL, 0);
  kg_doc_unref(args);
  kg_msg_unref(request);
}

void node_stats(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  agent_t *a = self;
  kg_send(ctx,
          &(kg_request_t){.service = a->runtime, .topic = "runtime.stats", .fn = stats_known, .arg = kg_msg_ref(m)});
}
