/* A command in a pretended container ends at once, as the script says: so probes and hooks by exec go, too. */
#include <stdio.h>

#include "sim.h"

static int64_t code_now(const container_t *c) {
  const script_t *s = &c->script;
  int64_t ran_ms = (kg_wall_us(c->sim->ctx) - c->started_us) / 1000;
  bool well = s->ready_after >= 0 && ran_ms >= s->ready_after && (s->unready_after < 0 || ran_ms < s->unready_after);
  return well || s->exec_code ? s->exec_code : 1;
}

static void send_item(kg_ctx_t *ctx, const kg_msg_t *m, kg_pack_t *p) {
  kg_pack_end(p);
  kg_doc_t *item = kg_pack_doc(p);
  kg_stream_item(ctx, m, item, NULL, 0);
  kg_doc_unref(item);
}

void runtime_exec(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_str_t id = kg_view_str(kg_view_get(kg_msg_args(m), "id"));
  const container_t *c = container_find(self, id);
  if (!c || c->state != C_RUNNING)
    return kg_fail(ctx, m, KG_ENOTFOUND, "container " KG_STR_FMT " is not running", KG_STR_ARG(id));
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "fd", 2);
  char text[300];
  int n = snprintf(text, sizeof text, "(simulated) container %.200s: nothing runs in it\n", c->name);
  kg_pack_key(&p, "data");
  kg_pack_bin(&p, text, (size_t)n);
  send_item(ctx, m, &p);
  p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "exit", code_now(c));
  send_item(ctx, m, &p);
  kg_stream_end(ctx, m);
}
