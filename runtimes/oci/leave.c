/*
 * Another plugin takes this one's place. To its like it leaves everything as it is, on disk and in the system, when
 * what was under way is done. A runtime of another kind refuses that; by force it then gets a node without pods: they
 * are ended and taken away here, where they are known, and the agent starts them anew with the other.
 */
#include <stdio.h>
#include <unistd.h>

#include "kube/runtime.h"
#include "oci.h"

enum { LOOK_MS = 5, FINISH_MS = 2000, GRACE_MS = 1500, KILLED_MS = 500 };

static bool under_way(const oci_t *o) {
  for (const container_t *c = o->containers; c; c = c->next)
    if (c->work || c->start || c->removing) return true;
  for (const sandbox_t *s = o->sandboxes; s; s = s->next)
    if (s->making) return true;
  return o->detaching || images_busy(o->images);
}

static bool later(const oci_t *o) {
  return kg_now_ms(o->ctx) >= o->leave_by;
}

/* --- by force
 * -------------------------------------------------------------------------------------------------------------- */

static bool any_runs(const oci_t *o) {
  for (const container_t *c = o->containers; c; c = c->next)
    if (c->state != C_EXITED) return true;
  return false;
}

static void sandbox_gone(oci_t *o, sandbox_t *s) {
  char path[PATH_SIZE], *uid = text_of(kg_view_of(s->args), "uid");
  if (uid) cgroup_remove(o, uid);
  free(uid);
  snprintf(path, sizeof path, "%s/sandboxes/%s", o->dir, s->id);
  unlink(path);
  o->sandboxes = s->next;
  sandbox_free(s);
}

/* Nothing runs, nothing has an address. */
static void all_gone(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  oci_t *o = self;
  while (o->sandboxes) sandbox_gone(o, o->sandboxes);
  kg_drained(ctx);
}

static void let_go(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  oci_t *o = self;
  if (m && kg_msg_type(m) == KG_MSG_ERROR)
    kg_log(ctx, KG_LOG_WARN, "an address was not given back: %s", kg_msg_text(m));
  if (--o->detaching) return;
  for (const sandbox_t *s = o->sandboxes; s; s = s->next) sandbox_drop_namespaces(o, s->id);
  kg_timer(ctx, LOOK_MS, 0, all_gone, NULL); /* groups are empty when the last process is */
}

static void take_away(oci_t *o) {
  while (o->containers) container_drop(o->containers);
  o->detaching = 1; /* until all are asked */
  for (const sandbox_t *s = o->sandboxes; s; s = s->next) {
    char *uid = text_of(kg_view_of(s->args), "uid");
    if (uid) cgroup_kill(o, uid, NULL);
    free(uid);
    if (s->host_net) continue;
    o->detaching++;
    sandbox_detach(o, s, let_go, NULL);
  }
  let_go(o->ctx, o, NULL, NULL);
}

static void await_ends(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  oci_t *o = self;
  if (any_runs(o) && !later(o))
    kg_timer(ctx, LOOK_MS, 0, await_ends, NULL);
  else
    take_away(o);
}

/* Written down before anything ends: should kogge be killed meanwhile, nobody takes up a sandbox without an address. */
static void none_is_ready(oci_t *o) {
  kg_error_t err;
  for (sandbox_t *s = o->sandboxes; s; s = s->next) {
    s->ready = false;
    if (record_sandbox(o, s, &err) < 0) kg_log(o->ctx, KG_LOG_WARN, "sandbox %s: %s", s->id, err.text);
  }
}

static void end_all(oci_t *o) {
  size_t n = 0;
  none_is_ready(o);
  watchers_end(o); /* what ends now is no container's own doing */
  for (container_t *c = o->containers; c; c = c->next) {
    if (c->state == C_EXITED) continue;
    n++;
    container_end(c, GRACE_MS);
  }
  kg_log(o->ctx, KG_LOG_WARN, "another kind of runtime takes over: %zu containers are ended", n);
  o->leave_by = kg_now_ms(o->ctx) + GRACE_MS + KILLED_MS;
  await_ends(o->ctx, o, NULL);
}

/* --- steps of the plugin's life
 * --------------------------------------------------------------------------------------------- */

static void await_work(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  oci_t *o = self;
  if (under_way(o) && !later(o)) {
    kg_timer(ctx, LOOK_MS, 0, await_work, NULL);
    return;
  }
  if (kg_forced(ctx)) return end_all(o);
  kg_fd_forget(ctx, o->exits_fd); /* closed later: that takes a while. What it tells meanwhile stays in it */
  kg_drained(ctx);
}

/* It goes on, with what ended meanwhile. */
void runtime_resume(kg_ctx_t *ctx, void *self) {
  kg_error_t err;
  if (exits_follow(self, &err) < 0) kg_log(ctx, KG_LOG_ERROR, "%s", err.text);
}

/* What takes longer, as a pull, is broken off: whoever asked for it asks the successor. */
void runtime_drain(kg_ctx_t *ctx, void *self) {
  oci_t *o = self;
  if (kg_forced(ctx)) runtime_resume(ctx, o); /* drained before */
  images_stop(o->images);
  o->leave_by = kg_now_ms(ctx) + FINISH_MS;
  await_work(ctx, o, NULL);
}

int runtime_hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "runtime", "oci");
  kg_pack_key(&p, "sandboxes");
  pack_sandboxes(&p, self);
  kg_pack_end(&p);
  *state = kg_pack_doc(&p);
  return *state ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

/* Of its like's pods all is on disk: activate() reads it. */
int runtime_accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx, (void)self;
  return kube_runtime_takes(state, "oci", err) < 0 ? -1 : 0;
}
