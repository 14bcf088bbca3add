/* What the two ask of others: requests with equal service, topic and arguments are partners. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shadow_internal.h"

static uint64_t hash_of(const kg_msg_t *m) {
  uint64_t h = kg_hash_str(kg_view_hash(kg_msg_args(m)), kg_str(kg_msg_topic(m)));
  h = kg_hash_str(h, kg_str(kg_msg_service(m)));
  return h ? h : 1;
}

static bool partners(const kg_msg_t *a, const kg_msg_t *b) {
  return strcmp(kg_msg_topic(a), kg_msg_topic(b)) == 0 && strcmp(kg_msg_service(a), kg_msg_service(b)) == 0 &&
         kg_msg_stream(a) == kg_msg_stream(b) && (a->args == b->args || kg_view_equal(kg_msg_args(a), kg_msg_args(b)));
}

static void give_error(kg_shadow_t *s, const kg_msg_t *request, int code, const char *text) {
  kg_msg_t *m = kg_make_error(NULL, kg_msg_topic(request), kg_msg_id(request), code, text, NULL);
  if (m && !s->o.give(s->o.arg, m, kg_msg_id(request))) s->skipped++;
  kg_msg_unref(m);
}

/* --- the live one's ----------------------------------------------------------------------------------------------- */

static void chain(kg_shadow_t *s, kg_asked_t *a) {
  kg_asked_t *first = kg_table_get(&s->by_hash, a->hash);
  if (!first && kg_table_put(&s->by_hash, a->hash, a) < 0) return; /* out of memory: it finds no partner */
  if (!first) first = a;
  if (first != a) first->last_same->next_same = a;
  first->last_same = a;
}

static void unchain(kg_shadow_t *s, kg_asked_t *a) {
  kg_asked_t *first = kg_table_get(&s->by_hash, a->hash), *before = first;
  if (first == a && a->next_same) {
    a->next_same->last_same = a->last_same;
    kg_table_put(&s->by_hash, a->hash, a->next_same);
  } else if (first == a) {
    kg_table_remove(&s->by_hash, a->hash);
  } else {
    while (before && before->next_same != a) before = before->next_same;
    if (!before) return;
    before->next_same = a->next_same;
    if (first->last_same == a) first->last_same = before;
  }
}

static void unlist(kg_shadow_t *s, kg_asked_t *a) {
  *(a->older ? &a->older->newer : &s->oldest) = a->newer;
  *(a->newer ? &a->newer->older : &s->newest) = a->older;
  s->nasked--;
}

static void enlist(kg_shadow_t *s, kg_asked_t *a) {
  a->older = s->newest;
  a->newer = NULL;
  *(s->newest ? &s->newest->newer : &s->oldest) = a;
  s->newest = a;
  s->nasked++;
}

static void forget(kg_shadow_t *s, kg_asked_t *a) {
  unchain(s, a);
  kg_table_remove(&s->by_id, kg_msg_id(a->m));
  if (a->consumer) kg_table_remove(&s->consumers, a->consumer);
  unlist(s, a);
  if (!a->matched) a->tally->only_live++;
  s->kept -= a->answers.count;
  kg_queue_free(&a->answers);
  kg_msg_unref(a->m);
  free(a);
}

/* Open streams are kept however old they are. */
static void make_room(kg_shadow_t *s) {
  for (size_t n = s->nasked; n && s->nasked >= s->o.most_calls; n--) {
    kg_asked_t *a = s->oldest;
    if (a->ended || !kg_msg_stream(a->m)) {
      forget(s, a);
    } else {
      unlist(s, a);
      enlist(s, a);
    }
  }
}

static kg_asked_t *remember(kg_shadow_t *s, const kg_msg_t *m) {
  kg_tally_t *t = kg_tally_of(s, KG_SIDE_REQUEST, m);
  make_room(s);
  kg_asked_t *a = calloc(1, sizeof *a);
  if (!a || !t || kg_table_put(&s->by_id, kg_msg_id(m), a) < 0) {
    free(a);
    return NULL;
  }
  *a = (kg_asked_t){.hash = hash_of(m), .m = kg_msg_ref(m), .at_us = kg_clock_us(), .tally = t};
  chain(s, a);
  enlist(s, a);
  return a;
}

/* --- partners ----------------------------------------------------------------------------------------------------- */

static void pass_answer(kg_shadow_t *s, kg_asked_t *a, const kg_msg_t *m) {
  if (!s->o.give(s->o.arg, m, a->consumer)) s->skipped++;
}

static void pass_all(kg_shadow_t *s, kg_asked_t *a) {
  const kg_queue_t *q = &a->answers;
  for (size_t i = 0; i < q->count; i++) pass_answer(s, a, q->ring[(q->head + i) & (q->room - 1)].m);
}

/* Of those that have found their partners one is enough, in case the candidate asks again. */
static void forget_earlier(kg_shadow_t *s, const kg_asked_t *a) {
  kg_asked_t *first;
  while ((first = kg_table_get(&s->by_hash, a->hash)) != NULL && first != a && first->matched && first->ended &&
         !first->consumer)
    forget(s, first);
}

static void match(kg_shadow_t *s, kg_asked_t *a, const kg_msg_t *m) {
  kg_difference_t d = {0};
  char text[500];
  a->matched = true;
  forget_earlier(s, a);
  if (!kg_shadow_count(s, a->tally, a->m, m, a->m, &d)) {
    snprintf(text, sizeof text, "this is a shadow, and the live plugin asked otherwise: %s differs", d.path);
    give_error(s, m, KG_ECONFLICT, text);
  } else if (a->torn) {
    give_error(s, m, KG_EUNAVAILABLE, "this is a shadow, and there were too many answers to the live plugin to keep");
  } else {
    a->consumer = kg_msg_id(m);
    pass_all(s, a);
    if (a->ended)
      a->consumer = 0;
    else
      kg_table_put(&s->consumers, a->consumer, a);
  }
}

static void drop_wanted(kg_shadow_t *s, kg_wanted_t **at) {
  kg_wanted_t *w = *at;
  *at = w->next;
  if (!w->next) s->last_wanted = at;
  s->nwanted--;
  kg_msg_unref(w->m);
  free(w);
}

void kg_shadow_live_asks(kg_shadow_t *s, const kg_msg_t *m) {
  kg_asked_t *a = remember(s, m);
  if (!a) {
    s->skipped++;
    return;
  }
  for (kg_wanted_t **at = &s->wanted; *at; at = &(*at)->next) {
    if ((*at)->hash != a->hash || !partners((*at)->m, m)) continue;
    match(s, a, (*at)->m);
    drop_wanted(s, at);
    return;
  }
}

void kg_shadow_live_hears(kg_shadow_t *s, const kg_msg_t *m) {
  kg_asked_t *a = kg_table_get(&s->by_id, kg_msg_id(m));
  if (!a || a->ended) return;
  bool item = kg_msg_type(m) == KG_MSG_ITEM;
  if (a->consumer) pass_answer(s, a, m);
  if (kg_msg_type(m) == KG_MSG_CREDIT) return;
  if (s->kept >= s->o.most_answers || (item && a->consumer)) {
    a->torn = true; /* a stream is not told again */
  } else if (kg_queue_push(&a->answers, (kg_parcel_t){.m = kg_msg_ref(m)}) == 0) {
    s->kept++;
  }
  if (item) return;
  a->ended = true;
  if (a->consumer) kg_table_remove(&s->consumers, a->consumer);
  a->consumer = 0;
}

/* --- the candidate's ---------------------------------------------------------------------------------------------- */

static kg_asked_t *partner_of(const kg_shadow_t *s, const kg_msg_t *m, uint64_t hash, bool matched) {
  kg_asked_t *a = kg_table_get(&s->by_hash, hash);
  while (a && (a->matched != matched || !partners(a->m, m))) a = a->next_same;
  return a;
}

/* Nobody asked the like. What the live one heard before is as good an answer as any, if it was the same question. */
static void give_up(kg_shadow_t *s, const kg_msg_t *m, uint64_t hash) {
  kg_difference_t d = {0};
  kg_asked_t *a = partner_of(s, m, hash, true);
  kg_tally_t *t = kg_tally_of(s, KG_SIDE_REQUEST, m);
  if (t) t->only_candidate++;
  if (a && a->ended && !a->torn && !kg_messages_differ(a->m, m, NULL, &d)) {
    a->consumer = kg_msg_id(m);
    pass_all(s, a);
    a->consumer = 0;
    return;
  }
  give_error(s, m, KG_EUNAVAILABLE, "this is a shadow, and the live plugin made no such request");
}

void kg_shadow_candidate_asks(kg_shadow_t *s, const kg_msg_t *m) {
  uint64_t hash = hash_of(m);
  kg_asked_t *a = partner_of(s, m, hash, false);
  if (a) {
    match(s, a, m);
    return;
  }
  kg_wanted_t *w = s->complete || s->nwanted >= KG_SHADOW_WAITING ? NULL : calloc(1, sizeof *w);
  if (!w) {
    give_up(s, m, hash);
    return;
  }
  *w = (kg_wanted_t){.hash = hash, .m = kg_msg_ref(m), .until_us = kg_clock_us() + s->o.patience_us};
  *s->last_wanted = w;
  s->last_wanted = &w->next;
  s->nwanted++;
}

void kg_shadow_candidate_cancels(kg_shadow_t *s, uint64_t id) {
  kg_asked_t *a = kg_table_remove(&s->consumers, id);
  if (a) a->consumer = 0;
  for (kg_wanted_t **at = &s->wanted; !a && *at; at = &(*at)->next) {
    if (kg_msg_id((*at)->m) != id) continue;
    kg_tally_t *t = kg_tally_of(s, KG_SIDE_REQUEST, (*at)->m);
    if (t) t->only_candidate++;
    drop_wanted(s, at);
    return;
  }
}

bool kg_shadow_tick(kg_shadow_t *s) {
  int64_t now = kg_clock_us();
  while (s->wanted && (s->complete || s->wanted->until_us <= now)) {
    give_up(s, s->wanted->m, s->wanted->hash);
    drop_wanted(s, &s->wanted);
  }
  return s->wanted != NULL;
}

void kg_shadow_complete(kg_shadow_t *s) {
  s->complete = true;
  kg_shadow_tick(s);
}

void kg_shadow_calls_left(const kg_shadow_t *s, const kg_tally_t *t, uint64_t *only_live, uint64_t *pending) {
  int64_t old = kg_clock_us() - s->o.patience_us;
  *only_live = *pending = 0;
  for (const kg_asked_t *a = s->oldest; a; a = a->newer) {
    if (a->matched || a->tally != t) continue;
    *(s->complete || a->at_us < old ? only_live : pending) += 1;
  }
}

void kg_shadow_calls_free(kg_shadow_t *s) {
  while (s->oldest) forget(s, s->oldest);
  while (s->wanted) drop_wanted(s, &s->wanted);
  kg_table_free(&s->by_hash);
  kg_table_free(&s->by_id);
  kg_table_free(&s->consumers);
}
