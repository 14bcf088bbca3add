/* How many pods of each controller there are on each node: pods that ask for nothing are spread by that. */
#include <stdlib.h>
#include <string.h>

#include "scheduler.h"

static sched_owner_t **place(sched_t *s, kg_str_t uid) {
  sched_owner_t **at = &s->owners[kg_hash_str(KG_HASH_START, uid) % SCHED_OWNERS];
  while (*at && !kg_str_is(uid, (*at)->uid)) at = &(*at)->next;
  return at;
}

sched_owner_t *sched_owner_join(sched_t *s, kg_str_t uid) {
  sched_owner_t **at = place(s, uid), *o = *at;
  if (!o && uid.n) {
    o = calloc(1, sizeof *o + uid.n + 1);
    if (!o) return NULL;
    memcpy(o->uid, uid.p, uid.n);
    *at = o;
  }
  if (o) o->pods++;
  return o;
}

void sched_owner_leave(sched_t *s, sched_owner_t *o) {
  if (!o || --o->pods) return;
  *place(s, kg_str(o->uid)) = o->next;
  free(o->on);
  free(o);
}

void sched_owner_count(const sched_t *s, sched_owner_t *o, uint32_t node, int sign) {
  if (o && node >= o->nodes) {
    uint32_t *on = realloc(o->on, s->room_nodes * sizeof *on);
    if (!on) return;
    memset(on + o->nodes, 0, (s->room_nodes - o->nodes) * sizeof *on);
    o->on = on;
    o->nodes = (uint32_t)s->room_nodes;
  }
  if (o && (sign > 0 || o->on[node])) o->on[node] += (uint32_t)sign;
}
