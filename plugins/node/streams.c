/* node.exec, node.attach. */
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
