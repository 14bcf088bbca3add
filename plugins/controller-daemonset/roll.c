#include <string.h>

#include "daemonset.h"

/* --- one on each node --------------------------------------------------------------------------------------------- */

enum { WAIT_MS = 1000, WAIT_LAST_MS = 15 * 60 * 1000 };

/* Milliseconds until a failed pod of that node may go: one that fails at once, again and again, is made ever more
 * seldom. */
static int64_t failure_wait(pass_t *p, const place_t *at) {
  int64_t seen = kg_view_int(kg_view_path(p->object, "status", "observedGeneration", NULL), 0), now = kg_now_ms(p->ctx);
  uint64_t key = kg_hash_str(kg_hash_str(KG_HASH_START + (uint64_t)seen, kube_uid(p->object)), at->name);
  failure_t *f = &p->c->failures[key % FAILURES];
  if (f->key != key || now - f->at_ms > 2 * WAIT_LAST_MS) *f = (failure_t){.key = key};
  int64_t left = f->wait_ms ? f->at_ms + f->wait_ms - now : 0;
  if (left > 0) return left;
  f->at_ms = now;
  f->wait_ms = !f->wait_ms ? WAIT_MS : f->wait_ms * 2 < WAIT_LAST_MS ? f->wait_ms * 2 : WAIT_LAST_MS;
  return 0;
}

static void clear_ended(pass_t *p, const place_t *at, daemon_t *d) {
  if (d->deleting) return;
  int64_t wait = d->failed ? failure_wait(p, at) : 0;
  if (wait) {
    if (wait < p->wait_ms) p->wait_ms = wait;
    return;
  }
  kube_event(p->ctx, p->c->base.recorder, p->object, d->failed ? "Warning" : "Normal",
             d->failed ? "FailedDaemonPod" : "SucceededDaemonPod",
             "Found %s daemon pod " KG_STR_FMT "/" KG_STR_FMT " on node " KG_STR_FMT ", will try to %s it",
             d->failed ? "failed" : "succeeded", KG_STR_ARG(kube_namespace(d->object)),
             KG_STR_ARG(kube_name(d->object)), KG_STR_ARG(at->name), d->failed ? "kill" : "delete");
  daemon_delete(p, d);
}

static kg_str_t born(const daemon_t *d) {
  return kg_view_str(kg_view_path(d->object, "metadata", "creationTimestamp", NULL));
}

/* Of several of one template the oldest stays. */
static void keep_oldest(pass_t *p, const place_t *at, bool current) {
  daemon_t *oldest = NULL;
  for (size_t i = 0; i < at->n; i++) {
    daemon_t *d = at->pods[i];
    if (d->doomed || d->deleting || d->current != current) continue;
    if (oldest) {
      bool older = kg_str_cmp(born(d), born(oldest)) < 0;
      daemon_delete(p, older ? oldest : d);
      if (!older) continue;
    }
    oldest = d;
  }
}

static daemon_t *living(const place_t *at, bool current) {
  for (size_t i = 0; i < at->n; i++)
    if (at->pods[i]->current == current && !at->pods[i]->doomed && !at->pods[i]->failed && !at->pods[i]->succeeded)
      return at->pods[i];
  return NULL;
}

static bool any_living(const place_t *at) {
  return living(at, true) || living(at, false);
}

static void manage_place(pass_t *p, place_t *at, bool may_create) {
  for (size_t i = 0; i < at->n; i++) {
    daemon_t *d = at->pods[i];
    if (!at->may_stay)
      daemon_delete(p, d);
    else if (d->failed || d->succeeded)
      clear_ended(p, at, d);
  }
  if (!at->may_stay) return;
  keep_oldest(p, at, true);
  keep_oldest(p, at, false);
  daemon_t *now = living(at, true), *before = living(at, false);
  if (now && before && !p->surge && !now->deleting) daemon_delete(p, before);
  if (at->should_run && may_create && !any_living(at) && !at->n) daemon_create(p, at);
}

void manage(pass_t *p) {
  bool may_create = !ctl_expects_creation(p->ctx, &p->c->ahead, ctl_sync_key(p->sync));
  for (size_t i = 0; i < p->n; i++) manage_place(p, &p->places[i], may_create);
}

/* --- from the old template to the present ------------------------------------------------------------------------- */

static void roll_in_place(pass_t *p) {
  int64_t sick = 0;
  for (size_t i = 0; i < p->n; i++) {
    const place_t *at = &p->places[i];
    if (!at->should_run) continue;
    daemon_t *now = living(at, true), *before = living(at, false);
    sick += now ? !now->available || now->deleting : !before || !before->available || before->deleting;
    if (!now && before && !before->available) daemon_delete(p, before); /* it serves nobody: at once */
  }
  for (size_t i = 0; i < p->n && sick < p->unavailable; i++) {
    daemon_t *before = living(&p->places[i], false);
    if (!p->places[i].should_run || living(&p->places[i], true) || !before || before->deleting) continue;
    daemon_delete(p, before);
    sick++;
  }
}

static void roll_with_surge(pass_t *p) {
  int64_t surging = 0;
  bool may_create = !ctl_expects_creation(p->ctx, &p->c->ahead, ctl_sync_key(p->sync));
  for (size_t i = 0; i < p->n; i++) {
    const place_t *at = &p->places[i];
    daemon_t *now = living(at, true), *before = living(at, false);
    if (!at->should_run || !before) continue;
    if (now && now->available)
      daemon_delete(p, before);
    else if (now)
      surging++;
  }
  for (size_t i = 0; i < p->n && may_create; i++) {
    const place_t *at = &p->places[i];
    daemon_t *before = living(at, false);
    if (!at->should_run || !before || living(at, true)) continue;
    if (before->available && surging >= p->surge) continue;
    surging += before->available;
    daemon_create(p, at);
  }
}

void roll(pass_t *p) {
  if (p->surge)
    roll_with_surge(p);
  else
    roll_in_place(p);
}
